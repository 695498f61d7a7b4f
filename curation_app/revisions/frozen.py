"""Revisions on disk: what there is, and whether it is still what was frozen.

PICTURES-revisions/3-1a2b3c4d/
    metadata.jsonl    a row per picture, as `core.collection` reads it
    cat/0001.png …    copies of the pictures
    revision.json     its number, digest and origin; format 2 also counts and names the curator
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import mmap
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.collection import METADATA, CollectionItem, parse_metadata
from core.data.decode import UnreadableError
from core.data.sources import Entry, FolderSource
from core.errors import UserError
from core.files import digest_bytes, read_json
from curation_app.opening import RECORD

FORMAT = "menagerie-revision-2"
_MOST_TOLD = 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Revision:
    """A frozen collection on disk."""

    folder: Path
    number: int
    digest: str
    """Of its rows, which state the digest of every picture."""
    pictures: int
    frozen_at: str
    collection: str = ""
    """Name of the collection that it was made of; empty in format 1."""
    frozen_by: str = ""
    counts: dict[str, int]
    """Pictures of each class."""
    splits: dict[str, int]
    """Pictures of each split that the collection states."""
    size_bytes: int

    @property
    def slug(self) -> str:
        """What it is called, in links too."""
        return f"{self.number}-{self.digest[:8]}"

    @property
    def command(self) -> str:
        """What to run next."""
        keep = " --keep-split" if self.splits else ""
        return f"python jobs/prepare.py --source {shlex.quote(str(self.folder))}{keep}"

    @property
    def rows_path(self) -> Path:
        """Its metadata.jsonl: a canonical row per line, sorted by file name."""
        return self.folder / METADATA

    def as_json(self) -> dict[str, Any]:
        """The revision for the API."""
        values = dataclasses.asdict(self) | {"folder": str(self.folder)}
        return values | {"slug": self.slug, "command": self.command}


def revisions(folder: Path, collection: str | None = None) -> list[Revision]:
    """All revisions in a folder, the newest first; the folders themselves are the record of them.

    With `collection`, only those of that collection, and those that do not say of which they are.
    What is no revision, or a damaged one, is left out.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = [_revision(folder / name) for name in names if not name.startswith(".")]
    mine = [one for one in found if one and one.collection in ("", collection or one.collection)]
    return sorted(mine, key=lambda one: (-one.number, one.digest))


def highest_number(folder: Path) -> int:
    """The highest number that a revision in this folder has or had, be it damaged."""
    found = [re.match(r"(\d{1,9})-", name) for name in os.listdir(folder)]
    return max((int(match[1]) for match in found if match), default=0)


def lines(revision: Revision) -> Iterator[str]:
    """The rows of a revision, one by one, as text."""
    try:
        with revision.rows_path.open(encoding="utf-8") as file:
            for line in file:
                yield line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{revision.rows_path} cannot be read: {error}") from None


def digest_lines(texts: Iterator[str]) -> str:
    """SHA-256 (hex) of canonical rows: what `core.collection.collection_digest` gives for them."""
    whole = hashlib.sha256(b"[")
    for number, text in enumerate(texts):
        whole.update((b"," if number else b"") + text.encode())
    whole.update(b"]")
    return whole.hexdigest()


def read_picture(revision: Revision, sha256: str) -> bytes:
    """The picture of a revision with this digest; UnreadableError when there is none."""
    item = _find(revision, sha256)
    if item is None:
        raise UnreadableError("the revision has no such picture")
    return _read(revision, item)


def verify(revision: Revision, report: Callable[[int, int], None]) -> list[str]:
    """Read everything again; what is not as it was frozen, in words, the first few of each kind."""
    wrong: list[str] = []
    if digest_lines(lines(revision)) != revision.digest:
        wrong.append(f"{METADATA}: its rows are not those of the digest")
    names: set[str] = {METADATA, RECORD}
    bad = 0
    for done, text in enumerate(lines(revision)):
        report(done, revision.pictures)
        items, _ = parse_metadata(text)
        reason = "a row cannot be read" if not items else _changed(revision, items[0])
        names.update(item.file_name for item in items)
        if reason:
            bad += 1
            wrong += [reason] if bad <= _MOST_TOLD else []
    report(revision.pictures, revision.pictures)
    if bad > _MOST_TOLD:
        wrong.append(f"… and {bad - _MOST_TOLD} more pictures")
    extra = sorted(set(_files(revision.folder)) - names)
    wrong += [f"{name}: it was not there when the revision was frozen" for name in extra[:3]]
    if len(extra) > 3:
        wrong.append(f"… and {len(extra) - 3} more files that were not there")
    return wrong


def _revision(folder: Path) -> Revision | None:
    """The revision in a folder, if it is one."""
    try:
        stamp = os.stat(folder / RECORD)
        return _read_record(folder, stamp.st_mtime_ns, stamp.st_size)
    except (OSError, UserError, TypeError, ValueError, KeyError):
        return None


@functools.lru_cache(maxsize=512)
def _read_record(folder: Path, mtime_ns: int, size: int) -> Revision:
    """A record that was read once is kept: those of format 1 have to be counted."""
    record = read_json(folder / RECORD)
    number, digest, pictures = record["number"], record["digest"], record["pictures"]
    if not (isinstance(number, int) and isinstance(pictures, int) and _DIGEST.fullmatch(digest)):
        raise ValueError("no record of a revision")
    plain = Revision(
        folder=folder,
        number=number,
        digest=digest,
        pictures=pictures,
        frozen_at=str(record["frozen_at"]),
        collection=str(record.get("collection", "")),
        frozen_by=str(record.get("frozen_by", "")),
        counts=dict(record.get("counts", {})),
        splits=dict(record.get("splits", {})),
        size_bytes=int(record.get("size_bytes", 0)),
    )
    return plain if record.get("format") == FORMAT else _counted(plain)


def _counted(revision: Revision) -> Revision:
    counts: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    size_bytes = 0
    with contextlib.suppress(OSError, UserError, ValueError):  # damage is for `verify` to tell
        for text in lines(revision):
            row = json.loads(text)
            counts[str(row.get("label", ""))] += 1
            splits.update([row["split"]] if row.get("split") else [])
            size_bytes += os.stat(revision.folder / row["file_name"]).st_size
    return dataclasses.replace(
        revision,
        counts=dict(sorted(counts.items())),
        splits=dict(sorted(splits.items())),
        size_bytes=size_bytes,
    )


def _find(revision: Revision, sha256: str) -> CollectionItem | None:
    """The row of a digest, found in the text: parsing all of 100,000 rows takes half a second."""
    if not _DIGEST.fullmatch(sha256):
        return None
    try:
        with (
            revision.rows_path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text,
        ):
            place = text.find(f'"sha256":"{sha256}"'.encode())
            if place < 0:
                return None
            start = text.rfind(b"\n", 0, place) + 1
            end = text.find(b"\n", place)
            line = text[start : end if end >= 0 else len(text)]
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    items, _ = parse_metadata(line.decode("utf-8", "replace"))
    return items[0] if items else None


def _read(revision: Revision, item: CollectionItem) -> bytes:
    locator = str(revision.folder / item.file_name)
    entry = Entry(name=item.file_name, label=item.label or "", locator=locator)
    data = FolderSource(revision.folder).read(entry)
    if digest_bytes(data) != item.sha256:
        raise UnreadableError("its bytes are not those that were frozen")
    return data


def _changed(revision: Revision, item: CollectionItem) -> str | None:
    try:
        _read(revision, item)
    except UnreadableError as error:
        return f"{item.file_name}: {error}"
    return None


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
