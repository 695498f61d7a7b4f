"""A sweep on disk: one class owns every file name of it, and reads how far each run is.

plan.json       the runs, and what varies
runs/           the runs, each named by its fingerprint (or elsewhere: a pool that sweeps share)
data/           classes of the data, where a sweep is over them
judge/          the classifiers in whose features distances are
parts/<fingerprint>/   what the sweep knows of a run
    sessions/          when it was worked on: a file for each time
    promoted.json      the rung beyond which it may go
    stopped.json       failed, and why; or not begun, as the budget was spent
    figures.json       what its samples are like; samples.png beside it
sweep.json      all of that in one file; report.html for people
"""

import dataclasses
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.files import read_json, write_json
from core.rundir import RunFolder
from core.sweeping.plan import PlannedRun


@dataclasses.dataclass(frozen=True)
class SweepFolder:
    """Where everything of one sweep lives."""

    root: Path
    pool: Path
    """Where the runs are, by fingerprint."""

    @property
    def plan(self) -> Path:
        """Which runs there are."""
        return self.root / "plan.json"

    @property
    def facts(self) -> Path:
        """All that is known, for programs."""
        return self.root / "sweep.json"

    @property
    def report(self) -> Path:
        """The same for people."""
        return self.root / "report.html"

    def run(self, run: PlannedRun) -> RunFolder:
        """A run's folder."""
        return RunFolder(self.pool / run.fingerprint)

    def subset(self, run: PlannedRun, dataset_digest: str) -> Path:
        """The classes of the data that a run keeps, as a dataset."""
        return self.root / "data" / f"{'-'.join(run.classes)[:60]}-{dataset_digest[:8]}"

    def judge(self, dataset_digest: str) -> Path:
        """The classifier of a dataset."""
        return self.root / "judge" / dataset_digest[:16]

    def part(self, run: PlannedRun) -> Path:
        """What the sweep knows of a run."""
        return self.root / "parts" / run.fingerprint

    def promoted(self, run: PlannedRun) -> int:
        """The rung (from 1) beyond which it may go; 0 = none."""
        path = self.part(run) / "promoted.json"
        return int(read_json(path)["rung"]) if path.exists() else 0

    def promote(self, run: PlannedRun, rung: int) -> None:
        """Let it go on beyond a rung, whoever comes there later."""
        write_json(self.part(run) / "promoted.json", {"rung": rung})

    def stopped(self, run: PlannedRun) -> dict[str, Any] | None:
        """`state` (failed, over budget) and `why`; None for a run that was not stopped."""
        path = self.part(run) / "stopped.json"
        return dict(read_json(path)) if path.exists() else None

    def stop(self, run: PlannedRun, state: str, why: str) -> None:
        """Say why a run does not go on."""
        write_json(self.part(run) / "stopped.json", {"state": state, "why": why})

    def unstop(self, run: PlannedRun) -> None:
        """Try it again."""
        (self.part(run) / "stopped.json").unlink(missing_ok=True)

    def figures(self, run: PlannedRun) -> Path:
        """What its samples are like; the marker of a run that is done with."""
        return self.part(run) / "figures.json"

    def sheet(self, run: PlannedRun) -> Path:
        """Its samples, of the same seeds in all runs."""
        return self.part(run) / "samples.png"

    @contextmanager
    def session(self, run: PlannedRun) -> Iterator[None]:
        """Keep the time while this holds, for budgets; what is killed counts to its last sign."""
        path = self.part(run) / "sessions" / f"{uuid.uuid4().hex[:12]}.json"
        self._end_killed(run)
        begun = time.time()
        write_json(path, {"begun": begun})
        try:
            yield
        finally:
            write_json(path, {"begun": begun, "ended": time.time()})

    def _end_killed(self, run: PlannedRun) -> None:
        """Who holds a run is alone with it: sessions without an end were killed. What they did is
        told by the run's last sign before this session gives signs of its own."""
        sign = _changed(self.run(run).metrics)
        for path in (self.part(run) / "sessions").glob("*.json"):
            session = read_json(path)
            if "ended" not in session:
                write_json(path, {**session, "ended": max(float(session["begun"]), sign)})

    def begun(self, run: PlannedRun) -> bool:
        """Whether this sweep has worked on a run."""
        return (self.part(run) / "sessions").is_dir()

    def seconds(self, run: PlannedRun) -> float:
        """How long this sweep has worked on a run."""
        total = 0.0
        sign = _changed(self.run(run).metrics)
        for path in sorted((self.part(run) / "sessions").glob("*.json")):
            session = read_json(path)
            begun = float(session["begun"])
            total += max(0.0, float(session.get("ended", max(begun, sign))) - begun)
        return total


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a run is, as its folder tells."""

    trained: bool
    """Whether its model is there."""
    step: int
    """Steps done, as far as it has told."""
    rows: tuple[Mapping[str, float], ...]
    """Of metrics.jsonl."""

    @property
    def held_out(self) -> dict[int, float]:
        """Held-out loss by step."""
        return {int(r["step"]): r["held_out_loss"] for r in self.rows if "held_out_loss" in r}

    def last(self, name: str) -> float | None:
        """The newest value of a figure."""
        return next((row[name] for row in reversed(self.rows) if name in row), None)

    def at_rung(self, step: int) -> float | None:
        """Held-out loss with which it came to a rung; None before that.

        A training that ended early on its own stands at all later rungs with its last loss.
        """
        found = self.held_out.get(step)
        if found is None and self.trained:
            return self.last("held_out_loss")
        return found


def standing_of(run: RunFolder) -> Standing:
    """Read a run's folder, which may not be there yet."""
    rows = []
    if run.metrics.exists():
        for line in run.metrics.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:  # cut off by a kill, or just being written
                break
    steps = [int(row["step"]) for row in rows] + run.steps_saved()
    return Standing(trained=run.model.exists(), step=max(steps, default=0), rows=tuple(rows))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
