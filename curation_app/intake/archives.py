"""Zips from strangers: their table of contents weighed before it is read into memory."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from core.collection import METADATA
from core.errors import UserError
from curation_app.intake.candidates import Limits

_COMMENT = 2**16
_ENTRY = b"PK\x01\x02"
_ENTRY_SIZE, _NAMES_SIZE = 46, 150
"""Of an entry in the table: its least size, and room for names beyond that, on average."""
_RATIO = 200
MOST_METADATA_BYTES = 32 * 2**20


def check_zip(path: Path, title: str, limits: Limits) -> None:
    """Refuse a zip that would unpack to more than the limits; UserError says which one.

    Its members are judged one by one when they are listed; this is for all of them together.
    """
    _check_table(path, title, limits.max_pictures)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{title} cannot be opened as a zip: {error}") from None
    if len(members) > limits.max_pictures:
        raise _too_many(title, limits.max_pictures)
    _check_metadata(path, title, members, limits)
    unpacked = sum(member.file_size for member in members)
    if unpacked > limits.max_total_bytes:
        most = f"{limits.max_total_bytes / 2**30:g} GiB"
        raise UserError(f"{title} would unpack to more than {most}: split it")
    # Members that share their bytes are each harmless, and a bomb together.
    if unpacked > _RATIO * max(path.stat().st_size, 2**20):
        raise UserError(f"{title} is a compression bomb: more than {_RATIO} times its size inside")


def check_rows(blocks: Iterable[bytes], title: str, limits: Limits) -> None:
    """Refuse a metadata.jsonl of too many rows or bytes, before objects are made of them."""
    size = rows = 0
    for block in blocks:
        size, rows = size + len(block), rows + block.count(b"\n")
        if size > MOST_METADATA_BYTES:
            most = f"{MOST_METADATA_BYTES // 2**20} MiB"
            raise UserError(f"the {METADATA} in {title} is larger than {most}: split it")
        if rows > limits.max_pictures:
            raise UserError(
                f"the {METADATA} in {title} has more than {limits.max_pictures:,} rows: split it"
            )


def _check_metadata(path: Path, title: str, members: list[zipfile.ZipInfo], limits: Limits) -> None:
    """A zip's metadata files, all of them together."""
    named = [member for member in members if member.filename.rsplit("/", 1)[-1] == METADATA]

    def blocks() -> Iterator[bytes]:
        with zipfile.ZipFile(path) as archive:
            for member in named:
                with archive.open(member) as file:
                    while block := file.read(2**16):
                        yield block

    try:
        check_rows(blocks(), title, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise UserError(f"the {METADATA} in {title} cannot be read: {error}") from None


def _check_table(path: Path, title: str, most: int) -> None:
    """Refuse a table of contents that is too long, before Python makes objects of it."""
    try:
        with path.open("rb") as file:
            size = _table_size(file)
            if size > most * (_ENTRY_SIZE + _NAMES_SIZE) + 2**20:
                raise _too_many(title, most)
            file.seek(-min(size + _COMMENT + 200, os.fstat(file.fileno()).st_size), os.SEEK_END)
            # Each entry begins so; names that hold it, too, only make the count larger.
            if file.read().count(_ENTRY) > most:
                raise _too_many(title, most)
    except OSError as error:
        raise UserError(f"{title} cannot be read: {error.strerror}") from None


def _table_size(file: IO[bytes]) -> int:
    """The largest size of the table that any end record states, old or new (zip64)."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - _COMMENT - 200))
    tail = file.read()
    old = _stated(tail, b"PK\x05\x06", "<12xI")
    new = _stated(tail, b"PK\x06\x06", "<40xQ")
    # The old record says 2³² - 1 where the new one is meant; more than the file is not readable.
    return min(max([0, *(size for size in old if size != 0xFFFFFFFF), *new]), length)


def _stated(tail: bytes, magic: bytes, layout: str) -> Iterator[int]:
    """The number in each record that begins with the magic."""
    at = tail.find(magic)
    while at >= 0:
        if at + struct.calcsize(layout) <= len(tail):
            yield struct.unpack_from(layout, tail, at)[0]
        at = tail.find(magic, at + 1)


def _too_many(title: str, most: int) -> UserError:
    return UserError(f"{title} holds more than {most:,} files: split it")
