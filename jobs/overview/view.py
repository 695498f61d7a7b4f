"""One launch at a glance: SLURM's word on each of its jobs, its journal's, its output's."""

import dataclasses
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs.overview.journal import Told, fold
from jobs.overview.launched import Launched
from jobs.overview.logs import last_error, log_times
from jobs.overview.pace import Pace, pace_of
from jobs.overview.queued import Answer, Heard

ALIVE = ("running", "queued again", "pending")
"""States of a job that is still to do something, the most telling first."""
STATES = (*ALIVE, "failed", "lost", "cancelled", "done")
"""All states; a launch has the first that one of its jobs or tasks has."""

_CANCELLED = ("CANCELLED", "PREEMPTED", "REVOKED")
_WORDS = {
    "TIMEOUT": "SLURM ended it: its time limit was reached",
    "OUT_OF_MEMORY": "SLURM ended it: out of memory, raise --mem-gb",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not boot",
    "DEADLINE": "SLURM ended it: its deadline passed",
    "PREEMPTED": "it gave way to another job",
}
_NEVER = "DependencyNeverSatisfied"
_SETTLING_S = 60.0
"""A launch so young may be known to SLURM in a moment."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskView:
    """A job that is not split, or one array task."""

    id: str
    job: str
    state: str
    """One of STATES."""
    nodes: tuple[str, ...]
    reason: str
    """Why it is pending, in SLURM's word."""
    requeues: int
    error: str
    """Why it failed; or why its last attempt ended, when it was queued again."""
    limit_s: float | None
    """What is left of its time limit."""
    begun: float | None
    last: float
    """When it was last heard of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """A launch."""

    launch: Launched
    tasks: tuple[TaskView, ...]
    state: str
    """One of STATES."""
    pace: Pace
    error: str
    """The last thing that went wrong; "" when nothing did, or all is well again."""
    stalled_s: float | None
    """How long nothing came of it, when that is too long."""
    quiet: tuple[str, ...]
    """Tasks of which nothing came for as long, while others go on."""
    ended: float | None
    """When its last job ended."""
    successor: Launched | None = None
    """The newest launch of the same thing, when this one has ended and is not it."""
    blocker: str = ""
    """Which job kept it from starting, in words."""

    @property
    def counts(self) -> dict[str, int]:
        """Tasks in each state, in the order of STATES."""
        found = Counter(task.state for task in self.tasks)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def alive(self) -> bool:
        """Whether something is still to come of it."""
        return self.state in ALIVE

    @property
    def troubled(self) -> bool:
        """Whether something of it failed for which nothing newer was launched."""
        return bool({"failed", "lost"} & {self.state, *self.counts}) and self.successor is None

    @property
    def nodes(self) -> list[str]:
        """Nodes of what runs, else where it ran last."""
        running = [task for task in self.tasks if task.state == "running"]
        return sorted({node for task in running or self.tasks for node in task.nodes})

    @property
    def requeues(self) -> int:
        """Times that its jobs were queued again."""
        return sum(task.requeues for task in self.tasks)

    @property
    def reason(self) -> str:
        """Why it waits, in SLURM's word, when nothing of it runs."""
        return next((t.reason for t in self.tasks if t.state == self.state and t.reason), "")

    @property
    def began(self) -> bool:
        """Whether something of it ever ran."""
        return any(task.begun is not None and task.nodes for task in self.tasks)

    @property
    def hopeless(self) -> bool:
        """Whether it waits for what will never be."""
        return self.reason == _NEVER

    @property
    def limit_s(self) -> float | None:
        """Time until SLURM ends the last of what runs now."""
        left = [task.limit_s for task in self.tasks if task.limit_s is not None]
        return max(left, default=None)


def journal_of(launch: Launched) -> dict[str, Told]:
    """What its processes wrote, by job or array task; nothing when that cannot be read."""
    try:
        return fold(launch.folder.entries())
    except (OSError, TypeError, ValueError):  # removed this moment, or not of this version
        return {}


def look(
    launch: Launched, told: Mapping[str, Told], answer: Answer, *, stalled_after_s: float
) -> View:
    """All there is to know of a launch; nothing that is missing or broken is an error."""
    tasks = tuple(
        _task(launch, job, task, answer, told.get(task, Told())) for job, task in launch.tasks()
    )
    state = next((s for s in STATES if any(t.state == s for t in tasks)), "")
    if not tasks:
        state = "pending" if _is_young(launch) else "lost"
    begun = [task.begun for task in tasks if task.begun is not None]
    pace = pace_of(launch, min(begun, default=None), running=state == "running")
    if state == "done" and pace.total is not None:
        pace = dataclasses.replace(pace, done=pace.total)
    stalled_s, quiet = _stillness(launch, tasks, pace, stalled_after_s)
    return View(
        launch=launch,
        tasks=tasks,
        state=state,
        pace=pace,
        error=_error(launch, tasks, state),
        stalled_s=stalled_s,
        quiet=quiet,
        ended=None if state in ALIVE else max((t.last for t in tasks), default=launch.time),
    )


def _task(launch: Launched, job: str, task: str, answer: Answer, told: Told) -> TaskView:
    heard = answer.of(job, task, launch.name) if launch.kind == "slurm" else None
    state = _heard_state(heard, told) if heard is not None else ""
    # Accounting is behind the queue: what it says of a job's life counts only at the end.
    if heard is None or (state in ALIVE and heard.id not in answer.queue):
        heard, state = None, _told_state(launch, told, asked=not answer.silence)
    error = told.error
    if heard is not None and state in ("failed", "cancelled"):
        error = (error if state == "failed" else "") or _WORDS.get(heard.state, "")
    if state == "lost":
        error = "its processes are gone" if launch.kind == "local" else "SLURM does not know it"
    return TaskView(
        id=task,
        job=job,
        state=state,
        nodes=tuple(sorted(told.nodes)) or ((heard.nodes,) if heard and heard.nodes else ()),
        reason=heard.reason if heard and state in ALIVE and state != "running" else "",
        requeues=max(told.attempt, heard.restarts if heard else 0),
        error=error if state != "done" else "",
        limit_s=heard.seconds_left if heard and state == "running" else None,
        begun=told.begun if told.begun is not None else heard.begun if heard else None,
        last=max(told.last, (heard.ended or heard.begun or 0.0) if heard else 0.0, launch.time),
    )


def _heard_state(heard: Heard, told: Told) -> str:
    if heard.waits:
        return "queued again" if heard.restarts or told.attempt else "pending"
    if heard.runs:
        return "running"
    if heard.state == "COMPLETED":
        return "done"
    return "cancelled" if heard.state in _CANCELLED else "failed"


def _told_state(launch: Launched, told: Told, *, asked: bool) -> str:
    """The state by the journal alone."""
    if told.state in ("done", "failed", "cancelled"):
        return told.state
    if launch.kind == "local":
        if launch.host != socket.gethostname() or own_process(launch):
            return "running"
        if told.state == "stopping":
            return "cancelled"
        return "lost" if told.state or not _is_young(launch) else "pending"
    if asked and not _is_young(launch):
        return "lost"
    if told.state == "queued again":
        return told.state
    return "running" if told.state else "pending"


def own_process(launch: Launched) -> int | None:
    """The process on this machine that holds a local launch's processes, if it is alive."""
    for job, _ in launch.jobs:
        try:
            command = Path(f"/proc/{job}/cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(launch.folder.jobs) in command:
            return int(job)
    return None


def _is_young(launch: Launched) -> bool:
    return time.time() - launch.time < _SETTLING_S


def _error(launch: Launched, tasks: Sequence[TaskView], state: str) -> str:
    """The line that says best what went wrong."""
    if not tasks and state == "lost":
        return "it was never submitted: run it again"
    failed = [task for task in tasks if task.state in ("failed", "lost")]
    again = [task for task in tasks if task.state in ALIVE]
    for task in (failed or again or list(tasks))[:8]:
        words = task.error
        if not words and task.state == "failed":
            words = last_error(launch.folder.jobs, task.id)
        if words := words.removeprefix("error: "):
            return f"{task.id}: {words}" if task.id != task.job else words
    return ""


def _stillness(
    launch: Launched, tasks: Sequence[TaskView], pace: Pace, limit_s: float
) -> tuple[float | None, tuple[str, ...]]:
    """How long nothing came of a launch that runs, and of which of its tasks."""
    running = [task for task in tasks if task.state == "running"]
    if not running:
        return None, ()
    now = time.time()
    logs: Mapping[str, float] = log_times(launch.folder.jobs)
    still = {t.id: now - max(t.last, t.begun or 0.0, logs.get(t.id, 0.0)) for t in running}
    whole = min(*still.values(), now - pace.touched)
    if whole > limit_s:
        return whole, tuple(still)
    return None, tuple(task for task, seconds in still.items() if seconds > limit_s)
