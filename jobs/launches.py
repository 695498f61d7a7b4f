"""What was launched: one private folder per submission, and what its jobs wrote into it.

    launches/20261121-060102-train-starter-3fa4/
        launch.json      verb, flags, cluster, code, jobs; written before the first job can start
        dirty.patch      what the working tree had beyond the commit
        jobs/            submitit's scripts, pickles and logs
        journal/         JSON lines, one file per process: started, done, failed, queued again

Only the owner can read it: the pickles are run as code.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import read_json, write_json


def launches_folder() -> Path:
    """Where launches are kept: $MENAGERIE_LAUNCHES, or launches/ in this folder."""
    return Path(os.environ.get("MENAGERIE_LAUNCHES") or "launches").absolute()


@dataclasses.dataclass(frozen=True)
class LaunchFolder:
    """One launch on disk: every file name of it."""

    root: Path

    @property
    def record(self) -> Path:
        """What was launched."""
        return self.root / "launch.json"

    @property
    def jobs(self) -> Path:
        """Submission scripts, pickles and logs."""
        return self.root / "jobs"

    @property
    def journal(self) -> Path:
        """What the jobs wrote of themselves."""
        return self.root / "journal"

    def facts(self) -> dict[str, Any]:
        """The contents of launch.json."""
        return dict(read_json(self.record))

    def job_ids(self) -> list[str]:
        """Numbers of its SLURM jobs."""
        return [str(job["id"]) for job in self.facts()["jobs"]]

    def entries(self, job: str | None = None) -> list[dict[str, Any]]:
        """The journal in order of time; of one job only, with `job`."""
        pattern = "*.jsonl" if job is None else f"{job}.*.jsonl"
        entries: list[dict[str, Any]] = []
        for path in sorted(self.journal.glob(pattern)):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            entries += filter(None, map(_entry, lines))
        return sorted(entries, key=lambda entry: float(entry["time"]))

    def logs(self, job: str) -> list[Path]:
        """Log files of a job (or array task), the first process's first."""
        return [
            *sorted(self.jobs.glob(f"{job}_*_log.err")),
            *sorted(self.jobs.glob(f"{job}_*_log.out")),
        ]


def _entry(line: str) -> dict[str, Any] | None:
    """A line of a journal; None when a kill cut it off, or it is something else."""
    with contextlib.suppress(ValueError, TypeError):
        entry = json.loads(line)
        if isinstance(entry, dict) and entry.keys() >= {"time", "job", "event"}:
            return entry | {"time": float(entry["time"])}
    return None


def note(launch: Path, job: str, process: str, event: str, **facts: Any) -> None:
    """Append one line to a process's journal."""
    path = LaunchFolder(launch).journal / f"{job}.{process}.jsonl"
    line = json.dumps({"time": time.time(), "job": job, "event": event, **facts})
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def new_launch(verb: str, out: Path) -> LaunchFolder:
    """An empty folder that only its owner can read."""
    root = launches_folder()
    private_folder(root)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", out.name)[:40]
    for attempt in range(1000):
        folder = LaunchFolder(root / f"{stamp}-{verb}-{name}{f'-{attempt}' if attempt else ''}")
        try:
            folder.root.mkdir(mode=0o700)
        except FileExistsError:
            continue
        for part in (folder.jobs, folder.journal):
            part.mkdir(mode=0o700)
        return folder
    raise UserError(f"{root} has too many launches of this second: try again")


def private_folder(folder: Path) -> None:
    """Make a folder for its owner only; one that is there must be his, and closed to writing.

    Code is read from it: UserError when others could put theirs there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        why = f"cannot make {folder} for what is launched: {error.strerror}"
        raise UserError(f"{why}; set MENAGERIE_LAUNCHES to a folder of yours") from None
    if folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder} belongs to another user: set MENAGERIE_LAUNCHES to your own")
    if folder.stat().st_mode & 0o022:
        raise UserError(
            f"others may write in {folder}, and jobs read their code there: chmod go-w it, or set "
            "MENAGERIE_LAUNCHES to a folder of yours"
        )


def write_launch(folder: LaunchFolder, facts: dict[str, Any], jobs: Sequence[Any]) -> None:
    """Write launch.json, with the jobs submitted so far."""
    write_json(folder.record, facts | {"jobs": list(jobs)})


def all_launches() -> Iterator[LaunchFolder]:
    """Every launch, the newest first."""
    root = launches_folder()
    for path in sorted(root.glob("*/launch.json"), reverse=True) if root.is_dir() else ():
        yield LaunchFolder(path.parent)


def launches_of(out: Path) -> Iterator[LaunchFolder]:
    """Launches that make `out`, the newest first."""
    wanted = str(out.absolute())
    for launch in all_launches():
        if launch.facts().get("out") == wanted:
            yield launch
