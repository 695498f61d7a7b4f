"""Uploaded files, pictures and zips: spooled to disk as they stream in, named by chance."""

import contextlib
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from core.collection import METADATA, unsafe_name
from core.data.decode import SUFFIXES, UnreadableError
from core.data.sources import Entry, Listing, arrange, without_wrapper
from core.errors import UserError
from curation_app.intake.archives import check_rows
from curation_app.intake.candidates import UNLABELLED, Limits
from curation_app.intake.formats import LONGEST_MAGIC, sniff
from curation_app.intake.origins import Brought, Origin, SourceOrigin, trouble
from curation_app.intake.places import open_zip
from curation_app.intake.words import clean_name

_BLOCK = 2**20
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
_MOST_FILES = 10_000
_MOST_ZIP_BYTES = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class Upload:
    """A file as a browser sends it."""

    name: str
    """As the browser calls it; of a dropped folder's file, with the folders in front."""
    stream: IO[bytes]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadOrigin:
    """What was uploaded together: loose pictures, and what lies in zips."""

    folder: Path
    """Where the files wait, of this upload alone; `discard` removes it."""
    parts: tuple[tuple[str, Origin], ...]
    """Origins, and what their names get in front."""
    rejected: Mapping[str, str]
    """Files that were refused on arrival, and why."""
    title: str = "the upload"

    def listing(self) -> Listing:
        """The pictures of all parts; a zip without any is refused, and not the others with it."""
        entries: list[Entry] = []
        rejected = dict(self.rejected)
        ignored = 0
        for index, (prefix, part) in enumerate(self.parts):
            try:
                listing = part.listing()
            except UserError as error:
                rejected[prefix.rstrip("/") or self.title] = str(error)
                continue
            ignored += listing.ignored
            rejected.update({prefix + name: why for name, why in listing.rejected.items()})
            entries += [
                dataclasses.replace(entry, name=prefix + entry.name, locator=(index, entry))
                for entry in listing.entries
            ]
        return Listing(entries=entries, rejected=rejected, ignored=ignored)

    def bring(self, entries: Sequence[Entry]) -> Iterator[Brought]:
        """Read the parts, entry by entry."""
        for entry in entries:
            index, inner = entry.locator
            for brought in self.parts[index][1].bring([inner]):
                yield dataclasses.replace(brought, entry=entry)

    def discard(self) -> None:
        """Remove the uploaded files; originals that were staged stay."""
        shutil.rmtree(self.folder, ignore_errors=True)


def receive(
    uploads: Iterable[Upload],
    folder: Path,
    *,
    limits: Limits | None = None,
    default_label: str = UNLABELLED,
    who: str = "",
) -> UploadOrigin:
    """Write uploads below the folder, within the limits, and make one origin of them.

    What a file is, its first bytes decide: never its name, nor the browser. `who` sent them goes
    into the provenance. UserError when the whole upload is too much, or the disk is full; nothing
    is left of it then.
    """
    limits = limits or Limits()
    folder.mkdir(parents=True, exist_ok=True)
    spool = Path(tempfile.mkdtemp(prefix="upload-", dir=folder))
    try:
        spooled = _spool(uploads, spool, limits)
        parts = _parts(spooled, limits, default_label, {"by": who} if who else {})
        return UploadOrigin(folder=spool, parts=parts, rejected=spooled.rejected)
    except BaseException as error:
        shutil.rmtree(spool, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(f"the upload was not kept: {trouble(error)}; send it again") from None
        raise


def discard_old(folder: Path, *, older_than_s: float = 86_400) -> None:
    """Remove uploads that nobody staged: the server ended in between."""
    before = time.time() - older_than_s
    for path in sorted(folder.glob("upload-*")):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                shutil.rmtree(path, ignore_errors=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Spooled:
    """Uploaded files on the disk, by the name that people know them by."""

    pictures: dict[str, Path]
    zips: dict[str, Path]
    rejected: dict[str, str]


def _spool(uploads: Iterable[Upload], folder: Path, limits: Limits) -> _Spooled:
    spooled = _Spooled(pictures={}, zips={}, rejected={})
    left = limits.max_total_bytes
    for number, upload in enumerate(uploads):
        if number >= _MOST_FILES:
            raise UserError(f"more than {_MOST_FILES:,} files at once: send them as a zip")
        name = _unused(_plain_name(upload.name), number, spooled)
        path = folder / f"{number:06d}"
        head = upload.stream.read(LONGEST_MAGIC)
        most = _MOST_ZIP_BYTES if head.startswith(_ZIPS) else limits.max_bytes
        size = _copy(head, upload.stream, path, min(most, left))
        if size > most:
            spooled.rejected[name] = f"the file is larger than {most / 2**20:g} MiB"
            path.unlink()
            continue
        if size > left:
            total = f"{limits.max_total_bytes / 2**30:g} GiB"
            raise UserError(f"the upload is larger than {total}: send it in parts")
        left -= size
        _sort(name, number, head, path, spooled)
    return spooled


def _copy(head: bytes, stream: IO[bytes], path: Path, most: int) -> int:
    """Copy a stream, and stop at the first byte too many; the size so far."""
    size = 0
    with path.open("xb") as file:
        block = head
        while block and size <= most:
            file.write(block)
            size += len(block)
            block = stream.read(min(_BLOCK, most + 1 - size))
    return size


def _sort(name: str, number: int, head: bytes, path: Path, spooled: _Spooled) -> None:
    """Into zips, pictures and what is neither."""
    last = _last(name)
    found = sniff(head)
    danger = unsafe_name(name)
    if danger:
        spooled.rejected[name] = danger
    elif head.startswith(_ZIPS):
        spooled.zips[name] = path
    elif last.startswith(".") or last == METADATA or PurePosixPath(last).suffix.lower() in SUFFIXES:
        spooled.pictures[name] = path
    elif found:
        spooled.pictures[_unused(name + found.suffix, number, spooled)] = path
    else:
        spooled.rejected[name] = "neither a picture nor a zip"


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _plain_name(name: str) -> str:
    """A browser's name for a file; of a Windows path, the end."""
    return clean_name(name.rsplit("\\", 1)[-1].removeprefix("./"))


def _unused(name: str, number: int, spooled: _Spooled) -> str:
    """The name, with the file's number when another file has it already."""
    taken = (spooled.pictures, spooled.zips, spooled.rejected)
    unused = name
    while any(unused in names for names in taken):
        folder, slash, last = name.rpartition("/")
        stem, dot, suffix = last.rpartition(".")
        unused = f"{folder}{slash}{stem} ({number}){dot}{suffix}"
        number += 1
    return unused


def _parts(
    spooled: _Spooled, limits: Limits, default_label: str, about: Mapping[str, str]
) -> tuple[tuple[str, Origin], ...]:
    parts: list[tuple[str, Origin]] = []
    if spooled.pictures:
        tables = [path for name, path in spooled.pictures.items() if _last(name) == METADATA]
        check_rows((path.read_bytes() for path in tables), "the upload", limits)
        parts.append(("", _loose(spooled.pictures, default_label, about)))
    for name, path in spooled.zips.items():
        prefix = f"{name}/" if len(spooled.zips) > 1 or spooled.pictures else ""
        try:
            zipped = open_zip(path, name, limits=limits, default_label=default_label, about=about)
            parts.append((prefix, zipped))
        except UserError as error:
            spooled.rejected[name] = str(error)
    return tuple(parts)


def _loose(files: dict[str, Path], default_label: str, about: Mapping[str, str]) -> Origin:
    def describe(entry: Entry) -> Mapping[str, str]:
        return {"kind": "upload", **about, "file": entry.name}

    return SourceOrigin(_LooseFiles(without_wrapper(files), default_label), "upload", describe)


@dataclasses.dataclass(frozen=True)
class _LooseFiles:
    """Uploaded pictures, arranged as a folder with such names would be."""

    files: dict[str, Path]
    default_label: str
    kind: str = "upload"

    def listing(self) -> Listing:
        label = self.default_label
        return arrange(self.files.items(), {}, _read_text, "the upload", default_label=label)

    def read(self, entry: Entry) -> bytes:
        try:
            return Path(entry.locator).read_bytes()
        except OSError as error:
            raise UnreadableError(f"the upload is gone: {error.strerror}") from None


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")
