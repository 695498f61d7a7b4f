"""What runs inside a job: one process of a training, or one task of an array.

submitit unpickles a `Task` and calls `run`. How the process ends tells `jobs.aftermath`, which runs
when all processes have ended, what to do next.
"""

import dataclasses
import importlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from core.errors import UserError, machine_trouble
from core.files import read_json, write_bytes, write_json
from core.parts import make_parts
from jobs.launches import LaunchFolder, note
from jobs.verbs import Verb

USER_ERROR = 2
CRASHED = 1
TIME_IS_UP = 75
"""A checkpoint is written; the job wants to be queued again (sysexits.h: EX_TEMPFAIL)."""
STOPPED = 130
"""Somebody else ends the job, and queues it again if he wants to (SIGTERM: cancel, preemption)."""

_RENDEZVOUS_S = 300.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """What one array task makes; empty for a job that is not split."""

    parts: tuple[int, ...] | None = None
    """These parts, where they were known at submission."""
    number: int | None = None
    """Else this one of …"""
    of: int = 1
    """… so many equal ranges of all parts."""

    def of_parts(self, count: int) -> tuple[int, ...]:
        """The parts, of `count` in all."""
        if self.parts is not None:
            return self.parts
        return share_of(range(count), self.number or 0, self.of)


def share_of(parts: Sequence[int], number: int, of: int) -> tuple[int, ...]:
    """One of `of` contiguous ranges of nearly equal length."""
    return tuple(parts[len(parts) * number // of : len(parts) * (number + 1) // of])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a job does, in plain values: no class of a script is pickled."""

    verb: str
    argv: tuple[str, ...]
    share: Share
    launch: str
    """Folder of the launch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Which process of which job this is."""

    job: str
    """`12`, or `12_3` for an array task."""
    attempt: int
    """How often the job was queued again before."""
    rank: int
    processes: int
    local_rank: int
    node: str

    @property
    def name(self) -> str:
        """The process's name in the journal."""
        return f"rank-{self.rank:05d}"


def place_of(environment: Mapping[str, str]) -> Place:
    """Read the place from SLURM's (or submitit's local) variables."""
    get = environment.get
    if get("SUBMITIT_EXECUTOR") == "local":
        names = ("SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_LOCALID")
        job = get("SUBMITIT_LOCAL_JOB_ID", "0")
    else:
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
        job = get("SLURM_JOB_ID", "0")
        if "SLURM_ARRAY_TASK_ID" in environment:
            job = f"{get('SLURM_ARRAY_JOB_ID')}_{get('SLURM_ARRAY_TASK_ID')}"
    rank, processes, local_rank = (
        int(get(name, default)) for name, default in zip(names, "010", strict=True)
    )
    return Place(
        job=job,
        attempt=int(get("SLURM_RESTART_COUNT", "0")),
        rank=rank,
        processes=processes,
        local_rank=local_rank,
        node=get("SLURMD_NODENAME") or socket.gethostname(),
    )


def run(task: Task) -> None:
    """Do a task's work; returns when it is done, and ends the process with a code otherwise."""
    place = place_of(os.environ)
    launch = Path(task.launch)
    signals = _Signals()
    note(launch, place.job, place.name, "started", node=place.node, attempt=place.attempt,
         pid=os.getpid())  # fmt: skip
    try:
        _do(task, place, launch)
    except BaseException as error:
        code, words = _verdict(error, signals.received)
        if code in (CRASHED, USER_ERROR):
            note(launch, place.job, place.name, "failed", code=code, error=words, rank=place.rank,
                 node=place.node)  # fmt: skip
        else:
            number = getattr(error, "signal_number", signals.received)
            note(launch, place.job, place.name, "stopped", code=code, signal=number)
        if code == CRASHED:
            traceback.print_exc()
        if place.rank == 0 or code == CRASHED:
            print(f"{task.verb}: {words}", file=sys.stderr)
        _leave(code)
    note(launch, place.job, place.name, "done")


class _Signals:
    """Turns the cluster's signals into KeyboardInterrupt, and remembers which one came."""

    def __init__(self) -> None:
        self.received: int | None = None
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._interrupt)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        first = self.received is None
        if first or number == signal.SIGUSR2:
            self.received = number
        if first:  # a second one must not tear up the work of the first
            raise KeyboardInterrupt


def _do(task: Task, place: Place, launch: Path) -> None:
    verb: Verb[Any] = importlib.import_module(f"jobs.{task.verb}").VERB
    from jobs.cli import parse

    flags = parse(verb, task.argv)
    if verb.parts is not None:
        work = verb.parts(flags)
        mine = task.share.of_parts(work.count)[place.rank :: place.processes]
        _going_on(place, launch, progress=len(mine) - len(set(mine) & set(work.missing())))
        begun = time.monotonic()
        made = make_parts(work, mine)
        if made:
            seconds = time.monotonic() - begun
            note(launch, place.job, place.name, "made", parts=made, seconds=round(seconds, 3))
        return
    if place.rank == 0 and verb.steps_done is not None:
        _going_on(place, launch, progress=verb.steps_done(flags))
    if place.rank == 0 and verb.many_processes and verb.out is not None:
        _record_code(launch, verb.out(flags))
    if place.processes > 1:
        _meet(place, launch)
    closing = verb.run(flags)
    if closing and place.rank == 0:
        print(closing)


def _going_on(place: Place, launch: Path, *, progress: int) -> None:
    note(launch, place.job, place.name, "going on", progress=progress)


def _record_code(launch: Path, run: Path) -> None:
    """Write into a run which code made it, with what was not committed."""
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / "code.json", LaunchFolder(launch).facts()["code"])
    if (patch := launch / "dirty.patch").exists():
        write_bytes(run / "code.patch", patch.read_bytes())


def _meet(place: Place, launch: Path) -> None:
    """Tell torch who is who: rank 0 names a free port of its node, the others wait to read it."""
    path = launch / "journal" / f"{place.job}.{place.attempt}.meeting.json"
    if place.rank == 0:
        host = _resolvable(place.node)
        with socket.socket() as probe:
            probe.bind(("", 0))
            write_json(path, {"host": host, "port": probe.getsockname()[1]})
    waited_from = time.monotonic()
    while not path.exists():
        if time.monotonic() - waited_from > _RENDEZVOUS_S:
            raise RuntimeError(
                f"rank 0 never said where to meet ({_RENDEZVOUS_S:.0f} s waited on {place.node})"
            )
        time.sleep(0.2)
    meeting = read_json(path)
    os.environ |= {
        "MASTER_ADDR": meeting["host"],
        "MASTER_PORT": str(meeting["port"]),
        "RANK": str(place.rank),
        "LOCAL_RANK": str(place.local_rank),
        "WORLD_SIZE": str(place.processes),
        "MENAGERIE_ATTEMPT": f"{place.job}-{place.attempt}",
        "MENAGERIE_NODE": place.node,
    }


def _resolvable(node: str) -> str:
    try:
        socket.getaddrinfo(node, None)
    except OSError:
        return socket.gethostname()
    return node


def _verdict(error: BaseException, received: int | None) -> tuple[int, str]:
    """Exit code and words for how the work ended."""
    number = getattr(error, "signal_number", received)
    if number == signal.SIGUSR2:
        return TIME_IS_UP, "told that time is up: saved, and to be queued again"
    if isinstance(error, KeyboardInterrupt) or number is not None:
        return STOPPED, "told to stop; run the same command again to go on"
    if isinstance(error, UserError):
        return USER_ERROR, f"error: {error}"
    if trouble := machine_trouble(error):
        return USER_ERROR, f"error: {trouble}"
    return CRASHED, f"error: {type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _leave(code: int) -> None:
    """End at once: a process group whose peers are gone must not be waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
