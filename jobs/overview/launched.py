"""A launch folder, read strictly: what is not a launch of this version is left alone, and named."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from core.errors import UserError
from jobs.launches import LaunchFolder, all_launches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launched:
    """What a launch.json says."""

    folder: LaunchFolder
    verb: str
    out: Path
    """What it makes."""
    kind: str
    """slurm or local."""
    time: float
    jobs: tuple[tuple[str, int], ...]
    """Number of each job, and of its array tasks; 0 when it is not split."""
    after: tuple[str, ...]
    """Jobs that must have succeeded before."""
    parts: int | None
    """Parts in all; None when it is not split, or they were not known yet."""
    config: dict[str, Any]
    cwd: Path
    """Where the paths in `config` begin."""
    host: str
    user: str
    minutes: float | None
    """Its time limit."""
    night: Path | None
    """Folder of the night that it is a stage of."""
    stage: str | None

    @property
    def name(self) -> str:
        """The launch folder's name."""
        return self.folder.root.name

    def tasks(self) -> list[tuple[str, str]]:
        """Each job with each of its tasks: (`12`, `12_0`), …; (`12`, `12`) when it is not split."""
        return [
            (job, f"{job}_{k}" if count else job)
            for job, count in self.jobs
            for k in range(count or 1)
        ]

    def path(self, field: str) -> Path | None:
        """A path in the config; of several, none."""
        value = self.config.get(field)
        if isinstance(value, list) and len(value) == 1:
            (value,) = value
        return self.cwd / value if isinstance(value, str) and value else None

    def touched_since(self, moment: float) -> bool:
        """Whether it was launched, or its processes wrote something of themselves, after that."""
        if self.time >= moment:
            return True
        try:
            with os.scandir(self.folder.journal) as found:
                return any(entry.stat().st_mtime >= moment for entry in found)
        except OSError:
            return False


def read_launches() -> tuple[list[Launched], list[str]]:
    """All launches, the newest first, and why others could not be read."""
    launches, complaints = [], []
    for folder in all_launches():
        words = ""
        try:
            launches.append(_read(folder))
        except UserError:
            words = "its launch.json is no JSON" if folder.record.exists() else ""  # else removed
        except OSError as error:
            words = error.strerror or str(error)
        except (KeyError, TypeError, ValueError, AttributeError):
            words = "it is not of this version"
        if words:
            complaints.append(f"launches/{folder.root.name} is left out: {words}")
    return sorted(launches, key=lambda launch: launch.time, reverse=True), complaints


def _read(folder: LaunchFolder) -> Launched:
    facts = folder.facts()
    tags, cluster = dict(facts.get("tags") or {}), dict(facts.get("cluster") or {})
    minutes, parts = cluster.get("minutes"), facts.get("parts")
    return Launched(
        folder=folder,
        verb=str(facts["verb"]),
        out=Path(facts["out"]),
        kind=str(facts["kind"]),
        time=float(facts["time"]),
        jobs=tuple((str(int(job["id"])), int(job["tasks"])) for job in facts["jobs"]),
        after=tuple(str(job) for job in cluster.get("after") or ()),
        parts=None if parts is None else int(parts),
        config=dict(facts["config"]),
        cwd=Path(facts["cwd"]),
        host=str(facts.get("host", "")),
        user=str(facts.get("user", "")),
        minutes=None if minutes is None else float(minutes),
        night=Path(tags["night"]) if tags.get("night") else None,
        stage=str(tags["stage"]) if tags.get("stage") else None,
    )
