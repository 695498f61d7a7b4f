"""A night on disk: every file name of it, its record, and how long nights are kept.

nights/2026-11-21/
    night.json       the plan as it was, the stages, and each attempt with its jobs
    samples/         the night's sample set
    evaluation/      figures, and the seeds that are kept
    packs/           one folder and one zip for each export
    digest.html      what became of it; digest.json says the same to programs
"""

import contextlib
import dataclasses
import datetime
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import exclusive, read_json, write_bytes, write_json

FORMAT = "menagerie-night-1"
_RESERVE_BYTES = 256 * 1024
"""Held back for the record and the digest of a night that fills the disk."""
_REMOVED = ".removed-"


@dataclasses.dataclass(frozen=True)
class Night:
    """One night's folder."""

    root: Path

    @property
    def date(self) -> str:
        """Such as 2026-11-21."""
        return self.root.name

    @property
    def record_path(self) -> Path:
        """The record."""
        return self.root / "night.json"

    @property
    def samples(self) -> Path:
        """The sample set."""
        return self.root / "samples"

    @property
    def figures(self) -> Path:
        """The evaluation's figures."""
        return self.root / "evaluation" / "recognition.json"

    @property
    def kept(self) -> Path:
        """The seeds that the evaluation keeps."""
        return self.figures.with_name("kept.json")

    @property
    def packs(self) -> Path:
        """The packs."""
        return self.root / "packs"

    @property
    def page(self) -> Path:
        """The digest for people."""
        return self.root / "digest.html"

    @property
    def facts_path(self) -> Path:
        """The digest for programs."""
        return self.root / "digest.json"

    def record(self) -> dict[str, Any]:
        """The contents of night.json; UserError when there is none."""
        if not self.record_path.exists():
            raise UserError(f"{self.root} is not a night: it has no {self.record_path.name}")
        record = read_json(self.record_path)
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise UserError(f"{self.record_path} is not of a night of this version: remove it")
        return record

    def save(self, record: dict[str, Any]) -> None:
        """Write night.json, also onto a full disk."""
        self.in_any_case(lambda: write_json(self.record_path, record))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the night against another start of it; UserError when there is one."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(exclusive(self.root))
            except UserError:
                raise UserError(
                    f"the night {self.date} is being started by another process ({self.root}): "
                    "nothing done"
                ) from None
            yield

    def reserve(self) -> None:
        """Hold a little of the disk back, for `in_any_case`."""
        path = self._reserve
        if not path.exists():
            write_bytes(path, os.urandom(_RESERVE_BYTES))  # random: compressed disks count it too

    def in_any_case(self, write: Callable[[], None]) -> None:
        """Write; when the disk is full, again with what was held back."""
        try:
            write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._reserve.exists():
                raise
            self._reserve.unlink()
            write()

    @property
    def _reserve(self) -> Path:
        return self.root / ".reserve"


def is_date(text: str) -> bool:
    """Whether it is a date as nights are named."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return False
    with contextlib.suppress(ValueError):
        datetime.date.fromisoformat(text)
        return True
    return False


def require_date(name: str, text: str) -> datetime.date:
    """The date; UserError, with the flag's name, when it is none."""
    if not is_date(text):
        raise UserError(f"{name} {text}: give a date such as 2026-11-21")
    return datetime.date.fromisoformat(text)


def nights_in(folder: Path) -> list[Night]:
    """All nights, the oldest first."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        Night(path) for path in found if is_date(path.name) and Night(path).record_path.exists()
    ]


def remove_old_nights(tonight: Night, keep: int, *, but: Callable[[Night], bool]) -> list[str]:
    """Remove the work of the nights before the newest `keep`, with their launches; their dates.

    Nights that made no samples do not count, so that a week of them drives out none that did.
    Tonight stays, and those for which `but` holds or that another process holds.
    """
    folder = tonight.root.parent
    for left in sorted(folder.glob(f"{_REMOVED}*")):  # a removal that was killed
        shutil.rmtree(left, ignore_errors=True)
    removed = []
    nights = nights_in(folder)
    made = {night.date for night in nights if (night.samples / "sampleset.json").exists()}
    oldest = sorted(made | {tonight.date})[-keep:][0]
    for night in nights:
        if night.date >= oldest or night.date == tonight.date:
            continue
        with contextlib.suppress(UserError):  # held, or not readable: leave it alone
            if but(night):
                continue
            with night.held():
                launches = _launches_of(night)
                gone = night.root.with_name(_REMOVED + night.date)
                night.root.replace(gone)
            for path in (gone, *launches):
                shutil.rmtree(path, ignore_errors=True)
            removed.append(night.date)
    return removed


def _launches_of(night: Night) -> list[Path]:
    """Launch folders that this night alone made."""
    found = []
    for attempt in night.record()["attempts"]:
        for stage in attempt["stages"].values():
            path = Path(stage.get("launch") or "/")
            if (path / "launch.json").exists():
                tags = read_json(path / "launch.json").get("tags", {})
                if tags.get("night") == str(night.root):
                    found.append(path)
    return found
