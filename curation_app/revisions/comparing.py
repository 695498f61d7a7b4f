"""What differs between two revisions, or a revision and the present: row by row, in one pass."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from core.errors import UserError

KINDS = ("added", "removed", "relabelled", "retagged", "starred", "rescored", "amended")
"""The last: renamed, or another split, licence or source."""
MOST_LISTED = 500
_FIELDS = {"label": "relabelled", "tags": "retagged", "stars": "starred", "score": "rescored"}
_Row: TypeAlias = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """A picture whose row differs."""

    before: _Row | None
    """None: it was added."""
    after: _Row | None
    """None: it was removed."""

    @property
    def row(self) -> _Row:
        """The newer of its rows."""
        return self.after or self.before or {}

    @property
    def amended(self) -> dict[str, tuple[Any, Any]]:
        """What differs beside class, tags, stars and score: column to values before and after."""
        before, after = self.before or {}, self.after or {}
        keys = sorted((before.keys() | after.keys()) - _FIELDS.keys())
        return {
            key: (before.get(key), after.get(key))
            for key in keys
            if before.get(key) != after.get(key)
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """All that differs; a picture may be in several lists."""

    counts: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    lists: dict[str, list[Change]] = dataclasses.field(
        default_factory=lambda: {kind: [] for kind in KINDS}
    )
    """Of each kind the first `MOST_LISTED`."""

    def note(self, kind: str, change: Change) -> None:
        """Count a change, and list it among the first."""
        self.counts[kind] += 1
        if len(self.lists[kind]) < MOST_LISTED:
            self.lists[kind].append(change)

    @property
    def digests(self) -> list[str]:
        """Digests of all pictures that are listed."""
        changes = itertools.chain.from_iterable(self.lists.values())
        return sorted({change.row["sha256"] for change in changes})


def compare(before: Iterable[str], after: Iterable[str]) -> Difference:
    """Compare rows, which are sorted by file name; UserError when one cannot be read.

    Pictures are the same when their bytes are; one under another name is renamed, not new. In
    memory is only what was added and removed.
    """
    found = Difference()
    gone: dict[str, list[str]] = {}
    new: list[tuple[str, str]] = []
    for old, young in _side_by_side(before, after):
        if old and young and old.row["sha256"] == young.row["sha256"]:
            _note_changes(found, old.row, young.row)
            continue
        if old:
            gone.setdefault(old.row["sha256"], []).append(old.text)
        if young:
            new.append((young.row["sha256"], young.text))
    for sha256, text in new:
        if gone.get(sha256):
            _note_changes(found, _parsed(gone[sha256].pop(0)), _parsed(text))
        else:
            found.note("added", Change(before=None, after=_parsed(text)))
    for text in sorted(itertools.chain.from_iterable(gone.values())):
        found.note("removed", Change(before=_parsed(text), after=None))
    return found


@dataclasses.dataclass(frozen=True)
class _Line:
    text: str
    row: _Row


def _side_by_side(
    before: Iterable[str], after: Iterable[str]
) -> Iterator[tuple[_Line | None, _Line | None]]:
    """Rows of the same file name, and rows that only one side has; equal rows are left out."""
    older, newer = iter(before), iter(after)
    old, young = next(older, None), next(newer, None)
    while old is not None or young is not None:
        if old == young:  # not even parsed: most rows are like that
            old, young = next(older, None), next(newer, None)
            continue
        left = None if old is None else _Line(old, _parsed(old))
        right = None if young is None else _Line(young, _parsed(young))
        if left and right and left.row["file_name"] != right.row["file_name"]:
            if left.row["file_name"] < right.row["file_name"]:
                right = None
            else:
                left = None
        yield left, right
        old = next(older, None) if left else old
        young = next(newer, None) if right else young


def _note_changes(found: Difference, before: _Row, after: _Row) -> None:
    change = Change(before=before, after=after)
    for key, kind in _FIELDS.items():
        if before.get(key) != after.get(key):
            found.note(kind, change)
    if change.amended:
        found.note("amended", change)


def _parsed(text: str) -> _Row:
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    if not (
        isinstance(row, dict)
        and isinstance(row.get("file_name"), str)
        and isinstance(row.get("sha256"), str)
    ):
        raise UserError("a row of a revision cannot be read: verify the revision")
    return row
