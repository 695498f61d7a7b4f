"""What curators do: an append-only log, its undo and redo, and its replay onto pictures."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import UserError
from curation_app.records import OUTCOMES, Acted, Change
from curation_app.store.collections import now
from curation_app.store.schema import actions, changes, comparisons, pictures, tags, undone

TAG = "tag:"
"""Begins the field of a tag."""
PRESENT = "present"
"""The field of pictures that an action brought: while none of those stands, they are hidden."""
APART = "apart"
"""A field that the log alone holds: pictures with one value in one action are no copies."""
_EACH_WORD = ("merged_into", APART)
"""Recorded even where it holds already: what is merged into a picture says that this one is not
merged itself, so that a redo of older merges never makes a circle."""
_MANY = 500
_STANDS = actions.c.id.not_in(select(undone.c.action_id))
_WORK = actions.c.kind.not_in(("undo", "redo"))
_Values = dict[tuple[int, str], str]


def act(
    connection: Connection,
    curator_id: int,
    kind: str,
    wanted: Sequence[Change],
    *,
    brought: Sequence[int] = (),
    key: str | None = None,
) -> Acted:
    """Record one action that gives these values; what holds already is left out.

    `brought` are pictures on record that it shows, and that its undo hides again. `key` is the
    client's own name for the request: sent twice, it acts once.
    """
    before = _acted_already(connection, curator_id, key)
    if before is not None:
        return before
    _bring(connection, brought)
    ids = sorted({change.picture_id for change in wanted})
    if _lock(connection, ids) != len(ids):
        raise UserError("some of the pictures are gone: reload the page")
    fields = {change.field for change in wanted}
    held = _held(connection, ids, fields)
    news = [
        one
        for one in wanted
        if one.field in _EACH_WORD or held.get((one.picture_id, one.field), one.value) != one.value
    ]
    shown = {(one.picture_id, one.field): one.value for one in news}
    news += [Change(picture_id=one, field=PRESENT, value="1") for one in brought]
    if not news:
        return Acted(action_id=None, picture_ids=[])
    action_id = _append(connection, curator_id, kind, key=key)
    rows = [{"action_id": action_id} | dataclasses.asdict(change) for change in news]
    connection.execute(insert(changes), rows)
    _show(connection, shown)
    return Acted(
        action_id=action_id,
        picture_ids=sorted({one.picture_id for one in news}),
        fields=frozenset(one.field.partition(":")[0] for one in news),
    )


def compare(
    connection: Connection,
    curator_id: int,
    left_id: int,
    right_id: int,
    outcome: str,
    *,
    repeats_id: int | None = None,
    key: str | None = None,
) -> Acted:
    """Record a judgement of two pictures; UserError when it makes no sense."""
    if outcome not in OUTCOMES:
        raise UserError(f"the outcome is {outcome!r}: one of {', '.join(OUTCOMES)}")
    if left_id == right_id:
        raise UserError("a picture cannot be compared with itself")
    before = _acted_already(connection, curator_id, key)
    if before is not None:
        return before
    ids = sorted((left_id, right_id))
    if _lock(connection, ids) != 2:
        raise UserError("one of the two pictures is gone: reload the page")
    action_id = _append(connection, curator_id, "compare", key=key)
    connection.execute(
        insert(comparisons).values(
            action_id=action_id,
            left_id=left_id,
            right_id=right_id,
            outcome=outcome,
            repeats_id=repeats_id,
        )
    )
    return Acted(action_id=action_id, picture_ids=ids)


def last_done(connection: Connection, curator_id: int) -> int | None:
    """The curator's action that `undo` would take back."""
    mine = select(func.max(actions.c.id)).where(actions.c.curator_id == curator_id, _WORK, _STANDS)
    return connection.execute(mine).scalar()


def last_undone(connection: Connection, curator_id: int) -> int | None:
    """The curator's action that `redo` would bring back; none once something new was done."""
    mine = actions.c.curator_id == curator_id
    newest = select(func.coalesce(func.max(actions.c.id), 0)).where(mine, _WORK)
    found = (
        select(actions.c.target_id)
        .where(mine, actions.c.kind == "undo", actions.c.id > newest.scalar_subquery())
        .where(actions.c.target_id.in_(select(undone.c.action_id)))
        .order_by(actions.c.id.desc())
        .limit(1)
    )
    return connection.execute(found).scalar()


def undo(
    connection: Connection,
    curator_id: int,
    *,
    expected_id: int | None = None,
    key: str | None = None,
) -> Acted:
    """Take back the curator's last action that stands; what others did since stays.

    UserError when that is not `expected_id`, which is the action that the curator sees as the last.
    """
    before = _acted_already(connection, curator_id, key)
    if before is not None:
        return before
    target = last_done(connection, curator_id)
    if target is None:
        return Acted(action_id=None, picture_ids=[])
    if expected_id is not None and target != expected_id:
        raise UserError(
            "something else was done since, in another window or by an import: reload the page to "
            "see it, then undo"
        )
    touched = select(changes.c.picture_id).where(changes.c.action_id == target).distinct()
    _lock(connection, sorted(connection.execute(touched).scalars()))
    _refuse_to_hide_keepers(connection, target)
    action_id = _append(connection, curator_id, "undo", target=target, key=key)
    connection.execute(insert(undone).values(action_id=target))
    return _replay_action(connection, action_id, target)


def redo(connection: Connection, curator_id: int, *, key: str | None = None) -> Acted:
    """Bring back what the curator's last undo took back."""
    before = _acted_already(connection, curator_id, key)
    if before is not None:
        return before
    target = last_undone(connection, curator_id)
    if target is None:
        return Acted(action_id=None, picture_ids=[])
    action_id = _append(connection, curator_id, "redo", target=target, key=key)
    connection.execute(delete(undone).where(undone.c.action_id == target))
    return _replay_action(connection, action_id, target)


def replay(connection: Connection, collection_id: int) -> None:
    """Derive the values of all pictures of a collection from the log anew."""
    found = select(pictures.c.id).where(pictures.c.collection_id == collection_id)
    _derive(connection, connection.execute(found.order_by(pictures.c.id)).scalars())


def _derive(connection: Connection, ids: Iterable[int]) -> None:
    for some in _chunks(ids):
        connection.execute(delete(tags).where(tags.c.picture_id.in_(some)))
        _show(connection, _replayed(connection, some))


def _bring(connection: Connection, ids: Sequence[int]) -> None:
    """Show pictures; of those that were here before, their rows may say other things now."""
    for some in _chunks(ids):
        known = select(changes.c.picture_id).where(changes.c.picture_id.in_(some)).distinct()
        _derive(connection, connection.execute(known).scalars().all())
        connection.execute(update(pictures).where(pictures.c.id.in_(some)).values(present=True))


def _refuse_to_hide_keepers(connection: Connection, action_id: int) -> None:
    """What another curator merged into a picture would be out of sight together with it."""
    brought = (
        select(changes.c.picture_id)
        .where(changes.c.action_id == action_id, changes.c.field == PRESENT)
        .scalar_subquery()
    )
    others = select(func.count()).where(
        pictures.c.merged_into.in_(brought), pictures.c.id.not_in(brought), pictures.c.present
    )
    count = connection.execute(others).scalar_one()
    if count:
        what = "1 picture was" if count == 1 else f"{count} pictures were"
        raise UserError(
            f"{what} merged into ones that would go: undo that merge first, or ask the curator "
            "who merged them"
        )


def _append(
    connection: Connection,
    curator_id: int,
    kind: str,
    *,
    target: int | None = None,
    key: str | None = None,
) -> int:
    values = {"curator_id": curator_id, "kind": kind, "target_id": target, "key": key, "at": now()}
    result = connection.execute(insert(actions).values(values).returning(actions.c.id))
    return int(result.scalar_one())


def _acted_already(connection: Connection, curator_id: int, key: str | None) -> Acted | None:
    if key is None:
        return None
    found = connection.execute(
        select(actions.c.id, actions.c.curator_id).where(actions.c.key == key)
    ).first()
    if found is None:
        return None
    if found.curator_id != curator_id:
        raise UserError("another curator's request has that key: take a random one")
    return Acted(action_id=found.id, picture_ids=_pictures_of(connection, found.id), repeated=True)


def _lock(connection: Connection, ids: Sequence[int]) -> int:
    """Hold the pictures' rows, so that the log's order is the order in which it took effect.

    SQLite has one writer at a time anyway. Returns how many of them are there.
    """
    there = 0
    for some in _chunks(ids):
        found = select(pictures.c.id).where(pictures.c.id.in_(some), pictures.c.present)
        locked = found.order_by(pictures.c.id).with_for_update()
        there += len(connection.execute(locked).all())
    return there


def _held(connection: Connection, ids: Sequence[int], fields: set[str]) -> _Values:
    """What the pictures' values are now."""
    held: _Values = {}
    for some in _chunks(ids):
        for row in connection.execute(
            select(pictures).where(pictures.c.id.in_(some), pictures.c.present)
        ):
            merged = "" if row.merged_into is None else str(row.merged_into)
            plain = {"state": row.state, "stars": str(row.stars), "label": row.label}
            plain |= {"merged_into": merged}
            for field in fields:
                held[row.id, field] = plain.get(field, "")
        for row in connection.execute(select(tags).where(tags.c.picture_id.in_(some))):
            if (row.picture_id, TAG + row.tag) in held:
                held[row.picture_id, TAG + row.tag] = "1"
    return held


def _show(connection: Connection, values: _Values) -> None:
    """Write values where the pages read them."""
    plain: dict[str, list[dict[str, Any]]] = {}
    on: list[dict[str, Any]] = []
    off: list[dict[str, Any]] = []
    for (picture_id, field), value in sorted(values.items()):
        if field.startswith(TAG):
            row = {"picture_id": picture_id, "tag": field.removeprefix(TAG)}
            (on if value else off).append(row)
        elif field != APART:
            plain.setdefault(field, []).append({"one": picture_id, "value": _typed(field, value)})
    for field, rows in plain.items():
        statement = update(pictures).where(pictures.c.id == bindparam("one"))
        connection.execute(statement.values({field: bindparam("value")}), rows)
    if on:
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(tags).on_conflict_do_nothing(), on)
    if off:
        gone = delete(tags).where(tags.c.picture_id == bindparam("one"))
        rows = [{"one": row["picture_id"], "name": row["tag"]} for row in off]
        connection.execute(gone.where(tags.c.tag == bindparam("name")), rows)


def _typed(field: str, value: str) -> str | int | bool | None:
    if field == PRESENT:
        return bool(value)
    if field == "merged_into":
        return int(value) if value else None
    return int(value) if field == "stars" else value


def _replay_action(connection: Connection, action_id: int, target: int) -> Acted:
    """Derive anew what another action touched."""
    touched = connection.execute(
        select(changes.c.picture_id, changes.c.field).where(changes.c.action_id == target)
    )
    wanted = {(row.picture_id, row.field) for row in touched}
    for some in _chunks(sorted({picture_id for picture_id, _ in wanted})):
        _lock(connection, some)
        values = _replayed(connection, some)
        gone = {(one, field): "" for one, field in wanted if field.startswith(TAG) and one in some}
        _show(connection, gone | {pair: value for pair, value in values.items() if pair in wanted})
    return Acted(
        action_id=action_id,
        picture_ids=_pictures_of(connection, target),
        fields=frozenset(field.partition(":")[0] for _, field in wanted) or frozenset({"vote"}),
    )


def _replayed(connection: Connection, ids: Sequence[int]) -> _Values:
    """The values that the log gives to some pictures; tags that were never given are left out."""
    values: _Values = {}
    for row in connection.execute(
        select(pictures.c.id, pictures.c.first_label, pictures.c.item).where(pictures.c.id.in_(ids))
    ):
        values |= {(row.id, "state"): "unseen", (row.id, "stars"): "0"}
        values |= {(row.id, "label"): row.first_label, (row.id, "merged_into"): ""}
        values |= {(row.id, TAG + tag): "1" for tag in json.loads(row.item).get("tags", [])}
    brought = select(changes.c.picture_id).where(changes.c.picture_id.in_(ids))
    for one in connection.execute(brought.where(changes.c.field == PRESENT)).scalars():
        values[one, PRESENT] = ""
    standing = (
        select(changes.c.picture_id, changes.c.field, changes.c.value)
        .where(changes.c.picture_id.in_(ids))
        .where(changes.c.action_id.not_in(select(undone.c.action_id)))
        .order_by(changes.c.id)
    )
    for row in connection.execute(standing):
        values[row.picture_id, row.field] = row.value
    return values


def _pictures_of(connection: Connection, action_id: int) -> list[int]:
    found = set(
        connection.execute(
            select(changes.c.picture_id).where(changes.c.action_id == action_id)
        ).scalars()
    )
    for row in connection.execute(
        select(comparisons.c.left_id, comparisons.c.right_id).where(
            comparisons.c.action_id == action_id
        )
    ):
        found |= {row.left_id, row.right_id}
    return sorted(found)


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    whole = list(ids)
    for start in range(0, len(whole), _MANY):
        yield whole[start : start + _MANY]
