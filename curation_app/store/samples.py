"""What is known of samples beside what is known of all pictures: approval, nearest neighbours."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
)

from curation_app.filters import Filter
from curation_app.store.pictures import conditions
from curation_app.store.schema import (
    actions,
    changes,
    curators,
    looks,
    nearest,
    pictures,
    tags,
    undone,
)

_MANY = 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class Near:
    """The training picture that is most like a sample."""

    picture_id: int
    place: int
    """In the pinned dataset."""
    distance: float
    """0: the same picture, or its mirror image; 1: no nearer than the next 49."""
    mirrored: bool
    """Whether the mirror image of the sample is what is like it."""
    copied: bool
    """Whether it is nearer than pictures that were not trained on are."""


class Approved(NamedTuple):
    """A sample to keep."""

    id: int
    item: str
    label: str


_NEAR = [nearest.c[field.name] for field in dataclasses.fields(Near)]


def approved(connection: Connection, collection_id: int) -> list[Approved]:
    """The samples to keep, in the order of the sample set."""
    which = conditions(Filter(collection=collection_id, state="keep"))
    columns = [pictures.c[name] for name in Approved._fields]
    rows = connection.execute(select(*columns).where(which).order_by(pictures.c.id))
    return [Approved(*row) for row in rows]


def tags_of_all(connection: Connection, collection_id: int) -> dict[str, list[int]]:
    """Every tag of a collection's pictures, and the ids of those that have it."""
    found: dict[str, list[int]] = {}
    rows = connection.execute(
        select(tags.c.tag, tags.c.picture_id)
        .join(pictures, pictures.c.id == tags.c.picture_id)
        .where(conditions(Filter(collection=collection_id)))
        .order_by(tags.c.picture_id)
    )
    for tag, picture_id in rows:
        found.setdefault(tag, []).append(picture_id)
    return dict(sorted(found.items()))


def approvers(connection: Connection, collection_id: int) -> list[str]:
    """The names of those who marked a picture of a collection “keep”, and did not undo it."""
    which = conditions(Filter(collection=collection_id, state="keep"))
    rows = connection.execute(
        select(curators.c.name)
        .distinct()
        .join(actions, actions.c.curator_id == curators.c.id)
        .join(changes, changes.c.action_id == actions.c.id)
        .join(pictures, pictures.c.id == changes.c.picture_id)
        .where(which, changes.c.field == "state", changes.c.value == "keep")
        .where(actions.c.id.not_in(select(undone.c.action_id)))
    )
    return sorted(rows.scalars())


def unsearched(
    connection: Connection, collection_id: int, dataset: str, limit: int
) -> list[tuple[int, bytes]]:
    """Id and thumbnail of pictures whose nearest picture in a dataset is not known."""
    rows = connection.execute(
        select(pictures.c.id, looks.c.thumbnail)
        .join(looks, looks.c.picture_id == pictures.c.id)
        .where(_is_unsearched(collection_id, dataset))
        .order_by(pictures.c.id)
        .limit(limit)
    )
    return [(row.id, bytes(row.thumbnail)) for row in rows]


def count_unsearched(connection: Connection, collection_id: int, dataset: str) -> int:
    """How many pictures' nearest picture in a dataset is not known."""
    found = select(func.count()).select_from(pictures.join(looks))
    which = _is_unsearched(collection_id, dataset)
    return int(connection.execute(found.where(which)).scalar_one())


def record_nearest(connection: Connection, dataset: str, found: Sequence[Near]) -> None:
    """Put what a search found on record, in place of what an older one found."""
    for start in range(0, len(found), _MANY):
        some = found[start : start + _MANY]
        ids = [near.picture_id for near in some]
        connection.execute(
            delete(nearest).where(nearest.c.picture_id.in_(ids), nearest.c.dataset == dataset)
        )
        connection.execute(
            insert(nearest), [dataclasses.asdict(near) | {"dataset": dataset} for near in some]
        )


def nearest_of(connection: Connection, picture_id: int, dataset: str) -> Near | None:
    """The training picture that is most like a sample, if that was searched."""
    same = and_(nearest.c.picture_id == picture_id, nearest.c.dataset == dataset)
    found = connection.execute(select(*_NEAR).where(same)).first()
    return None if found is None else _near(found)


def closest(
    connection: Connection, collection_id: int, dataset: str, limit: int, after: Near | None = None
) -> list[Near]:
    """Samples that are most like a training picture come first; merged ones are left out."""
    beyond: ColumnElement[bool] = true()
    if after is not None:
        farther = nearest.c.distance > after.distance
        tied = and_(nearest.c.distance == after.distance, nearest.c.picture_id > after.picture_id)
        beyond = or_(farther, tied)
    rows = connection.execute(
        select(*_NEAR)
        .join(pictures, pictures.c.id == nearest.c.picture_id)
        .where(conditions(Filter(collection=collection_id)), nearest.c.dataset == dataset, beyond)
        .order_by(nearest.c.distance, nearest.c.picture_id)
        .limit(limit)
    )
    return list(map(_near, rows))


def searched(connection: Connection, collection_id: int, dataset: str) -> tuple[int, int]:
    """How many samples' nearest pictures are known, and how many samples seem to be copies."""
    mine = and_(
        conditions(Filter(collection=collection_id)),
        nearest.c.picture_id == pictures.c.id,
        nearest.c.dataset == dataset,
    )
    count = select(func.count()).select_from(pictures).join(nearest, mine)
    known = connection.execute(count).scalar_one()
    return int(known), int(connection.execute(count.where(nearest.c.copied)).scalar_one())


def _is_unsearched(collection_id: int, dataset: str) -> ColumnElement[bool]:
    known = exists().where(nearest.c.picture_id == pictures.c.id, nearest.c.dataset == dataset)
    return and_(pictures.c.collection_id == collection_id, pictures.c.present, ~known)


def _near(row: Row[Any]) -> Near:
    return Near(**row._mapping)
