"""One start of a night: what it did to each stage, in night.json before the next thing is done."""

import contextlib
import getpass
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.nights.folder import FORMAT, Night
from jobs.nights.plan import NightPlan
from jobs.nights.stages import Stage, refuse_other_settings


class Attempt:
    """Writes itself into the night's record with the first thing that is noted."""

    def __init__(self, night: Night, record: dict[str, Any]) -> None:
        self.night = night
        self.record = record
        self.how: dict[str, Any] = {
            "kind": "none",
            "time": time.time(),
            "user": getpass.getuser(),
            "host": socket.gethostname(),
            "cwd": str(Path.cwd()),
            "stages": {},
        }

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """What is noted so far, by stage."""
        stages: dict[str, dict[str, Any]] = self.how["stages"]
        return stages

    def note(self, stage: str, **facts: Any) -> None:
        """Add facts about a stage."""
        self.stages[stage] = {**self.stages.get(stage, {}), **facts}
        self._save()

    def fail(self, words: str) -> None:
        """Say why the start itself came to nothing."""
        self.how["error"] = words
        self._save()

    def earlier_jobs(self, stage: str) -> list[str]:
        """SLURM jobs of a stage, of all attempts."""
        return [
            job
            for attempt in self.record["attempts"]
            if attempt["kind"] == "slurm"
            for job in attempt["stages"].get(stage, {}).get("jobs", ())
        ]

    def _save(self) -> None:
        attempts = self.record["attempts"]
        if not attempts or attempts[-1] is not self.how:
            attempts.append(self.how)
        self.night.save(self.record)


def open_record(night: Night, plan: NightPlan, stages: Sequence[Stage]) -> dict[str, Any]:
    """The night's record as this plan has it, with the attempts so far; nothing is written."""
    attempts = night.record()["attempts"] if night.record_path.exists() else []
    return {
        "format": FORMAT,
        "night": night.date,
        "name": plan.name,
        "plan_file": str(plan.path),
        "plan": plan.raw,
        "publish": str(plan.publish),
        "asked": {},
        "stages": [stage.facts for stage in stages],
        "attempts": attempts,
    }


def changed_stages(night: Night, stages: Sequence[Stage]) -> list[Stage]:
    """Stages that this plan makes otherwise than the night's record says; none is finished."""
    return refuse_other_settings(night.record(), stages) if night.record_path.exists() else []


def clear(stages: Sequence[Stage]) -> None:
    """Remove what the stages left half-made."""
    for stage in stages:
        for path in stage.leaves:
            with contextlib.suppress(FileNotFoundError):
                path.unlink() if path.is_file() else shutil.rmtree(path)
