"""Names of files in a revision: those of the pictures where these are safe, else digests."""

import functools
import itertools
import os
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath

from core.collection import METADATA, unsafe_name
from core.data.decode import SUFFIXES
from curation_app.opening import RECORD

_LONGEST_PART_BYTES = 200
_LONGEST_BYTES = 1000
_DIGITS = 16
_BREAKS = ("Cc", "Cs", "Zl", "Zp")
"""Kinds of characters that break lines, terminals or files of text."""


class Names:
    """Gives each picture of a revision a name that is safe and taken by no other one.

    What came from uploads and other people's archives has other people's names. Names that differ
    in case alone are one name on many computers, where a revision may be copied to.
    """

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, wanted: str, sha256: str) -> str:
        """The wanted name, or one made of the digest where that cannot be."""
        if self._took(wanted):
            return wanted
        return next(name for name in _others(wanted, sha256) if self._took(name))

    def _took(self, name: str) -> bool:
        """Take a name if it is safe and free."""
        if not _is_safe(name):
            return False
        key = unicodedata.normalize("NFC", name).casefold()
        *folders, _ = key.split("/")
        parents = set(itertools.accumulate(folders, "{}/{}".format))
        if key in self._files or key in self._folders or parents & self._files:
            return False
        self._files.add(key)
        self._folders |= parents
        return True


def _others(wanted: str, sha256: str) -> Iterator[str]:
    path = PurePosixPath(wanted)
    suffix = path.suffix.lower() if path.suffix.lower() in SUFFIXES else ""
    short = sha256[:_DIGITS]
    yield from (str(path.parent / f"{short}{suffix}"), f"{short}{suffix}", f"{sha256}{suffix}")
    # The same bytes may be there several times.
    yield from (f"{short}-{number}{suffix}" for number in itertools.count(2))


def _is_safe(name: str) -> bool:
    """Whether all that reads a revision finds a picture of this name."""
    if unsafe_name(name) or len(name.encode()) > _LONGEST_BYTES:
        return False
    *folders, last = name.split("/")
    return _is_plain(last) and last not in (METADATA, RECORD) and all(map(_is_folder, folders))


@functools.lru_cache(maxsize=1000)
def _is_folder(part: str) -> bool:
    """What looks like a picture and is a folder is left out, and what a Mac adds to zips."""
    suffix = os.path.splitext(part)[1].lower()
    return _is_plain(part) and suffix not in SUFFIXES and part != "__MACOSX"


def _is_plain(part: str) -> bool:
    bad = not part.isprintable() and any(unicodedata.category(one) in _BREAKS for one in part)
    return not bad and part[:1] not in ("", ".") and len(part.encode()) <= _LONGEST_PART_BYTES
