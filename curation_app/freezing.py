"""Freezing: the pictures to keep become a revision, a collection that never changes again.

PICTURES-revisions/3-1a2b3c4d/
    metadata.jsonl    a row per picture, as `core.collection` reads it
    cat/0001.png …    copies of the pictures, under their own names
    revision.json     its number, digest and origin
"""

import dataclasses
import datetime
import shlex
import threading
from pathlib import Path
from typing import Any

from core.collection import CollectionItem, collection_digest, parse_metadata, write_collection
from core.data.decode import UnreadableError
from core.errors import UserError
from core.files import atomic_folder, exclusive, read_json, write_json
from curation_app.records import Picture
from curation_app.shelf import RECORD, Shelf
from curation_app.store import Store

_one_at_a_time = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Revision:
    """A frozen collection on disk."""

    folder: Path
    number: int
    digest: str
    """Of its rows, which state the digest of every picture."""
    pictures: int
    classes: int
    frozen_at: str

    @property
    def command(self) -> str:
        """What to run next."""
        return f"python jobs/prepare.py --source {shlex.quote(str(self.folder))}"


def revisions(folder: Path) -> list[Revision]:
    """All revisions, the newest first; the folders themselves are the record of them."""
    if not folder.is_dir():
        return []
    records = [path / RECORD for path in sorted(folder.iterdir()) if path.name[0] != "."]
    found = [_revision(path.parent, read_json(path)) for path in records if path.is_file()]
    return sorted(found, key=lambda revision: -revision.number)


def freeze(shelf: Shelf, store: Store) -> Revision:
    """Write the pictures to keep as a revision, or find the one that holds just these.

    UserError when there is nothing to keep, or a picture's file has changed.
    """
    try:
        with _one_at_a_time, exclusive(shelf.revisions):
            return _freeze(shelf, store)
    except OSError as error:
        raise UserError(f"{shelf.revisions} cannot be written to: {error.strerror}") from None


def _freeze(shelf: Shelf, store: Store) -> Revision:
    kept = store.kept()
    if not kept:
        raise UserError("no picture is marked “keep” yet: mark some, then freeze")
    items = [_item(picture) for picture in kept]
    digest = collection_digest(items)
    before = revisions(shelf.revisions)
    for revision in before:
        if revision.digest == digest:
            return revision
    number = max((revision.number for revision in before), default=0) + 1
    folder = shelf.revisions / f"{number}-{digest[:8]}"
    record = {
        "number": number,
        "digest": digest,
        "pictures": len(items),
        "classes": len({item.label for item in items}),
        "frozen_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    with atomic_folder(folder) as temporary:
        for picture in kept:
            _copy(shelf, picture, temporary / picture.name)
        write_collection(temporary, items)
        write_json(temporary / RECORD, record)
    return _revision(folder, record)


def _item(picture: Picture) -> CollectionItem:
    items, bad = parse_metadata(picture.item)
    if bad:
        raise UserError(f"{picture.name} cannot be frozen: {bad[0].reason}")
    return items[0]


def _copy(shelf: Shelf, picture: Picture, to: Path) -> None:
    """A copy, as a hard link would change together with the original."""
    try:
        data = shelf.read(picture)
    except UnreadableError as error:
        raise UserError(f"{picture.name} cannot be frozen: {error}") from None
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(data)
    to.chmod(0o444)


def _revision(folder: Path, record: dict[str, Any]) -> Revision:
    return Revision(folder=folder, **record)
