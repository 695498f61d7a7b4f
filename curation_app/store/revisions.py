"""What a freeze reads: the pictures to keep, all at one point in time."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine, exists, select

from curation_app.filters import Filter
from curation_app.store.pictures import conditions
from curation_app.store.schema import pictures

_MANY = 500


class Kept(NamedTuple):
    """A picture to keep, as far as its file's name goes."""

    id: int
    name: str
    sha256: str
    place: str
    size_bytes: int


@contextlib.contextmanager
def at_one_time(engine: Engine) -> Iterator[Connection]:
    """A connection that sees nothing of what is written after its first statement."""
    # On SQLite, every transaction is like that.
    options = {"isolation_level": "REPEATABLE READ"} if engine.name == "postgresql" else {}
    with engine.connect().execution_options(**options) as connection:
        yield connection


def kept(connection: Connection, collection_id: int) -> list[Kept]:
    """The pictures to keep, merged ones left out: the collection's own first, by name.

    They are put into order here, as each database has its own opinion on that of letters.
    """
    columns = [pictures.c[name] for name in Kept._fields]
    which = conditions(Filter(collection=collection_id, state="keep"))
    rows = connection.execute(select(*columns).where(which))
    return sorted((Kept(*row) for row in rows), key=lambda one: (one.place, one.name, one.sha256))


def is_ranked(connection: Connection, collection_id: int) -> bool:
    """Whether any picture to keep has been compared or given stars."""
    which = conditions(Filter(collection=collection_id, state="keep"))
    return bool(connection.execute(select(exists().where(which, pictures.c.votes > 0))).scalar())


def ids_of_digests(
    connection: Connection, collection_id: int, digests: Sequence[str]
) -> dict[str, int]:
    """Digest to id, of those pictures of a collection that are there."""
    found: dict[str, int] = {}
    for start in range(0, len(digests), _MANY):
        which = pictures.c.sha256.in_(digests[start : start + _MANY])
        mine = pictures.c.collection_id == collection_id
        rows = connection.execute(
            select(pictures.c.sha256, pictures.c.id)
            .where(which, mine, pictures.c.present)
            .order_by(pictures.c.id.desc())
        )
        found |= {row.sha256: int(row.id) for row in rows}
    return found
