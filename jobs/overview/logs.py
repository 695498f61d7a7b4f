"""The logs of a launch's processes: which there are, what went wrong in them, their last lines."""

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_NAME = re.compile(r"(\d+(?:_\d+)?)_(\d+)_log\.(?:out|err)")
_TAIL_BYTES = 65_536
_TROUBLE = re.compile(
    r"error|exception|traceback|killed|\boom\b|out of memory|no space left|segmentation fault|"
    r"not found|cannot|failed|denied",
    re.IGNORECASE,
)


def log_times(folder: Path) -> dict[str, float]:
    """When the logs of each job or array task last grew."""
    times: dict[str, float] = {}
    with contextlib.suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            if name := _NAME.fullmatch(entry.name):
                times[name[1]] = max(times.get(name[1], 0.0), entry.stat().st_mtime)
    return times


def logs_of(folder: Path, job: str) -> dict[int, list[Path]]:
    """Logs of a job or array task by process (rank), each its output, then its errors."""
    logs: dict[int, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob(f"{job}_*_log.*"), reverse=True):  # .out before .err
        name = _NAME.fullmatch(path.name)
        if name and name[1] == job:
            logs[int(name[2])].append(path)
    return dict(sorted(logs.items()))


def last_error(folder: Path, job: str) -> str:
    """The last line of a job's error logs that looks like trouble; "" when none does."""
    for paths in logs_of(folder, job).values():
        for path in paths:
            if path.suffix == ".err":
                for line in reversed(last_lines(path, 200)):
                    if _TROUBLE.search(line):
                        return line.strip()
    return ""


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log; of a progress bar only what was left standing."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(max(0, size - max(_TAIL_BYTES, 400 * count)))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return list(standing(text.removesuffix("\n").split("\n")))[-count:] if text else []


def standing(lines: Iterable[str]) -> Iterable[str]:
    """Lines as a terminal would leave them: after a carriage return the line begins anew."""
    return (line.rstrip("\r").rpartition("\r")[2] for line in lines)
