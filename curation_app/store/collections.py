"""Collections and the pictures that lie in them."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from curation_app.records import Collection, Found
from curation_app.store.schema import collections, flags, looks, meta, pictures, tags


def secret(connection: Connection) -> str:
    """What sessions are signed with; it outlives restarts, so that open pages keep working."""
    return str(connection.execute(select(meta.c.value).where(meta.c.key == "secret")).scalar_one())


def open_collection(connection: Connection, root: str, name: str, kind: str) -> Collection:
    """The record of the collection at this place, made when it is new."""
    found = connection.execute(
        select(collections)
        .where(collections.c.root.in_((root, "")))
        .order_by(collections.c.root.desc())
    ).first()
    if found is None:
        values = {"root": root, "name": name, "kind": kind, "at": now()}
        connection.execute(insert(collections).values(values))
    elif not found.root:  # from the first release, which did not say where its collection was
        same = collections.c.id == found.id
        connection.execute(update(collections).where(same).values(root=root, name=name, kind=kind))
    row = connection.execute(select(collections).where(collections.c.root == root)).one()
    return _collection(row)


def all_collections(connection: Connection) -> list[Collection]:
    """Every collection on record, in the order of their first opening."""
    rows = connection.execute(select(collections).order_by(collections.c.id))
    return [_collection(row) for row in rows]


def stamps(connection: Connection, collection_id: int) -> dict[str, str]:
    """Name to stamp, of the pictures that were there when the collection was last opened."""
    rows = connection.execute(
        select(pictures.c.name, pictures.c.stamp).where(
            pictures.c.collection_id == collection_id,
            pictures.c.present,
            pictures.c.place != "stored",
        )
    )
    return {row.name: row.stamp for row in rows}


def record_pictures(
    connection: Connection, collection_id: int, found: Sequence[Found]
) -> list[int]:
    """Put pictures on record, or find those of the same name and bytes; their ids, in order."""
    rows = [_row(collection_id, picture) for picture in found]
    if not rows:
        return []
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(pictures)
    again = [name for name in rows[0] if name not in ("collection_id", "name", "sha256", "label")]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["collection_id", "name", "sha256"],
            set_={name: statement.excluded[name] for name in again},
        ),
        rows,
    )
    names = [picture.name for picture in found]
    known = connection.execute(
        select(pictures.c.id, pictures.c.name, pictures.c.sha256).where(
            pictures.c.collection_id == collection_id, pictures.c.name.in_(names)
        )
    )
    ids = {(row.name, row.sha256): int(row.id) for row in known}
    ordered = [ids[picture.name, picture.sha256] for picture in found]
    same_name = (pictures.c.collection_id == collection_id, pictures.c.name.in_(names))
    # Other bytes than before, under the same name: what lay there is gone.
    connection.execute(
        update(pictures).where(*same_name, pictures.c.id.not_in(ordered)).values(present=False)
    )
    _record_details(connection, ordered, found)
    return ordered


def hide_missing(connection: Connection, collection_id: int, names: Iterable[str]) -> None:
    """Pictures whose files are gone keep their votes, out of sight."""
    gone = [{"gone": name} for name in names]
    if gone:
        connection.execute(
            update(pictures)
            .where(
                pictures.c.collection_id == collection_id,
                pictures.c.name == bindparam("gone"),
                pictures.c.place != "stored",
            )
            .values(present=False),
            gone,
        )


def count(connection: Connection, collection_id: int) -> int:
    """How many pictures of a collection are there, merged ones too."""
    mine = select(func.count()).where(pictures.c.collection_id == collection_id, pictures.c.present)
    return int(connection.execute(mine).scalar_one())


def _row(collection_id: int, picture: Found) -> dict[str, Any]:
    return {
        "collection_id": collection_id,
        "name": picture.name,
        "sha256": picture.sha256,
        "place": picture.place,
        "stamp": picture.stamp,
        "item": picture.item,
        "source": picture.source,
        "licence": picture.licence,
        "present": True,
        "first_label": picture.label,
        "label": picture.label,
        "width_px": picture.width_px,
        "height_px": picture.height_px,
        "size_bytes": picture.size_bytes,
        "dhash": picture.dhash,
        "facts": picture.facts,
    }


def _record_details(connection: Connection, ids: Sequence[int], found: Sequence[Found]) -> None:
    """The thumbnails and flags of pictures, and, of new ones, the tags that they came with."""
    for table in (looks, flags):
        connection.execute(delete(table).where(table.c.picture_id.in_(ids)))
    pairs = list(zip(ids, found, strict=True))
    connection.execute(
        insert(looks), [{"picture_id": key, "thumbnail": one.thumbnail} for key, one in pairs]
    )
    named = [{"picture_id": key, "flag": flag} for key, one in pairs for flag in one.flags]
    if named:
        connection.execute(insert(flags), named)
    tagged = [
        {"picture_id": key, "tag": tag} for key, one in pairs for tag in sorted(set(one.tags))
    ]
    if tagged:
        dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(tags).on_conflict_do_nothing(), tagged)


def _collection(row: Any) -> Collection:
    return Collection(id=row.id, root=row.root, name=row.name, kind=row.kind)


def now() -> str:
    """The time, as the log writes it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
