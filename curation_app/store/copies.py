"""Copies: what a search for them reads, what it found, and what curators made of that."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, insert, literal_column, select, update

from curation_app.records import Acted, Change, Picture
from curation_app.store.actions import APART, act
from curation_app.store.collections import now
from curation_app.store.pictures import pictures_of
from curation_app.store.schema import actions, changes, looks, pictures, searches, undone

Ints = NDArray[np.int64]
THUMB_SHAPE = (32, 32, 4)
_THUMB_BYTES = 32 * 32 * 4
_MANY = 500
_ROWS = 5000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What is on record of how a picture looks, without its thumbnail."""

    id: int
    sha256: str
    dhash: int
    facts: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Merged:
    """A picture, and those that were merged into it."""

    kept_id: int
    kept: Picture | None
    """None where it has gone since."""
    others: list[Picture]


def seen(connection: Connection, collection_id: int) -> Iterator[Seen]:
    """Every picture of a collection that is there and was looked at, merged ones too, by id."""
    columns = [pictures.c[field.name] for field in dataclasses.fields(Seen)]
    last = 0
    while True:
        rows = connection.execute(
            select(*columns)
            .join(looks, looks.c.picture_id == pictures.c.id)
            .where(pictures.c.collection_id == collection_id, pictures.c.present)
            .where(pictures.c.id > last)
            .order_by(pictures.c.id)
            .limit(_ROWS)
        ).all()
        yield from (Seen(**row._mapping) for row in rows)
        if len(rows) < _ROWS:
            return
        last = rows[-1].id


def thumbnails(connection: Connection, ids: Ints) -> NDArray[np.uint8]:
    """N×32×32×4, premultiplied, in the order of the ids; all clear where there is none."""
    wanted, places = np.unique(ids, return_inverse=True)
    found = np.zeros((len(wanted), _THUMB_BYTES), np.uint8)
    for start in range(0, len(wanted), _MANY):
        some = wanted[start : start + _MANY]
        rows = connection.execute(select(looks).where(looks.c.picture_id.in_(some.tolist()))).all()
        there = np.searchsorted(wanted, [row.picture_id for row in rows])
        data = b"".join(row.thumbnail for row in rows)
        found[there] = np.frombuffer(data, np.uint8).reshape(-1, _THUMB_BYTES)
    return found[places].reshape(-1, *THUMB_SHAPE)


def keep_search(connection: Connection, collection_id: int, found: bytes) -> None:
    """Keep what a search found, in place of what the last one did."""
    values = {"at": now(), "found": found}
    same = searches.c.collection_id == collection_id
    if connection.execute(update(searches).where(same).values(values)).rowcount == 0:
        connection.execute(insert(searches).values(**values, collection_id=collection_id))


def searched_at(connection: Connection, collection_id: int) -> str | None:
    """When copies were last searched for; None when they never were."""
    found = select(searches.c.at).where(searches.c.collection_id == collection_id)
    return connection.execute(found).scalar()


def search(connection: Connection, collection_id: int) -> bytes:
    """What the last search found."""
    found = select(searches.c.found).where(searches.c.collection_id == collection_id)
    return bytes(connection.execute(found).scalar_one())


def state(connection: Connection, collection_id: int) -> tuple[int, ...]:
    """Changes whenever pictures come, go, or are acted upon; the first is their number.

    An action may get its number before another one and be seen after it: merges are counted too.
    """
    there = select(func.count(), func.max(pictures.c.id), func.count(pictures.c.merged_into))
    mine = (pictures.c.collection_id == collection_id, pictures.c.present)
    count, newest, merged = connection.execute(there.where(*mine)).one()
    last = connection.execute(select(func.max(actions.c.id))).scalar()
    return int(count), int(newest or 0), int(merged), int(last or 0)


def labels(connection: Connection, collection_id: int) -> dict[int, str]:
    """Id to class of the pictures that are there and not merged, by id."""
    rows = connection.execute(
        select(pictures.c.id, pictures.c.label)
        .where(pictures.c.collection_id == collection_id, pictures.c.present)
        .where(pictures.c.merged_into.is_(None))
        .order_by(pictures.c.id)
    )
    return {one: label for one, label in rows.all()}  # noqa: C416  # rows are not quite tuples


def apart(connection: Connection, collection_id: int) -> dict[int, set[tuple[int, str]]]:
    """Picture to the names of the sets that it is in: those of one set are no copies.

    A later, empty word takes a picture out of all sets that it was put in before.
    """
    rows = connection.execute(
        select(changes.c.action_id, changes.c.picture_id, changes.c.value)
        .join(pictures, pictures.c.id == changes.c.picture_id)
        # A literal, as a parameter would keep the index of these few rows from being used.
        .where(changes.c.field == literal_column(f"'{APART}'"))
        .where(pictures.c.collection_id == collection_id)
        .where(changes.c.action_id.not_in(select(undone.c.action_id)))
        .order_by(changes.c.id)
    )
    sets: dict[int, set[tuple[int, str]]] = {}
    for row in rows:
        if row.value:
            sets.setdefault(row.picture_id, set()).add((row.action_id, row.value))
        else:
            sets.pop(row.picture_id, None)
    return sets


def held(connection: Connection, ids: Sequence[int]) -> list[Picture]:
    """The pictures of these ids that are there and not merged, by id.

    Nobody else changes them before this transaction ends.
    """
    for some in _chunks(sorted(set(ids))):
        locked = select(pictures.c.id).where(pictures.c.id.in_(some)).order_by(pictures.c.id)
        connection.execute(locked.with_for_update())
    found = [one for some in _chunks(sorted(set(ids))) for one in pictures_of(connection, some)]
    return [one for one in found if one.merged_into is None]


def followers(connection: Connection, ids: Sequence[int]) -> list[int]:
    """The pictures that were merged into these, by id."""
    found: list[int] = []
    for some in _chunks(ids):
        which = select(pictures.c.id).where(pictures.c.merged_into.in_(some), pictures.c.present)
        found += connection.execute(which).scalars()
    return sorted(found)


def merged(
    connection: Connection, collection_id: int, size: int, *, after: int = 0
) -> tuple[list[Merged], bool]:
    """Up to `size` pictures, after that id, with what was merged into each; whether more follow."""
    key: Any = pictures.c.merged_into
    mine = (pictures.c.collection_id == collection_id, pictures.c.present, key > after)
    keepers = select(key).where(*mine).distinct().order_by(key).limit(size + 1)
    ids = list(connection.execute(keepers).scalars())
    inside = followers(connection, ids[:size])
    others: dict[int, list[Picture]] = {}
    for some in _chunks(inside):
        for one in pictures_of(connection, some):
            others.setdefault(one.merged_into or 0, []).append(one)
    kept = {one.id: one for one in pictures_of(connection, ids[:size])}
    found = [Merged(kept_id=one, kept=kept.get(one), others=others[one]) for one in ids[:size]]
    return found, len(ids) > size


def count_merged(connection: Connection, collection_id: int) -> int:
    """How many pictures are merged into others."""
    mine = (pictures.c.collection_id == collection_id, pictures.c.present)
    found = select(func.count()).where(*mine, pictures.c.merged_into.is_not(None))
    return int(connection.execute(found).scalar_one())


def set_apart(
    connection: Connection, curator_id: int, sets: Sequence[Sequence[int]], key: str | None
) -> Acted:
    """Record that the pictures of each set are no copies of each other."""
    wanted = [
        Change(picture_id=one, field=APART, value=str(min(some))) for some in sets for one in some
    ]
    return act(connection, curator_id, "apart", wanted, key=key)


def bring_together(
    connection: Connection, curator_id: int, ids: Sequence[int], key: str | None
) -> Acted:
    """Record that these pictures may be copies after all."""
    wanted = [Change(picture_id=one, field=APART, value="") for one in ids]
    return act(connection, curator_id, "together", wanted, key=key)


def separate(connection: Connection, curator_id: int, ids: Sequence[int], key: str | None) -> Acted:
    """Take pictures out of what they were merged into."""
    found = [one for some in _chunks(sorted(set(ids))) for one in pictures_of(connection, some)]
    wanted = [
        Change(picture_id=one.id, field="merged_into", value="") for one in found if one.merged_into
    ]
    return act(connection, curator_id, "separate", wanted, key=key)


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + _MANY] for start in range(0, len(ids), _MANY))
