"""Show a job's log, and go on showing it until the job has ended."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError
from jobs.overview.find import look_at, read_and_find
from jobs.overview.launched import Launched
from jobs.overview.logs import last_lines, log_times, logs_of, standing
from jobs.overview.view import ALIVE, TaskView, View

_POLL_S, _ASK_S = 0.3, 3.0


def show_log(name: str, *, rank: int | None, lines: int) -> int:
    """Print the last lines of a process's output and errors."""
    launch, task, view = _task(name)
    paths = _paths(launch, task, rank)
    if not paths:
        raise UserError(f"job {task.id} has no log yet: it is {_word(view, task)}")
    _show(paths, lines)
    print(f"job {task.id}: {_word(view, task)}", file=sys.stderr)
    return 0


def follow(name: str, *, rank: int | None, lines: int) -> int:
    """Print the last lines, then what is added, until the job has ended or Ctrl-C."""
    launch, task, view = _task(name)
    paths = _paths(launch, task, rank)
    if not paths:
        print(f"job {task.id} has no log yet: it is {_word(view, task)}", file=sys.stderr)
    _show(paths, lines)
    shown = {path: _size(path) for path in paths}
    try:
        _stream(launch, task, rank, shown)
    except KeyboardInterrupt:
        return 130
    return 0


def _stream(launch: Launched, task: TaskView, rank: int | None, shown: dict[Path, int]) -> None:
    """Print what is added until the job has ended, and how it ended."""
    asked = time.monotonic()
    ended = task.state not in ALIVE
    while True:
        for path in _paths(launch, task, rank):
            shown[path] = _print_new(path, shown.get(path, 0))
        if ended:
            break
        time.sleep(_POLL_S)
        if time.monotonic() - asked > _ASK_S:
            view, _ = look_at(launch)
            task = next(t for t in view.tasks if t.id == task.id)
            # Asked first, then read once more: what was written before the end is shown.
            ended, asked = task.state not in ALIVE, time.monotonic()
    print(f"job {task.id}: {task.state}{f': {task.error}' if task.error else ''}", file=sys.stderr)


def _task(name: str) -> tuple[Launched, TaskView, View]:
    """The job or array task that is meant; of many, the one that a person would look at first."""
    launch, job = read_and_find(name)
    view, _ = look_at(launch)
    tasks = [task for task in view.tasks if job in (None, task.job, task.id)]
    if not tasks:
        raise UserError(f"{name} was never submitted: it has no log")
    times = log_times(launch.folder.jobs)
    rank = {"failed": 3, "lost": 2, "running": 1}
    best = max(tasks, key=lambda t: (rank.get(t.state, 0), times.get(t.id, 0.0)))
    if len(tasks) > 1:
        last = tasks[-1].id
        print(
            f"{name} is {len(tasks)} tasks, {tasks[0].id} to {last}; this is {best.id}, which is "
            f"{best.state}",
            file=sys.stderr,
        )
    return launch, best, view


def _paths(launch: Launched, task: TaskView, rank: int | None) -> list[Path]:
    """Output and errors of a process; UserError when the job has no such process."""
    logs = logs_of(launch.folder.jobs, task.id)
    if rank is None:
        rank = _rank_to_blame(launch, task) if task.state == "failed" else 0
        return logs.get(rank) or next(iter(logs.values()), [])
    if logs and rank not in logs:
        raise UserError(f"--rank {rank}: job {task.id} has the ranks {min(logs)} to {max(logs)}")
    return logs.get(rank, [])


def _rank_to_blame(launch: Launched, task: TaskView) -> int:
    """The process that failed first."""
    for entry in reversed(launch.folder.entries(task.id)):
        if entry["event"] == "failed" and str(entry.get("error", "")) == task.error:
            return int(entry.get("rank", 0))
    return 0


def _show(paths: Sequence[Path], lines: int) -> None:
    for path in paths:
        if found := last_lines(path, lines):
            print(f"==> {path.name} <==")
            print("\n".join(found))
    sys.stdout.flush()


def _print_new(path: Path, position: int) -> int:
    """Print what was added to a log; how far it is shown now."""
    size = _size(path)
    if size <= position:
        return size  # a shorter one was begun anew
    with path.open("rb") as file:
        file.seek(position)
        data = file.read(size - position)
    # Whole lines, or all there is of a progress bar that is on its way.
    end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 or len(data)
    text = data[:end].decode(errors="replace")
    if not sys.stdout.isatty():
        text = "\n".join(standing(text.split("\n")))
    sys.stdout.write(text)
    sys.stdout.flush()
    return position + end


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _word(view: View, task: TaskView) -> str:
    reason = f" ({task.reason})" if task.reason else ""
    return f"{task.state}{reason}"
