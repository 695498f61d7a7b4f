"""A collection: pictures and `metadata.jsonl`, one row per picture (the ImageFolder convention).

    {"file_name": "cat/0001.png", "label": "cat", "split": "train", "licence": "CC0-1.0", …}

`datasets.load_dataset("imagefolder", data_dir=FOLDER)` opens it too. Free of torch.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import UserError
from core.files import canonical_json, digest_of, write_bytes

METADATA = "metadata.jsonl"
_LARGEST_SCORE = 1e300


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectionItem:
    """One row of metadata.jsonl; what is not stated is None, and left out of the file."""

    file_name: str
    """Path of the picture relative to metadata.jsonl, with forward slashes."""
    label: str | None = None
    sha256: str | None = None
    """SHA-256 (hex) of the picture file's bytes."""
    split: str | None = None
    """`train`, `validation` or `test`."""
    score: float | None = None
    """How well people like it; higher is better."""
    tags: tuple[str, ...] = ()
    source: str | None = None
    """Where the picture came from: a URL, a data set, a person."""
    licence: str | None = None
    """SPDX identifier where there is one."""
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Columns that Menagerie does not know, kept as they are."""

    def row(self) -> dict[str, Any]:
        """The item as a JSON object, without what is not stated."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "extra"
        }
        values["tags"] = list(self.tags) or None
        return self.extra | {key: value for key, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row of metadata.jsonl that cannot be used."""

    name: str
    """The file it names, else where the row stands."""
    reason: str


def parse_metadata(
    text: str, *, where: str = METADATA
) -> tuple[list[CollectionItem], list[BadRow]]:
    """Read the rows of a metadata.jsonl; broken ones come back with their reasons.

    `where` names the file in the rows' names. A picture named twice keeps its first row.
    """
    items: dict[str, CollectionItem] = {}
    bad: list[BadRow] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{where}:{number}"
        try:
            row = json.loads(line)
            item = _item(row)
            if item.file_name in items:
                raise ValueError("named twice")
            items[item.file_name] = item
        except (ValueError, RecursionError) as error:
            broken = isinstance(error, json.JSONDecodeError | RecursionError)
            reason = "the row is not valid JSON" if broken else f"{error} ({place})"
            name = None if broken or not isinstance(row, dict) else row.get("file_name")
            bad.append(BadRow(name=name if isinstance(name, str) else place, reason=reason))
    return list(items.values()), bad


def read_collection(folder: Path) -> tuple[list[CollectionItem], list[BadRow]]:
    """Read a folder's metadata.jsonl; UserError when there is none or it is not text."""
    path = folder / METADATA
    try:
        return parse_metadata(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{folder} is not a collection: it has no {METADATA}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {error}") from None


def write_collection(folder: Path, items: Iterable[CollectionItem]) -> str:
    """Write metadata.jsonl, sorted by file name, atomically; returns the revision's digest."""
    ordered = sorted(items, key=lambda item: item.file_name)
    lines = "".join(canonical_json(item.row()) + "\n" for item in ordered)
    write_bytes(folder / METADATA, lines.encode())
    return collection_digest(ordered)


def collection_digest(items: Sequence[CollectionItem]) -> str:
    """SHA-256 (hex) of a revision: the same rows in any order give the same digest."""
    return digest_of([item.row() for item in sorted(items, key=lambda item: item.file_name)])


def unsafe_name(name: str) -> str | None:
    """Why a relative file name must not be followed (it leaves its folder), or None."""
    path = PurePosixPath(name)
    if not name or "\0" in name:
        return "the name is empty or holds a NUL"
    if path.is_absolute() or "\\" in name or (len(name) > 1 and name[1] == ":"):
        return "the name is absolute or a Windows path"
    if ".." in path.parts:
        return "the name leads out of the folder"
    return None


def _item(row: Any) -> CollectionItem:
    if not isinstance(row, dict):
        raise ValueError("the row is not a JSON object")
    known = {field.name for field in dataclasses.fields(CollectionItem)} - {"extra"}
    values = {key: value for key, value in row.items() if key in known and value is not None}
    for key in ("file_name", "sha256", "split", "source", "licence"):
        if key in values and not isinstance(values[key], str):
            raise ValueError(f"its {key} is not text")
    if "file_name" not in values:
        raise ValueError("the row names no file_name")
    danger = unsafe_name(values["file_name"])
    if danger:
        raise ValueError(danger)
    if "label" in values:
        if not isinstance(values["label"], str | int) or values["label"] == "":
            raise ValueError("its label is neither text nor a whole number")
        values["label"] = str(values["label"])
    score = values.get("score", 0.0)
    if not isinstance(score, int | float) or not abs(score) <= _LARGEST_SCORE:
        raise ValueError("its score is not a number")
    tags = values.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("its tags are not a list of texts")
    values["tags"] = tuple(tags)
    # The American spelling is what most tools write.
    extra = {key: value for key, value in row.items() if key not in known}
    if "licence" not in values and isinstance(extra.get("license"), str):
        values["licence"] = extra.pop("license")
    return CollectionItem(**values, extra=extra)
