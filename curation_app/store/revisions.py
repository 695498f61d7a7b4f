"""What a freeze reads: the pictures to keep, all at one point in time."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine, exists, select

from curation_app.filters import Filter
from curation_app.store.pictures import conditions
from curation_app.store.schema import pictures, tags

_MANY = 500


class Kept(NamedTuple):
    """A picture to keep, as far as its file's name goes."""

    id: int
    name: str
    sha256: str
    place: str
    size_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What a picture came with, and what was decided about it."""

    id: int
    sha256: str
    item: str
    label: str
    stars: int
    votes: int
    score: float
    tags: tuple[str, ...] = ()


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


def decided(connection: Connection, ids: Sequence[int]) -> dict[int, Decided]:
    """Id to what was decided, of up to a few hundred pictures."""
    tagged: dict[int, list[str]] = {}
    for row in connection.execute(select(tags).where(tags.c.picture_id.in_(ids))):
        tagged.setdefault(row.picture_id, []).append(row.tag)
    columns = [pictures.c[field.name] for field in dataclasses.fields(Decided)[:-1]]
    rows = connection.execute(select(*columns).where(pictures.c.id.in_(ids)))
    return {
        row.id: Decided(**row._mapping, tags=tuple(sorted(tagged.get(row.id, ())))) for row in rows
    }


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
