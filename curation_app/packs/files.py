"""The files of a pack, in a folder or a zip: read by listed names, and checked by their digests."""

import dataclasses
import re
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from core.collection import unsafe_name
from core.errors import UserError
from core.files import digest_bytes
from curation_app.packs.drawings import not_plain

SUMS = "SHA256SUMS"
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_BYTES = 16 * 1024 * 1024 * 1024
MAX_FILES = 200_000
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """One file of a pack."""

    name: str
    sha256: str
    size_bytes: int
    side_px: int = 0
    """Of a PNG: its longer side."""


class Files(Protocol):
    """Where a pack's files are."""

    def read(self, name: str) -> bytes:
        """A file's bytes; UserError when it cannot be read."""

    def names(self) -> set[str] | None:
        """Every name there is, where more than the listed ones would be handed out."""


def open_files(path: Path) -> Files:
    """The files of a folder or a zip; UserError when it is no readable zip."""
    return _ZipFiles(path) if path.is_file() else _FolderFiles(path)


def read_sums(files: Files) -> tuple[bytes, dict[str, str]]:
    """SHA256SUMS, and from it name to digest; UserError unless every name stays inside."""
    data = files.read(SUMS)
    listed: dict[str, str] = {}
    for line in data.decode("utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{SUMS} has a line that is no checksum: {line[:80]!r}")
        name = match[2]
        danger = unsafe_name(name)
        if danger or not name.isprintable():
            danger = danger or "the name holds a control character"
            raise UserError(f"{SUMS} lists {name[:80]!r}: {danger}")
        listed[name] = match[1]
    if len(listed) > MAX_FILES:
        raise UserError(f"{SUMS} lists {len(listed)} files: at most {MAX_FILES} are allowed")
    if more := (files.names() or set()) - listed.keys() - {SUMS}:
        raise UserError(f"{min(more)} is not in {SUMS}")
    return data, listed


def check_files(
    files: Files, listed: Mapping[str, str], known: Mapping[tuple[str, str], File]
) -> dict[str, File]:
    """Read every listed file and check what it is; UserError names the first that is wrong.

    Files that are `known` by name and digest, say from the folder of this zip, are only digested.
    """
    checked: dict[str, File] = {}
    for name, sha256 in listed.items():
        data = files.read(name)
        if digest_bytes(data) != sha256:
            raise UserError(f"{name} was altered: its bytes are not those of {SUMS}")
        checked[name] = known.get((name, sha256)) or _look(name, data, sha256)
    return checked


def _look(name: str, data: bytes, sha256: str) -> File:
    if name.endswith(".svg") and (reason := not_plain(data)):
        raise UserError(f"{name} {reason}: only plain drawings are shown")
    side_px = 0
    if name.endswith(".png"):
        if not data.startswith(_PNG) or len(data) < 24:
            raise UserError(f"{name} is no PNG")
        side_px = max(struct.unpack(">II", data[16:24]))
    return File(name=name, sha256=sha256, size_bytes=len(data), side_px=side_px)


class _FolderFiles:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> set[str] | None:
        return None  # what lies there unlisted is never read

    def read(self, name: str) -> bytes:
        path = self._folder / name
        for parent in path.parents:
            if parent == self._folder:
                break
            if parent.is_symlink():
                raise UserError(f"{name} lies behind a link: a pack holds plain files only")
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{name} is no plain file: a pack holds plain files only")
            if status.st_size > MAX_FILE_BYTES:
                raise _too_large(name)
            return path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{name} is missing") from None


class _ZipFiles:
    def __init__(self, path: Path) -> None:
        try:
            # Kept open: reading its list of files takes longer than reading a file.
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise UserError(f"it is no readable zip: {error}") from None
        entries = [one for one in self._archive.infolist() if not one.is_dir()]
        self._names = {entry.filename for entry in entries}
        if len(self._names) != len(entries):
            raise UserError("it holds a file twice")
        for entry in entries:
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise UserError(f"{entry.filename} is a link: a pack holds plain files only")
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise UserError(f"it unpacks to more than {MAX_BYTES // 2**30} GiB")

    def names(self) -> set[str] | None:
        return self._names

    def read(self, name: str) -> bytes:
        try:
            # What an entry says of its size is a bound: zipfile reads no further.
            if self._archive.getinfo(name).file_size > MAX_FILE_BYTES:
                raise _too_large(name)
            return self._archive.read(name)
        except KeyError:
            raise UserError(f"{name} is missing") from None
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise UserError(f"{name} cannot be unpacked: {error}") from None


def _too_large(name: str) -> UserError:
    return UserError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MiB")
