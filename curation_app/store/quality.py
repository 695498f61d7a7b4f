"""What was measured of pictures, and how often each flag occurs."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, func, select

from curation_app.filters import Filter
from curation_app.store.pictures import conditions
from curation_app.store.schema import flags, pictures

_MANY = 500


def measures(connection: Connection, ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Id and facts (JSON) of these pictures."""
    for start in range(0, len(ids), _MANY):
        which = pictures.c.id.in_(ids[start : start + _MANY])
        rows = connection.execute(select(pictures.c.id, pictures.c.facts).where(which))
        yield from ((int(one), str(facts)) for one, facts in rows.all())


def flag_counts(connection: Connection, collection_id: int) -> dict[str, dict[str, int]]:
    """Class to flag to number of pictures; merged ones left out."""
    rows = connection.execute(
        select(pictures.c.label, flags.c.flag, func.count())
        .join(flags, flags.c.picture_id == pictures.c.id)
        .where(conditions(Filter(collection=collection_id)))
        .group_by(pictures.c.label, flags.c.flag)
    )
    found: dict[str, dict[str, int]] = {}
    for label, flag, number in rows:
        found.setdefault(label, {})[flag] = number
    return found
