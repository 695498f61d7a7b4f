"""Originals, kept by the digest of their bytes: `originals/ab/abcdef….jpg`, each once and whole."""

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Container, Iterator
from pathlib import Path

from core.data.decode import UnreadableError
from core.files import digest_bytes, write_bytes
from curation_app.intake.formats import SUFFIXES, suffix_of

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Originals:
    """A folder of pictures that never change, found by digest alone: no name is ever a path."""

    folder: Path

    def keep(self, data: bytes, sha256: str) -> str:
        """Store bytes whose digest is known; returns their place below the folder."""
        place = f"{sha256[:2]}/{sha256}{suffix_of(data)}"
        path = self.folder / place
        if _size(path) == len(data):
            os.utime(path)  # so that a sweep at this moment leaves it
        else:
            write_bytes(path, data)
        return place

    def find(self, sha256: str) -> Path | None:
        """Where the bytes with this digest are, or None."""
        if not _DIGEST.fullmatch(sha256):
            return None
        paths = (self.folder / sha256[:2] / f"{sha256}{suffix}" for suffix in SUFFIXES)
        return next((path for path in paths if path.is_file()), None)

    def read(self, sha256: str) -> bytes:
        """The bytes with this digest; UnreadableError when they are not there, or not the same."""
        path = self.find(sha256)
        try:
            data = path.read_bytes() if path else None
        except OSError as error:
            raise UnreadableError(f"its original cannot be read: {error.strerror}") from None
        if data is None:
            raise UnreadableError("its original is missing")
        if digest_bytes(data) != sha256:
            raise UnreadableError("its original was altered on disk")
        return data

    def sweep(self, wanted: Container[str], *, older_than_s: float = 86_400) -> int:
        """Delete originals whose digest nobody wants, and torn files; returns how many."""
        before = time.time() - older_than_s
        swept = 0
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):
                if path.name.split(".")[0] not in wanted and path.stat().st_mtime < before:
                    path.unlink()
                    swept += 1
        return swept

    def _files(self) -> Iterator[Path]:
        folders = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        for folder in folders:
            if re.fullmatch(r"[0-9a-f]{2}", folder.name):
                yield from sorted(folder.iterdir())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
