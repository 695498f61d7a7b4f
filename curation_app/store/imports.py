"""What an import asks of the database, and how it is put on record."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select, update

from curation_app.intake.plan import Known
from curation_app.records import Acted, Change, Found
from curation_app.store import actions, collections
from curation_app.store.schema import looks, pictures

_MANY = 500


class Hashes(NamedTuple):
    """Pictures on record, to be compared with others; all of one length."""

    ids: NDArray[np.int64]
    sha256: list[str]
    dhash: NDArray[np.int64]


def known(connection: Connection, collection_id: int, digests: Iterable[str]) -> list[Known]:
    """The collection's pictures with these bytes, those that were merged into others too."""
    columns = [pictures.c[name] for name in ("id", "sha256", "label", "name")]
    found: list[Known] = []
    for some in _chunks(sorted(set(digests))):
        # By digest alone: with the collection named, SQLite reads all of that instead.
        rows = connection.execute(
            select(*columns, pictures.c.collection_id, pictures.c.present)
            .where(pictures.c.sha256.in_(some))
            .order_by(pictures.c.id)
        )
        found += [
            Known(id=row.id, sha256=row.sha256, label=row.label, name=row.name)
            for row in rows
            if row.present and row.collection_id == collection_id
        ]
    return found


def newest_id(connection: Connection, collection_id: int) -> int:
    """Of the collection's pictures, hidden ones included; 0 when it has none."""
    newest = select(func.max(pictures.c.id)).where(pictures.c.collection_id == collection_id)
    return int(connection.execute(newest).scalar() or 0)


def hashes_after(connection: Connection, collection_id: int, picture_id: int) -> Hashes:
    """The hashes of the collection's pictures beyond an id; an undo may show hidden ones again."""
    rows = connection.execute(
        select(pictures.c.id, pictures.c.sha256, pictures.c.dhash)
        .where(pictures.c.collection_id == collection_id, pictures.c.id > picture_id)
        .order_by(pictures.c.id)
    ).all()
    return Hashes(
        ids=np.array([row.id for row in rows], np.int64),
        sha256=[row.sha256 for row in rows],
        dhash=np.array([row.dhash for row in rows], np.int64),
    )


def thumbnails(connection: Connection, ids: Iterable[int]) -> dict[int, bytes]:
    """What copies are compared by, of each of these pictures."""
    found: dict[int, bytes] = {}
    for some in _chunks(sorted(set(ids))):
        rows = connection.execute(
            select(looks.c.picture_id, looks.c.thumbnail).where(looks.c.picture_id.in_(some))
        )
        found |= {row.picture_id: bytes(row.thumbnail) for row in rows}
    return found


def record_hidden(connection: Connection, collection_id: int, found: Sequence[Found]) -> list[int]:
    """Put pictures on record out of sight, so that an action can show all of them at once."""
    names = [one.name for one in found]
    mine = (pictures.c.collection_id == collection_id, pictures.c.name.in_(names))
    seen = connection.execute(select(pictures.c.id).where(*mine, pictures.c.present)).scalars()
    visible = set(seen)
    ids = collections.record_pictures(connection, collection_id, found)
    hidden = [one for one in ids if one not in visible]
    connection.execute(update(pictures).where(pictures.c.id.in_(hidden)).values(present=False))
    return ids


def bring_in(
    connection: Connection,
    curator_id: int,
    ids: Sequence[int],
    changes: Sequence[Change],
    *,
    key: str,
) -> Acted:
    """Show pictures that are on record, and change others: one action, undone as one."""
    return actions.act(connection, curator_id, "import", changes, brought=ids, key=key)


def stored_digests(connection: Connection) -> set[str]:
    """Of all pictures whose bytes are among the app's originals, hidden ones too: of an import
    that was undone, a redo brings them back.
    """
    rows = connection.execute(select(pictures.c.sha256).where(pictures.c.place == "stored"))
    return set(rows.scalars())


def _chunks(values: Sequence[str] | Sequence[int]) -> Iterator[Sequence[str] | Sequence[int]]:
    return (values[at : at + _MANY] for at in range(0, len(values), _MANY))
