"""Opening a collection for curation: find its pictures, know their bytes, put them on record."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from core.collection import METADATA, CollectionItem, read_collection, unsafe_name
from core.data.decode import UnreadableError
from core.data.sources import Entry, FolderSource, check_digest
from core.errors import UserError
from core.files import canonical_json, digest_bytes
from curation_app.records import Found, Picture
from curation_app.schema import create_database
from curation_app.store import Store

RECORD = "revision.json"
"""What a frozen revision says about itself; no picture may have this name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shelf:
    """A collection that is open for curation: where everything is."""

    root: Path
    database: Path
    thumbnails: Path
    revisions: Path
    unusable: dict[str, str]
    """Names that cannot be shown, and why."""

    def read(self, picture: Picture) -> bytes:
        """A picture's bytes; UnreadableError unless they are those it was put on record with."""
        data = FolderSource(self.root).read(_entry(self.root, picture))
        if digest_bytes(data) != picture.sha256:
            raise UnreadableError("the file has changed since the app was started: start it again")
        return data


def open_shelf(
    collection: Path, database: Path | None = None, revisions: Path | None = None
) -> Shelf:
    """Find the pictures of a folder of class folders, or of a folder with metadata.jsonl.

    By default the database is `.curation.sqlite` inside it, and revisions go to a folder beside it.
    """
    if not collection.is_dir():
        raise UserError(
            f"there is no folder {collection}: name one with class folders (cat/1.png), "
            f"or one with {METADATA}"
        )
    root = collection.resolve()
    database = (database or root / ".curation.sqlite").absolute()
    revisions = (revisions or root.with_name(f"{root.name}-revisions")).absolute()
    if revisions.is_relative_to(root):
        raise UserError(
            f"{revisions} lies inside the collection, whose pictures would then be found twice: "
            "name a folder outside of it"
        )
    listing = FolderSource(root).listing()
    unusable = dict(listing.rejected)
    create_database(database)
    with Store(database) as store:
        found = list(_found(root, listing.entries, store.digests(), unusable))
        if not found:
            why = "".join(f"; {name}: {reason}" for name, reason in sorted(unusable.items())[:1])
            raise UserError(f"{collection} holds no picture that can be used{why}")
        store.replace_pictures(found)
    return Shelf(
        root=root,
        database=database,
        # Hidden, so that no one who reads the collection takes thumbnails for its pictures.
        thumbnails=database.with_name(f".{database.name.lstrip('.')}.thumbs"),
        revisions=revisions,
        unusable=unusable,
    )


def _found(
    root: Path, entries: list[Entry], known: dict[str, tuple[str, str]], unusable: dict[str, str]
) -> Iterator[Found]:
    """The entries that can be used; the reasons of the others go to `unusable`."""
    stated = _stated_items(root, entries)
    seen: set[str] = set()
    for entry in tqdm(entries, desc="opening", unit="picture", disable=None):
        try:
            if entry.name in seen:
                raise UnreadableError("named twice")
            _check_name(entry.name)
            stamp = _stamp(entry)
            before, digest = known.get(entry.name, ("", ""))
            if stamp != before or (entry.sha256 or digest).lower() != digest:
                digest = check_digest(entry, FolderSource(root).read(entry))
            row = _row(stated.get(entry.name), entry, digest)
        except UnreadableError as error:
            unusable[entry.name] = str(error)
            continue
        seen.add(entry.name)
        yield Found(name=entry.name, sha256=digest, label=entry.label, stamp=stamp, item=row)


def _check_name(name: str) -> None:
    """A revision lists pictures by name, so that each name must be one that can be listed."""
    danger = unsafe_name(name)
    if danger is None and PurePosixPath(name).name in (METADATA, RECORD):
        danger = "the name is one that Menagerie uses itself"
    if danger:
        raise UnreadableError(f"{danger}: rename it")


def _stamp(entry: Entry) -> str:
    try:
        status = os.stat(entry.locator)
    except OSError as error:
        raise UnreadableError((error.strerror or "it cannot be read").lower()) from None
    return f"{status.st_size} {status.st_mtime_ns}"


def _stated_items(root: Path, entries: list[Entry]) -> dict[str, CollectionItem]:
    """What the collection's metadata files say, by the picture's name in the collection."""
    folders = {parent for entry in entries for parent in PurePosixPath(entry.name).parents}
    stated: dict[str, CollectionItem] = {}
    for folder in sorted(folders):
        if (root / folder / METADATA).is_file():
            for item in read_collection(root / folder)[0]:
                stated.setdefault(str(folder / item.file_name), item)
    return stated


def _row(item: CollectionItem | None, entry: Entry, digest: str) -> str:
    """The picture's row in a revision, as JSON."""
    whole = dataclasses.replace(
        item or CollectionItem(file_name=entry.name),
        file_name=entry.name,
        label=entry.label,
        sha256=digest,
        split=entry.split,
        licence=entry.licence,
        source=entry.source,
    )
    try:
        text = canonical_json(whole.row())
        text.encode()
    except ValueError as error:
        raise UnreadableError(f"its row cannot be written again: {error}") from None
    return text


def _entry(root: Path, picture: Picture) -> Entry:
    return Entry(name=picture.name, label=picture.label, locator=str(root / picture.name))
