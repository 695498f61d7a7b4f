"""What SLURM says of many jobs at once: one squeue and one sacct, side by side.

`jobs.scheduler` asks about one launch, and waits; here nobody does: SLURM has ten seconds, and when
it does not answer, that is an answer too.
"""

import contextlib
import dataclasses
import datetime
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence

_PATIENCE_S = 10.0
_QUEUE = (
    *("ArrayJobID", "ArrayTaskID", "State", "NodeList", "Reason", "RestartCnt", "TimeLeft"),
    *("StartTime", "EndTime", "STDERR"),
)
_WAITS = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT")
_RUNS = (
    *("RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"),
    *("STAGE_OUT", "STAGING"),
)
_BOOKS = ("JobID", "State", "NodeList", "Start", "End")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heard:
    """A job, or one array task, as SLURM has it."""

    id: str
    """`12`, or `12_3` for an array task."""
    state: str
    """RUNNING, PENDING, COMPLETED, …"""
    nodes: str = ""
    reason: str = ""
    """Why it is pending."""
    restarts: int = 0
    seconds_left: float | None = None
    """Of its time limit."""
    begun: float | None = None
    ended: float | None = None
    origin: str = ""
    """Holds the path of the launch folder that it came from; "" where SLURM does not say."""

    @property
    def waits(self) -> bool:
        """Whether it is in the queue and does not run."""
        return self.state in _WAITS

    @property
    def runs(self) -> bool:
        """Whether it has nodes."""
        return self.state in _RUNS

    def is_of(self, launch: str) -> bool:
        """Whether a launch of this name submitted it: job numbers come again on a new cluster."""
        return not self.origin or f"/{launch}/jobs/" in self.origin


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What SLURM said."""

    queue: dict[str, Heard]
    """Jobs and tasks that the controller holds: all that have not ended, and some that have."""
    books: dict[str, Heard]
    """The last state of each, from accounting; empty where there is none."""
    silence: str = ""
    """Why the controller did not say anything; "" when it did."""

    def of(self, job: str, task: str, launch: str) -> Heard | None:
        """What is known of a task of a launch's job (`task` is the job itself when not split)."""
        for said in (self.queue, self.books):
            heard = said.get(task) or said.get(job)
            if heard is not None:  # accounting cannot make it ours when the queue says otherwise
                return heard if heard.is_of(launch) else None
        return None


class Question:
    """What SLURM was asked; it thinks while others read."""

    def __init__(self, jobs: Sequence[str], past: Sequence[str]) -> None:
        """Ask the queue about `jobs`, and accounting about `past`."""
        self._past = past
        self._silence = _obstacle() if jobs else ""
        self._ping = self._queue = self._books = None
        if jobs and not self._silence:
            # squeue tries for long to reach a controller that is down; a ping knows at once.
            self._ping = _start("scontrol", "ping") if shutil.which("scontrol") else None
            columns = ",".join(f"{name}:|" for name in _QUEUE)
            self._queue = _start("squeue", "--noheader", "--array", "--all", "--states=all",
                                 f"--jobs={','.join(jobs)}", f"--Format={columns}")  # fmt: skip
            self._books = _ask_books(past, "SubmitLine")

    def answer(self) -> Answer:
        """Wait for the answer, but not for long."""
        deadline = time.monotonic() + _PATIENCE_S
        up = _end(self._ping, deadline)[0]
        if " is DOWN" in up and " is UP" not in up and self._queue is not None:
            self._queue.kill()
            self._silence = up.strip().splitlines()[0]
        said, complaint = _end(self._queue, deadline)
        if "Invalid job id" in complaint:
            said, complaint = "", ""
        noted, trouble = _end(self._books, deadline)
        if "Invalid field" in trouble:  # an older sacct
            noted, trouble = _end(_ask_books(self._past, "JobName"), deadline)
        return Answer(
            queue={heard.id: heard for heard in _queue(said)},
            books={heard.id: heard for heard in _books(noted)},
            silence=self._silence or _reason(complaint),
        )


def _obstacle() -> str:
    """Why SLURM cannot be asked at all; "" when it can."""
    if not shutil.which("squeue"):
        return "there is no SLURM on this machine"
    conf = os.environ.get("SLURM_CONF")
    if conf is not None and not os.path.isfile(conf):
        return "no cluster is there"  # squeue would look for the file for a minute
    return ""


def _ask_books(jobs: Sequence[str], last: str) -> "subprocess.Popen[str] | None":
    if not jobs or not shutil.which("sacct"):
        return None
    return _start("sacct", "--noheader", "--parsable2", "--allocations",
                  f"--jobs={','.join(jobs)}", f"--format={','.join((*_BOOKS, last))}")  # fmt: skip


def _start(*command: str) -> "subprocess.Popen[str]":
    # The user's own defaults for these commands would change what they print.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SACCT_"))}
    environment = {**kept, "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace",
    )  # fmt: skip


def _end(process: "subprocess.Popen[str] | None", deadline: float) -> tuple[str, str]:
    """What a command printed, and its complaint."""
    if process is None:
        return "", ""
    try:
        said, complaint = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "", f"no answer within {_PATIENCE_S:.0f} s"
    return said, complaint if process.returncode else ""


def _reason(complaint: str) -> str:
    """Why there is no answer, in a few words."""
    if "configuration source" in complaint or "slurm.conf" in complaint:
        return "SLURM is installed but no cluster is configured (SLURM_CONF)"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return re.sub(r"^(squeue|slurm_load_jobs)[ :]+(error: )?", "", lines[-1]) if lines else ""


def _queue(text: str) -> Iterator[Heard]:
    for line in text.splitlines():
        values = line.split("|")
        if len(values) < len(_QUEUE):
            continue
        job, task, state, nodes, reason, restarts, left, begun, ended, origin = values[
            : len(_QUEUE)
        ]
        yield Heard(
            id=f"{job}_{task}" if task.isdigit() else job,
            state=state,
            nodes=nodes,
            reason="" if reason == "None" else reason,
            restarts=int(restarts) if restarts.isdigit() else 0,
            seconds_left=_span(left),
            begun=_moment(begun) if state not in _WAITS else None,
            ended=_moment(ended) if state not in (*_WAITS, *_RUNS) else None,
            origin="" if origin == "N/A" else origin,
        )


def _books(text: str) -> Iterator[Heard]:
    for line in text.splitlines():
        values = line.split("|", len(_BOOKS))
        if len(values) <= len(_BOOKS) or not values[1]:
            continue
        job, state, nodes, begun, ended, origin = values
        for name in _expanded(job):
            yield Heard(
                id=name,
                state=state.split()[0],  # "CANCELLED by 0"
                nodes="" if nodes == "None assigned" else nodes,
                begun=_moment(begun),
                ended=_moment(ended),
                origin=origin if "/" in origin else "",
            )


def _expanded(job: str) -> list[str]:
    """`5_[3-6,9%2]` as its tasks; other names as they are."""
    found = re.fullmatch(r"(\d+)_\[([\d,:-]+)(?:%\d+)?\]", job)
    if not found:
        return [job]
    names = []
    for piece in found[2].split(","):
        span, _, step = piece.partition(":")
        first, _, last = span.partition("-")
        with contextlib.suppress(ValueError):
            tasks = range(int(first), int(last or first) + 1, int(step or 1))
            names += [f"{found[1]}_{task}" for task in tasks]
    return names


def _span(text: str) -> float | None:
    """Seconds of `29:51` or `1-02:03:04`; None for INVALID and UNLIMITED."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if not found:
        return None
    days, hours, minutes, seconds = (int(value or 0) for value in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _moment(text: str) -> float | None:
    """Seconds since 1970 of `2026-11-21T06:46:49`; None for Unknown and what is to come."""
    with contextlib.suppress(ValueError, OverflowError):
        moment = datetime.datetime.fromisoformat(text.strip()).timestamp()
        return moment if moment <= time.time() else None
    return None
