"""A picture on its way in: what it is called, where its bytes lie, where it came from."""

import dataclasses
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import UserError
from core.files import atomic_file, canonical_json

UNLABELLED = "unlabelled"
"""The class of pictures that state none, when nobody names another."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an import may bring."""

    max_bytes: int = 64 * 2**20
    """Of one picture file."""
    max_megapixels: float = 40.0
    """Of one picture."""
    max_pictures: int = 200_000
    max_total_bytes: int = 50 * 2**30
    """Of all picture files together."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A picture that was read from an origin, or the reason why it was refused."""

    name: str
    """What it is called where it came from: to show, never to be a path."""
    label: str = ""
    sha256: str = ""
    """Of its bytes; empty when it was refused unread."""
    place: str = ""
    """Of its original, below the folder of originals; empty when it was refused."""
    bytes: int = 0
    source: str = ""
    """Where it came from, in one line: what `metadata.jsonl` says."""
    licence: str = ""
    split: str | None = None
    score: float | None = None
    tags: tuple[str, ...] = ()
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Columns of its metadata that Menagerie does not know."""
    provenance: dict[str, str] = dataclasses.field(default_factory=dict)
    """The same as `source`, in parts: kind, archive, member, url, final_url, at, …"""
    reason: str | None = None
    """Why it was refused, or None."""
    look: Any = dataclasses.field(default=None, compare=False)
    """What the caller's `look` made of its pixels; not saved."""

    @property
    def file_name(self) -> str:
        """A safe relative name for a collection on disk, made of class and digest alone."""
        return f"{_folder_name(self.label)}/{self.sha256[:16]}{PurePosixPath(self.place).suffix}"


def write_candidates(path: Path, candidates: Iterable[Candidate]) -> int:
    """Keep candidates between a preview and its decision, a row each; returns how many."""
    count = 0
    with atomic_file(path) as file:
        for candidate in candidates:
            row = dataclasses.asdict(dataclasses.replace(candidate, look=None))
            file.write((canonical_json(row) + "\n").encode())
            count += 1
    return count


def read_candidates(path: Path) -> Iterator[Candidate]:
    """Candidates as they were written; UserError when the file is missing or broken."""
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                yield Candidate(**row | {"tags": tuple(row["tags"])})
    except FileNotFoundError:
        raise UserError("that import is no longer there: bring the pictures in again") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"that import's record is broken: {error}: bring it in again") from None


def _folder_name(label: str) -> str:
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:40] or "class"
