"""Runs in the batch script when all processes of a job have ended: queue it again, or give up.

Time is up (a checkpoint is saved) or a process was killed: the job is queued again, at most
--max-requeues times. A Python error is tried once more, then again only when there was progress in
between. What the user must mend, or what somebody else stopped, is left alone.
"""

import argparse
import dataclasses
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs import scheduler
from jobs.launches import LaunchFolder, note
from jobs.worker import CRASHED, STOPPED, TIME_IS_UP, USER_ERROR, place_of

LOST = 137
"""Exit code where srun says 0 and a process never said that it was done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What happens to the job."""

    again: bool
    cause: str


def main() -> int:
    """The batch script's last command; its exit code is the job's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", type=int, required=True)
    code: int = parser.parse_args().code
    launch = LaunchFolder(Path(os.environ["MENAGERIE_LAUNCH"]))
    place = place_of(os.environ)
    entries = launch.entries(place.job)
    if code == 0 and all_done(entries, place.attempt):
        return 0
    said = last_words(launch.logs(place.job))
    if code == 0:
        code, said = LOST, said or "a process was lost: its slurmstepd ended before it did"
    verdict = judge(code, entries, said, limit=int(launch.facts()["max_requeues"]))
    if verdict.again and not _still_ours(os.environ["SLURM_JOB_ID"]):
        verdict = Verdict(again=False, cause="stopped from outside")
    if not verdict.again:
        note(launch.root, place.job, "batch", "ended", code=code, cause=verdict.cause)
        print(f"job {place.job}: {verdict.cause}", file=sys.stderr)
        return code
    print(f"job {place.job}{_AGAIN}{verdict.cause}", file=sys.stderr, flush=True)
    note(launch.root, place.job, "batch", "requeued", code=code, cause=verdict.cause)
    # Requeueing ends this script too: what is to be written is written before.
    if complaint := scheduler.requeue(os.environ["SLURM_JOB_ID"]):
        note(launch.root, place.job, "batch", "ended", code=code, cause=complaint)
        print(f"job {place.job}: cannot be queued again: {complaint}", file=sys.stderr)
        return code
    time.sleep(30)
    return code


def all_done(entries: Sequence[dict[str, Any]], attempt: int) -> bool:
    """Whether each process of this attempt said that it was done: srun's 0 alone may be a loss."""
    started = [k for k, e in enumerate(entries)
               if e["event"] == "started" and e.get("attempt") == attempt]  # fmt: skip
    done = [k for k, e in enumerate(entries) if e["event"] == "done" and started and k > started[0]]
    return len(done) >= len(started) > 0


def judge(code: int, entries: Sequence[dict[str, Any]], said: str, *, limit: int) -> Verdict:
    """Queue again or not, from the processes' exit code, the journal and the log's last words."""
    requeues = sum(entry["event"] == "requeued" for entry in entries)
    since = _since_last_requeue(entries)
    errors = [entry["error"] for entry in since if entry["event"] == "failed"]
    if code == STOPPED and errors:  # one process failed, and the others were stopped for it
        code = max(int(entry["code"]) for entry in since if entry["event"] == "failed")
    cause = errors[0] if errors else said or f"the processes ended with code {code}"
    if code == USER_ERROR:
        return Verdict(again=False, cause=cause)
    if code == STOPPED:
        return Verdict(again=False, cause="stopped from outside")
    if "oom" in said.lower() or "out of memory" in said.lower():
        return Verdict(again=False, cause=f"out of memory: raise --mem-gb ({said})")
    if code == TIME_IS_UP or any(entry.get("code") == TIME_IS_UP for entry in since):
        cause = "time was up, or the job gave way to another; what it had done is saved"
    if requeues >= limit:
        return Verdict(again=False, cause=f"--max-requeues {limit} reached: {cause}")
    if code == CRASHED and _crashed_here_before(entries):
        return Verdict(again=False, cause=f"the same error twice without progress: {cause}")
    return Verdict(again=True, cause=cause)


def _still_ours(job_id: str) -> bool:
    """Whether SLURM still means the job to run: not after a cancel, or somebody else's requeue."""
    states = scheduler.job_states([job_id]).values()
    return any(state.state == "RUNNING" for state in states)


def _since_last_requeue(entries: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    for position in range(len(entries) - 1, -1, -1):
        if entries[position]["event"] == "requeued":
            return entries[position + 1 :]
    return entries


def _crashed_here_before(entries: Sequence[dict[str, Any]]) -> bool:
    """Whether the last attempt crashed as well, and this one began no further than it."""
    crashes = [e for e in entries if e["event"] == "requeued" and e["code"] == CRASHED]
    if not crashes:
        return False
    begun = [e["progress"] for e in entries if e["event"] == "going on"]
    return len(begun) >= 2 and begun[-1] <= begun[-2]


def last_words(logs: Sequence[Path]) -> str:
    """SLURM's first word on what was killed since the last start, from the first process's log."""
    for path in logs[:1]:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 50_000))
            text = file.read().decode(errors="replace")
        found = _SLURM_SAYS.findall(text.rpartition(_AGAIN)[2])
        killed = [line for line in found if "exit code" not in line]
        return str((killed or found or [""])[0][:300])
    return ""


_AGAIN = ": queued again: "
# Anywhere in a line: a progress bar that was cut off stands before it.
_SLURM_SAYS = re.compile(r"(?:srun|slurmstepd\S*): error: (.*(?:task|oom|OOM).*)")


if __name__ == "__main__":
    sys.exit(main())
