"""How far a launch is and how fast: a training from its metrics, parts from their done-markers.

File names are those of `core.rundir`, `core.sampleset`, `core.evaluation.parts` and
`exporters.parts`, which are too heavy to import for a glance; a test holds them together.
"""

import contextlib
import dataclasses
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.rundir import RunFolder
from jobs.overview.launched import Launched

_WINDOW_S = 900.0
"""Speed is that of so long a time, until now."""
_TAIL_BYTES = 16_384
_LATE_ROWS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """How far, how fast."""

    unit: str = ""
    """steps or parts; "" when there is nothing to count."""
    done: int | None = None
    total: int | None = None
    images_per_s: float | None = None
    seconds_left: float | None = None
    touched: float = 0.0
    """When the output last grew."""


def pace_of(launch: Launched, begun: float | None, *, running: bool) -> Pace:
    """Progress of a launch whose first process of now began at `begun`."""
    try:
        if launch.verb == "train":
            return _training(launch, running=running)
        if launch.verb in _MARKERS:
            return _parts(launch, begun, running=running)
    except (OSError, TypeError, ValueError):  # a config or an output of another version
        pass
    return Pace()


def _training(launch: Launched, *, running: bool) -> Pace:
    run = RunFolder(launch.out)
    total, batch = _count(launch.config.get("steps")), _count(launch.config.get("batch_size"))
    step, speed = _last_row(run.metrics)
    with contextlib.suppress(OSError, ValueError):
        step = max(step, *run.steps_saved(), 0)
    left = None
    if running and speed and batch and total is not None:
        left = max(0, total - step) * batch / speed
    return Pace(
        unit="steps",
        done=step,
        total=total,
        images_per_s=speed,
        seconds_left=left,
        touched=max(_modified(run.metrics), _modified(run.checkpoints), _modified(run.samples)),
    )


def _last_row(path: Path) -> tuple[int, float | None]:
    """Last step and speed of late in a metrics.jsonl, whatever a crash did to it.

    The median of the last rows: one that a checkpoint or a sample grid held up tells little.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return 0, None
    step, speeds = 0, []
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                step = max(step, _count(row.get("step")) or 0)
                speeds += [speed] if (speed := _number(row.get("images_per_s"))) else []
        if len(speeds) == _LATE_ROWS:
            break
    return step, sorted(speeds)[len(speeds) // 2] if speeds else None


@dataclasses.dataclass(frozen=True)
class _Markers:
    folder: Path
    name: str
    whole: Path
    """Is there when all is done, and the markers may be gone."""


def _sample_markers(launch: Launched) -> _Markers:
    out = launch.out
    return _Markers(out / "data", r"part-\d+\.parquet", out / "sampleset.json")


def _export_markers(launch: Launched) -> _Markers:
    out = launch.out
    parts = out.with_name(f".{out.name}.parts")
    return _Markers(parts, r"part-\d+", out.with_name(f"{out.name}.zip"))


def _evaluate_markers(launch: Launched) -> _Markers:
    found = sorted(launch.out.parent.glob(".evaluate-*"), key=_modified)
    folder = found[-1] if found else launch.out.with_name(".evaluate")
    return _Markers(folder, r"part-\d+\.json", launch.out)


_MARKERS = {
    "sample": _sample_markers,
    "sample_pipeline": _sample_markers,
    "export": _export_markers,
    "evaluate": _evaluate_markers,
}


def _parts(launch: Launched, begun: float | None, *, running: bool) -> Pace:
    markers = _MARKERS[launch.verb](launch)
    times = _marked(markers)
    pictures, shards = _pictures(launch)
    total = launch.parts if launch.parts is not None else shards
    ended = _modified(markers.whole)
    done = len(times)
    if total is not None and ended >= launch.time and not running:
        done = total
    speed = _speed(times, begun, time.time() if running else None)
    each = pictures / total if pictures is not None and total else None
    left = None
    if running and speed and total is not None:
        left = max(0, total - done) / speed
    return Pace(
        unit="parts",
        done=done,
        total=total,
        images_per_s=speed * each if speed and each else None,
        seconds_left=left,
        touched=max(times[-1] if times else 0.0, ended),
    )


def _marked(markers: _Markers) -> list[float]:
    """When each part was done, rising."""
    try:
        with os.scandir(markers.folder) as found:
            return sorted(e.stat().st_mtime for e in found if re.fullmatch(markers.name, e.name))
    except OSError:  # not begun, removed, or being put together this moment
        return []


def _speed(times: Sequence[float], begun: float | None, now: float | None) -> float | None:
    """Parts per second of late; None before the first part."""
    if begun is None:
        return None
    until = now if now is not None else max(times, default=begun)
    since = max(begun, until - _WINDOW_S)
    late = sum(moment >= since for moment in times)
    return late / (until - since) if late and until - since >= 1 else None


def _pictures(launch: Launched) -> tuple[int | None, int | None]:
    """Pictures in all, and shards if their number is known from what there is."""
    if launch.verb == "sample":
        return _asked(launch), None
    folder = launch.path("samples")
    facts = _json(folder / "sampleset.json") if folder is not None else {}
    shards = facts.get("shards")
    return _count(facts.get("count")), len(shards) if isinstance(shards, dict) else None


def _asked(launch: Launched) -> int | None:
    """Pictures that a sampling was asked for."""
    config = launch.config
    each = _count(config.get("per_class")) or 1
    if labels := config.get("labels"):
        return len(labels)
    if classes := config.get("classes"):
        counts = [str(entry).partition("=")[2] for entry in classes]
        return sum(int(count) if count.isdigit() else each for count in counts)
    run = launch.path("run")
    if run is None:
        return None
    for folder in (run / "model", run):
        known = _json(folder / "model_index.json").get("labels")
        if isinstance(known, list):
            return each * len(known)
    return None


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty when there is none."""
    with contextlib.suppress(OSError, ValueError):
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    return {}


def _number(value: Any) -> float | None:
    """A number of JSON that can be a speed or a count; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e15 else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
