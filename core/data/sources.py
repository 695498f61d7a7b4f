"""Where pictures come from: a folder, a zip, Parquet, a Hugging Face data set, the starter animals.

A source is listed once — names and labels, no pixels — and then read entry by entry, from any
process. Nothing is ever extracted to disk, and nothing outside the source is read.
"""

import dataclasses
import functools
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from core.collection import METADATA, CollectionItem, parse_metadata, unsafe_name
from core.data.decode import MAX_BYTES, SUFFIXES, UnreadableError
from core.errors import UserError
from core.files import digest_bytes
from core.images import Picture

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
"""What data sets call their splits, and what we call them."""

_LISTING_LIMIT = 5_000_000
_ARCHIVES = frozenset((".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst"))
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One picture of a source, not yet read."""

    name: str
    """Name inside the source: forward slashes, printable as UTF-8, unique."""
    label: str
    locator: Any
    """Where its source finds it."""
    split: str | None = None
    """The split that the source states, in our words."""
    licence: str | None = None
    source: str | None = None
    sha256: str | None = None
    """The digest that its bytes are said to have."""
    score: float | None = None
    """How well people like it, when the source says; higher is better."""
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] | None = dataclasses.field(default=None, hash=False)
    """Columns of its metadata that Menagerie does not know."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """All that a source holds."""

    entries: list[Entry]
    """Sorted by name."""
    rejected: dict[str, str]
    """Name to reason, for what is no picture or must not be read."""
    ignored: int = 0
    """Files that do not look like pictures, such as notes and hidden files."""


class Source(Protocol):
    """A place with pictures; small enough to be sent to worker processes."""

    @property
    def kind(self) -> str:
        """What it is, in words."""

    def listing(self) -> Listing:
        """Find all pictures; UserError when it is not a source after all."""

    def read(self, entry: Entry) -> bytes | Picture:
        """The encoded bytes, or drawn pixels (straight RGBA); UnreadableError with the reason."""


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """A folder of class folders, or a folder with metadata.jsonl."""

    root: Path
    kind: str = "folder"
    default_label: str | None = None
    """The class of pictures that state none; without it, they are rejected."""

    def listing(self) -> Listing:
        """Walk the folder, in sorted order, without following links to folders."""
        files: list[tuple[str, str]] = []
        rejected: dict[str, str] = {}

        def refuse(error: OSError) -> None:
            rejected[self._name(str(error.filename))] = _os_reason(error)

        for parent, folders, names in os.walk(self.root, onerror=refuse):
            folders[:] = sorted(name for name in folders if not _is_hidden(name))
            for name in list(folders):
                path = os.path.join(parent, name)
                deep = Path(parent) != self.root
                if os.path.islink(path):
                    rejected[self._name(path)] = "a link to a folder, which is not followed"
                elif deep and PurePosixPath(name).suffix.lower() in SUFFIXES:
                    rejected[self._name(path)] = "a folder, not a picture"
                    folders.remove(name)
            start = "" if Path(parent) == self.root else self._name(parent) + "/"
            files += [(start + _printable(name), os.path.join(parent, name)) for name in names]
            if len(files) > _LISTING_LIMIT:
                raise UserError(f"{self.root} holds more than {_LISTING_LIMIT:,} files")
        return arrange(
            files, rejected, self._read_text, str(self.root), default_label=self.default_label
        )

    def read(self, entry: Entry) -> bytes:
        """Read one regular file inside the folder."""
        return self._read_file(entry.locator)

    def _name(self, path: str) -> str:
        return _printable(os.path.relpath(path, self.root).replace(os.sep, "/"))

    def _read_text(self, path: str) -> str:
        return self._read_file(path).decode("utf-8-sig")

    def _read_file(self, path: str) -> bytes:
        try:
            if os.path.islink(path):
                target = os.path.realpath(path)
                if not Path(target).is_relative_to(os.path.realpath(self.root)):
                    raise UnreadableError("a symbolic link that leads out of the source")
                path = target
            # Without O_NONBLOCK, opening a named pipe would wait for ever for its writer.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                return _read_all(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise UnreadableError(_os_reason(error)) from None


@dataclasses.dataclass(frozen=True)
class ZipSource:
    """A zip that holds class folders, or pictures with metadata.jsonl."""

    path: Path
    kind: str = "zip"
    default_label: str | None = None
    """The class of pictures that state none; without it, they are rejected."""

    def listing(self) -> Listing:
        """List the zip's entries; those that would escape, lie or swell are rejected."""
        members = _open_zip(self.path).infolist()
        rejected: dict[str, str] = {}
        files: dict[str, int] = {}
        for index, member in enumerate(members):
            name = _printable(member.filename)
            if member.is_dir():
                continue
            reason = _zip_danger(member) or ("named twice" if name in files else None)
            if reason:
                rejected.setdefault(name, reason)
            else:
                files[name] = index
        inside = without_wrapper(files)
        return arrange(
            [(name, index) for name, index in inside.items()],
            rejected,
            lambda index: self._read_member(index).decode("utf-8-sig"),
            str(self.path),
            default_label=self.default_label,
        )

    def read(self, entry: Entry) -> bytes:
        """Decompress one entry in memory, up to the size limit."""
        return self._read_member(entry.locator)

    def member_name(self, entry: Entry) -> str:
        """What the zip itself calls an entry, a wrapping folder included."""
        return _printable(_open_zip(self.path).infolist()[entry.locator].filename)

    def _read_member(self, index: int) -> bytes:
        archive = _open_zip(self.path)
        try:
            with archive.open(archive.infolist()[index]) as file:
                data = file.read(MAX_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise UnreadableError(f"damaged in the zip: {error}") from None
        except (NotImplementedError, RuntimeError) as error:
            raise UnreadableError(f"the zip's way of packing it is unknown: {error}") from None
        if len(data) > MAX_BYTES:
            raise UnreadableError(f"the file is larger than {MAX_BYTES // 2**20} MiB")
        return data


@dataclasses.dataclass(frozen=True)
class StarterSource:
    """The embedded starter animals, drawn when read."""

    per_class: int
    seed: int
    size_px: int
    """Side of the drawing."""
    kind: str = "starter"

    def listing(self) -> Listing:
        """`per_class` animals of every class."""
        from core.data.starter import LABELS

        seeds = range(self.seed, self.seed + self.per_class)
        entries = [
            Entry(
                name=f"{label}/{label}_{seed:06d}.png",
                label=label,
                locator=seed,
                licence="MIT",
                source="menagerie-starter",
            )
            for label in LABELS
            for seed in seeds
        ]
        return Listing(entries=sorted(entries, key=lambda entry: entry.name), rejected={})

    def read(self, entry: Entry) -> Picture:
        """Draw one animal."""
        from core.data.starter import draw_animal

        return draw_animal(entry.label, entry.locator, self.size_px)


def arrange(
    files: Iterable[tuple[str, Any]],
    rejected: dict[str, str],
    read_text: Callable[[Any], str],
    where: str,
    *,
    default_label: str | None = None,
) -> Listing:
    """Turn named files into entries: by metadata.jsonl where there is one, else by class folder.

    `files` are names and locators, `read_text` gives a locator's text. `rejected` is added to.
    """
    found = dict(sorted(files))
    tables = [name for name in found if name.rsplit("/", 1)[-1] == METADATA]
    pictures = {name: at for name, at in found.items() if _promises_picture(name)}
    hidden = len(found) - len(pictures) - len(tables)
    if not tables:
        entries = _by_class_folder(pictures, rejected, where, default_label)
        return Listing(entries=entries, rejected=rejected, ignored=hidden)
    entries = []
    for table in tables:
        try:
            items, bad = parse_metadata(read_text(found[table]), where=table)
        except (UnicodeDecodeError, UnreadableError) as error:
            raise UserError(f"{where}: {table} cannot be read as UTF-8 text: {error}") from None
        rejected.update({_printable(row.name): row.reason for row in bad})
        folder = PurePosixPath(table).parent
        entries += _by_metadata(items, folder, found, rejected, default_label)
    entries.sort(key=lambda entry: entry.name)
    unnamed = len(set(pictures) - {entry.name for entry in entries} - set(rejected))
    return Listing(entries=entries, rejected=rejected, ignored=hidden + unnamed)


def _by_class_folder(
    pictures: Mapping[str, Any], rejected: dict[str, str], where: str, default_label: str | None
) -> list[Entry]:
    tops = {name.split("/", 1)[0] for name in pictures if "/" in name}
    if not tops and default_label is None:
        raise UserError(
            f"{where} has neither class folders with pictures nor {METADATA}: "
            "put the pictures into one folder per class, such as cat/1.png"
        )
    by_split = all(top.lower() in SPLIT_NAMES for top in tops)
    entries = []
    for name, locator in pictures.items():
        *folders, _ = name.split("/")
        split = SPLIT_NAMES[folders.pop(0).lower()] if by_split and folders else None
        label = folders[0] if folders else default_label
        if label is not None:
            entries.append(Entry(name=name, label=label, locator=locator, split=split))
        else:
            rejected[name] = "outside any class folder"
    return entries


def _by_metadata(
    items: Sequence[CollectionItem],
    folder: PurePosixPath,
    found: Mapping[str, Any],
    rejected: dict[str, str],
    default_label: str | None,
) -> list[Entry]:
    entries = []
    above = SPLIT_NAMES.get(folder.parts[0].lower()) if folder.parts else None
    for item in items:
        name = str(folder / item.file_name)
        parts = PurePosixPath(item.file_name).parts
        label = item.label or (parts[0] if len(parts) > 1 else default_label)
        if name not in found:
            rejected[_printable(name)] = f"named in {METADATA} but not there"
        elif label is None:
            rejected[name] = f"{METADATA} gives it no label, and it lies in no class folder"
        else:
            entry = Entry(
                name=name,
                label=label,
                locator=found[name],
                split=SPLIT_NAMES.get((item.split or "").lower(), above),
                licence=item.licence,
                source=item.source,
                sha256=item.sha256,
                score=item.score,
                tags=item.tags,
                extra=item.extra or None,
            )
            entries.append(entry)
    return entries


def check_digest(entry: Entry, data: bytes) -> str:
    """SHA-256 of an entry's bytes; UnreadableError when it is not the one stated."""
    digest = digest_bytes(data)
    if entry.sha256 and entry.sha256.lower() != digest:
        raise UnreadableError("its bytes do not match the sha256 that the metadata states")
    return digest


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        status = os.stat(path)
        # A file that was replaced is another one, also to a server that runs for weeks.
        return _opened_zip(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} cannot be opened as a zip: {error}") from None


@functools.lru_cache(maxsize=2)
def _opened_zip(path: Path, inode: int, size: int, mtime_ns: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _zip_danger(member: zipfile.ZipInfo) -> str | None:
    if member.flag_bits & 0x1:
        return "encrypted"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a symbolic link, which is not followed"
    if member.file_size > MAX_BYTES:
        return f"it would unpack to {member.file_size // 2**20} MiB"
    if member.file_size > 2**20 and member.file_size > 200 * max(1, member.compress_size):
        return "a compression bomb: it would unpack to more than 200 times its size"
    if PurePosixPath(member.filename).suffix.lower() in _ARCHIVES:
        return "an archive inside the archive, which is not opened"
    return unsafe_name(member.filename)


def without_wrapper(files: Mapping[str, T]) -> dict[str, T]:
    """Zips often hold one folder that holds the class folders: drop it from the names."""
    real = [name for name in files if not _is_hidden(name.split("/", 1)[0])]
    tops = Counter(name.split("/", 1)[0] for name in real)
    if len(tops) != 1:
        return {name: files[name] for name in real}
    (top,) = tops
    inner = {name.removeprefix(top + "/"): files[name] for name in real if "/" in name}
    classes = {name.split("/", 1)[0] for name in inner if "/" in name}
    wraps = METADATA in inner or len(classes) > 1
    return inner if wraps else {name: files[name] for name in real}


def _promises_picture(name: str) -> bool:
    """By its ending; a name without one may be anything, so it is looked into."""
    if any(_is_hidden(part) for part in name.split("/")):
        return False
    suffix = os.path.splitext(name)[1].lower()
    return suffix in SUFFIXES or not re.fullmatch(r"\.[a-z][a-z0-9]{0,9}", suffix)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _printable(name: str) -> str:
    """A name whose bytes are not UTF-8, with those bytes spelled out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _read_all(handle: int) -> bytes:
    """A regular file's bytes, with as few system calls as can be: they are many small files."""
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("not a regular file")
    if status.st_size > MAX_BYTES:
        raise UnreadableError(f"the file is larger than {MAX_BYTES // 2**20} MiB")
    data = os.read(handle, status.st_size)
    while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
        data += more
    return data


def _os_reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, FileNotFoundError):
        return "it leads nowhere (a broken link?)"
    return (error.strerror or type(error).__name__).lower()
