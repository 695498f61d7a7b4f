"""Stay until a launch has ended, showing how it goes: `--wait`, and `--cluster local`."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from jobs import scheduler
from jobs.launches import LaunchFolder

_PAUSE_S = (0.5, 30.0)
"""Pauses between questions to SLURM, at first and at last: its controller serves everybody."""
_LOST_S = 60.0
"""A job that neither the queue nor accounting knows for so long is lost."""


def wait_for(folder: LaunchFolder, ids: Sequence[str]) -> int:
    """Wait for SLURM jobs to end; 0 when all succeeded, else the worst exit code."""
    said, unknown_since, pause_s = "", time.monotonic(), _PAUSE_S[0]
    while True:
        states = states_of(ids)
        line = _counted(states)
        if line != said:
            print(f"job {', '.join(ids)}: {line or 'unknown to SLURM'}", file=sys.stderr)
            said = line
        if states:
            unknown_since = time.monotonic()
        elif time.monotonic() - unknown_since > _LOST_S:
            print(f"job {', '.join(ids)}: SLURM does not know it any more", file=sys.stderr)
            return 1
        if states and all(state.state in scheduler.ENDED for state in states.values()):
            # The queue forgets tasks that ended long ago; accounting does not.
            return _exit_code(folder, {**scheduler.past_states(ids), **states})
        time.sleep(pause_s)
        pause_s = min(1.1 * pause_s, _PAUSE_S[1])


def states_of(ids: Sequence[str]) -> dict[str, scheduler.JobState]:
    """State of each job and array task, from the queue, else from accounting."""
    queued = scheduler.job_states(ids)
    known = {job.split("_")[0] for job in queued}
    return {**scheduler.past_states([job for job in ids if job not in known]), **queued}


class LocalJob(Protocol):
    """What is used of submitit's job on this machine."""

    @property
    def job_id(self) -> str:
        """Names its files."""

    def done(self, force_check: bool = False) -> bool:
        """Whether its processes have ended."""


def wait_here(folder: LaunchFolder, job: LocalJob) -> int:
    """Show the first process's log until all processes have ended; their exit code."""
    shown: dict[Path, int] = {}
    asked_to_stop = False
    while True:
        try:
            ended = job.done()
            for path in folder.logs(job.job_id):
                if path.name.startswith(f"{job.job_id}_0_"):
                    _show_new(path, shown)
            if ended:
                break
            time.sleep(0.2)
        except KeyboardInterrupt:
            if asked_to_stop:
                raise
            asked_to_stop = True
            # Ctrl-C reaches the processes too, a signal to this one alone does not: pass it on.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)
            print("stopping: waiting for a checkpoint (again to leave now)", file=sys.stderr)
    return 0 if _all_done(folder, job.job_id) else _failure(folder, job.job_id)


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Children started here do not die of Ctrl-C (those that want it install a handler)."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _show_new(path: Path, shown: dict[Path, int]) -> None:
    with path.open("rb") as file:
        file.seek(shown.get(path, 0))
        text = file.read()
    shown[path] = shown.get(path, 0) + len(text)
    stream = sys.stderr if path.suffix == ".err" else sys.stdout
    stream.write(text.decode(errors="replace"))
    stream.flush()


def _counted(states: dict[str, scheduler.JobState]) -> str:
    counts: dict[str, int] = {}
    for state in states.values():
        counts[state.state] = counts.get(state.state, 0) + 1
    return ", ".join(f"{count} {name.lower()}" for name, count in sorted(counts.items()))


def _exit_code(folder: LaunchFolder, states: dict[str, scheduler.JobState]) -> int:
    failed = sorted(job for job, state in states.items() if state.state != "COMPLETED")
    if not failed:
        return 0
    for job in failed[:5]:
        print(f"job {job}: {states[job].state}: {cause_of(folder, job)}", file=sys.stderr)
    codes = [_code(folder.entries(job)) for job in failed]
    return max(codes)


def cause_of(folder: LaunchFolder, job: str) -> str:
    """Why a job ended badly, from its journal; "" when it left no word."""
    for entry in reversed(folder.entries(job)):
        if words := entry.get("cause") or entry.get("error"):
            return str(words)
    return ""


def _code(entries: Sequence[dict[str, Any]]) -> int:
    codes = [int(entry["code"]) for entry in entries if "code" in entry]
    return codes[-1] if codes else 1


def _all_done(folder: LaunchFolder, job: str) -> bool:
    events = [entry["event"] for entry in folder.entries(job)]
    return events.count("done") == events.count("started") > 0


def _failure(folder: LaunchFolder, job: str) -> int:
    entries = folder.entries(job)
    for entry in entries:
        if entry["event"] == "failed" and entry.get("rank"):  # rank 0's words were shown
            print(f"rank {entry['rank']}: {entry['error']}", file=sys.stderr)
    return _code(entries)
