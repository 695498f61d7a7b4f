"""Work made of parts: the one shape of everything that a cluster spreads over array tasks.

Each part leaves a done-marker on disk (its finished file or folder, renamed into place). Parts may
be made by any number of processes, at once, in any order, and again: the result is the same bytes.
Whoever finds nothing missing finishes the whole.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from core.errors import UserError
from core.files import exclusive, read_json, shared, write_json


class Parts(Protocol):
    """One job's work, split."""

    @property
    def folder(self) -> Path:
        """Where the processes of this work meet: it holds their locks and the done-markers."""

    @property
    def count(self) -> int:
        """Number of parts; they are numbered from 0."""

    def begin(self) -> None:
        """Claim the folder; UserError when it holds something else. Quick, and safe to repeat."""

    def missing(self) -> list[int]:
        """Parts without a done-marker, rising."""

    def make(self, part: int) -> None:
        """Make one part; its done-marker comes last."""

    def finished(self) -> bool:
        """Whether the whole is there."""

    def finish(self) -> None:
        """Make the whole of all parts, or do nothing when it is there."""


def make_parts(work: Parts, parts: Iterable[int]) -> int:
    """Make those of `parts` that are missing, as one of many processes; finish when none is.

    The number of parts made.
    """
    with shared(work.folder):
        work.begin()
        wanted = sorted(set(parts) & set(work.missing()))
        for part in wanted:
            work.make(part)
        if not work.finished() and not work.missing():
            with exclusive(work.folder / ".finishing", wait=True):
                if not work.finished():
                    work.finish()
    return len(wanted)


def make_everything(work: Parts) -> None:
    """Make all that is missing, as the only process; UserError when another one is at work."""
    with exclusive(work.folder):
        work.begin()
        if work.finished():
            return
        for part in work.missing():
            work.make(part)
        work.finish()


def claim(folder: Path, inputs: Mapping[str, Any], kind: str) -> None:
    """Say in an empty folder's plan.json what it is for; UserError when it is for something else.

    kind: what stands in it, in the plural.
    """
    path = folder / "plan.json"
    if not path.exists():
        strangers = sorted(p.name for p in folder.glob("*") if p.name[:1] != ".")
        if strangers:
            raise UserError(f"{folder} holds {strangers[0]}: name another --out")
        write_json(path, inputs)
    elif read_json(path) != inputs:
        raise UserError(
            f"{folder} holds {kind} of other settings: name another --out, or remove it"
        )
