"""Finding pictures: pages by key, counts, single ones."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    exists,
    func,
    or_,
    select,
    true,
)

from curation_app.filters import Filter
from curation_app.records import STATES, Page, Picture
from curation_app.store.schema import flags, pictures, tags

_COLUMNS = [column for column in pictures.c if column.name not in ("stamp", "present", "dhash")]
_ORDERS: dict[str, tuple[ColumnElement[Any], bool]] = {
    "first": (pictures.c.id, False),
    "best": (pictures.c.score, True),
    "worst": (pictures.c.score, False),
    "unsure": (pictures.c.deviation, True),
}
"""Column, and whether it goes down."""


def picture(connection: Connection, picture_id: int) -> Picture | None:
    """A picture that is in its collection now, merged or not, or None."""
    found = pictures_of(connection, [picture_id])
    return found[0] if found else None


_MENU = 200
"""The most names in a menu."""


def pictures_of(connection: Connection, ids: Sequence[int]) -> list[Picture]:
    """The pictures of these ids that are there, in the order of the ids."""
    rows = connection.execute(
        select(*_COLUMNS).where(pictures.c.id.in_(ids), pictures.c.present)
    ).all()
    found = {one.id: one for one in _whole(connection, rows)}
    return [found[key] for key in ids if key in found]


def page(
    connection: Connection,
    which: Filter,
    size: int,
    *,
    after: int | None = None,
    before: int | None = None,
) -> Page:
    """Up to `size` pictures after, or before, the picture of that id.

    Pages are keyed, not counted: votes that take pictures out of the filter shift none.
    """
    where = conditions(which)
    column, down = _ORDERS[which.order]
    backwards = before is not None
    anchor = before if backwards else after
    beyond = true() if anchor is None else _beyond(connection, column, down != backwards, anchor)
    keys = [column] if column is pictures.c.id else [column, pictures.c.id]
    order = [key.desc() if down != backwards else key.asc() for key in keys]
    rows = connection.execute(
        select(*_COLUMNS).where(where, beyond).order_by(*order).limit(size + 1)
    ).all()
    more, rows = len(rows) > size, rows[:size]
    found = _whole(connection, rows[::-1] if backwards else rows)
    if not found:
        return Page(pictures=[])
    if anchor is None:
        return Page(pictures=found, later=more)
    # On the side that the page was come to from, at least the anchor was; it may have left since.
    edge = found[-1].id if backwards else found[0].id
    other = _beyond(connection, column, down == backwards, edge)
    has_other = bool(connection.execute(select(exists().where(where, other))).scalar())
    if backwards:
        return Page(pictures=found, earlier=more, later=has_other)
    return Page(pictures=found, earlier=has_other, later=more)


def ids_of(connection: Connection, which: Filter) -> list[int]:
    """The ids of all pictures that a filter finds, for actions on all of them."""
    found = select(pictures.c.id).where(conditions(which)).order_by(pictures.c.id)
    return list(connection.execute(found).scalars())


def count(connection: Connection, which: Filter) -> int:
    """How many pictures a filter finds."""
    found = select(func.count()).select_from(pictures).where(conditions(which))
    return int(connection.execute(found).scalar_one())


def counts(connection: Connection, collection_id: int | None) -> dict[str, dict[str, int]]:
    """How many pictures of each class are in each state."""
    rows = connection.execute(
        select(pictures.c.label, pictures.c.state, func.count())
        .where(conditions(Filter(collection=collection_id)))
        .group_by(pictures.c.label, pictures.c.state)
    )
    found: dict[str, dict[str, int]] = {}
    for label, state, number in rows:
        found.setdefault(label, dict.fromkeys(STATES, 0))[state] = number
    return dict(sorted(found.items()))


def names_of(connection: Connection, collection_id: int | None) -> dict[str, list[str]]:
    """The tags, flags and sources that occur, for the filter's menus."""
    mine = conditions(Filter(collection=collection_id))

    def of_table(table: Table, name: ColumnElement[str]) -> list[str]:
        occurs = exists().where(table.c.picture_id == pictures.c.id, mine)
        return _occurring(connection, name, true(), select(name).where(occurs))

    source = pictures.c.source
    here = true() if collection_id is None else pictures.c.collection_id == collection_id
    return {
        "tags": of_table(tags, tags.c.tag),
        "flags": of_table(flags, flags.c.flag),
        "sources": _occurring(connection, source, here, select(source).where(mine)),
    }


def _occurring(
    connection: Connection,
    name: ColumnElement[str],
    among: ColumnElement[bool],
    rows: Select[Any],
) -> list[str]:
    """Names that stand in some of the rows, in order.

    From each name to the next by an index: there are few names and many rows.
    """
    found: list[str] = []
    last = ""
    while len(found) < _MENU:
        last = connection.execute(select(func.min(name)).where(among, name > last)).scalar() or ""
        if not last:
            break
        if connection.execute(select(rows.where(name == last).exists())).scalar():
            found.append(last)
    return found


def hashes(
    connection: Connection, collection_id: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids and 64-bit hashes of all pictures of a collection, or of all; merged ones are out."""
    rows = connection.execute(
        select(pictures.c.id, pictures.c.dhash)
        .where(conditions(Filter(collection=collection_id)))
        .order_by(pictures.c.id)
    )
    found = np.array([tuple(row) for row in rows], np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def conditions(which: Filter) -> ColumnElement[bool]:
    """A filter as an SQL condition on `pictures`."""
    merged = pictures.c.merged_into
    parts: list[ColumnElement[bool]] = [
        pictures.c.present,
        merged.is_not(None) if which.merged else merged.is_(None),
    ]
    if which.collection is not None:
        parts.append(pictures.c.collection_id == which.collection)
    named = {"label": which.label, "state": which.state, "source": which.source}
    parts += [pictures.c[name] == value for name, value in named.items() if value is not None]
    if which.tag is not None:
        parts.append(exists().where(tags.c.picture_id == pictures.c.id, tags.c.tag == which.tag))
    if which.flag is not None:
        parts.append(
            exists().where(flags.c.picture_id == pictures.c.id, flags.c.flag == which.flag)
        )
    if which.stars is not None:
        stars = pictures.c.stars
        parts.append(stars >= which.stars if which.stars else stars == 0)
    if which.score is not None:
        parts.append(pictures.c.score >= which.score)
    if which.side_px is not None:
        parts.append(pictures.c.width_px >= which.side_px)
        parts.append(pictures.c.height_px >= which.side_px)
    if which.text is not None:
        parts.append(_mentions(which.text))
    return and_(*parts)


def _mentions(text: str) -> ColumnElement[bool]:
    columns = (pictures.c.name, pictures.c.label, pictures.c.source)
    tagged = tags.c.tag.icontains(text, autoescape=True)
    return or_(
        *(column.icontains(text, autoescape=True) for column in columns),
        exists().where(tags.c.picture_id == pictures.c.id, tagged),
    )


def _beyond(
    connection: Connection, column: ColumnElement[Any], down: bool, anchor: int
) -> ColumnElement[bool]:
    """What comes after a picture in an order; the picture itself may have left the filter."""
    key = pictures.c.id
    if column is key:
        return key < anchor if down else key > anchor
    value = connection.execute(select(column).where(key == anchor)).scalar()
    if value is None:
        return true()
    if down:
        return or_(column < value, and_(column == value, key < anchor))
    return or_(column > value, and_(column == value, key > anchor))


def _whole(connection: Connection, rows: Iterable[Row[Any]]) -> list[Picture]:
    """Rows with their tags and flags."""
    rows = list(rows)
    ids = [row.id for row in rows]
    tagged = _names_by_picture(connection, tags.c.picture_id, tags.c.tag, ids)
    flagged = _names_by_picture(connection, flags.c.picture_id, flags.c.flag, ids)
    return [
        Picture(
            **row._mapping,
            tags=tuple(tagged.get(row.id, ())),
            flags=tuple(flagged.get(row.id, ())),
        )
        for row in rows
    ]


def _names_by_picture(
    connection: Connection, key: ColumnElement[int], name: ColumnElement[str], ids: Sequence[int]
) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for picture_id, value in connection.execute(
        select(key, name).where(key.in_(ids)).order_by(key, name)
    ):
        found.setdefault(picture_id, []).append(value)
    return found
