"""SLURM's own commands, typed: what the cluster is, what it runs, and requeue and cancel.

Only reading and steering; submitting is `jobs.launch`'s. Errors are one line in SLURM's words.
"""

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from core.errors import UserError

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE",
         "BOOT_FAIL", "PREEMPTED")  # fmt: skip
"""States (as sacct names them) after which a job does nothing more, unless it is requeued."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition's limits; None = no limit is set."""

    name: str
    nodes: int
    default: bool
    up: bool
    max_minutes: float | None
    max_nodes: int | None
    cpus: int
    """Cores of its largest node."""
    memory_gb: float
    """Memory of its largest node."""
    gpus: int
    """GPUs of its largest node."""
    preempt_mode: str
    """OFF, REQUEUE, CANCEL or SUSPEND."""
    grace_s: int
    """Seconds between a preemption's first signal and the kill."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobState:
    """A job (or one array task) as SLURM sees it."""

    id: str
    """`12`, or `12_3` for an array task; `12_[4-7]` for tasks that are not started."""
    state: str
    """RUNNING, PENDING, COMPLETED, …"""
    nodes: str
    reason: str
    restarts: int
    script: str = ""
    """Path of what was submitted, as far as the queue still knows it."""


def installed() -> bool:
    """Whether SLURM's submission commands are on this machine."""
    return all(shutil.which(command) for command in ("sbatch", "srun", "scontrol"))


def controller() -> tuple[bool, str]:
    """Whether the controller answers, and its words; NotConfiguredError without a slurm.conf."""
    conf = os.environ.get("SLURM_CONF")
    if conf is not None and not os.path.isfile(conf):  # scontrol would look for it for a minute
        raise NotConfiguredError(f"SLURM_CONF is {conf}, which is no file")
    done = _run(["scontrol", "ping"])
    said = done.stdout + done.stderr
    if "configuration source" in said or "slurm.conf" in said:
        raise NotConfiguredError("it finds no slurm.conf")
    return done.returncode == 0 and " is UP" in done.stdout, _first_line(said)


class NotConfiguredError(Exception):
    """SLURM is installed but there is no cluster behind it (no slurm.conf)."""


def cluster_config() -> dict[str, str]:
    """The cluster's settings, as `scontrol show config` prints them."""
    pairs = re.findall(r"^(\S+)\s+= (.*)$", _answer(["scontrol", "show", "config"]), re.MULTILINE)
    return {name: value.strip() for name, value in pairs}


def partitions() -> dict[str, Partition]:
    """Every partition by name."""
    largest = _largest_nodes()
    found = {}
    for line in _answer(["scontrol", "--oneliner", "show", "partition"]).splitlines():
        facts = dict(re.findall(r"(\w+)=(\S*)", line))
        if name := facts.get("PartitionName"):
            found[name] = _partition(name, facts, largest.get(name, (0, 0.0, 0)))
    return found


def job_states(ids: Iterable[str]) -> dict[str, JobState]:
    """Jobs that SLURM still holds in its queue, array tasks one by one, of the given job ids."""
    wanted = sorted({job_id.split("_")[0] for job_id in ids})
    if not wanted:
        return {}
    columns = "%i|%T|%N|%r|%o"
    done = _run(
        [
            "squeue",
            "--noheader",
            "--states=all",
            f"--jobs={','.join(wanted)}",
            f"--format={columns}",
        ]
    )
    if done.returncode and "Invalid job id" not in done.stderr:
        raise UserError(f"squeue: {_first_line(done.stderr)}")
    found = {}
    for line in done.stdout.splitlines():
        job_id, state, nodes, reason, script = line.split("|", 4)
        found[job_id] = JobState(
            id=job_id, state=state, nodes=nodes, reason=reason, restarts=0, script=script
        )
    return found


def past_states(ids: Iterable[str]) -> dict[str, JobState]:
    """The last state of jobs that left the queue, from accounting; {} where there is none."""
    wanted = sorted({job_id.split("_")[0] for job_id in ids})
    if not wanted:
        return {}
    columns = "JobID,State,NodeList,Restarts" if _knows_restarts() else "JobID,State,NodeList"
    done = _run(
        ["sacct", "--noheader", "--parsable2", "--allocations",
         f"--jobs={','.join(wanted)}", f"--format={columns}"]
    )  # fmt: skip
    found = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        job_id, state, nodes, *rest = line.split("|")
        found[job_id] = JobState(
            id=job_id,
            state=state.split()[0],
            nodes=nodes,
            reason="",
            restarts=int(rest[0]) if rest and rest[0].isdigit() else 0,
        )
    return found


def requeue(job_id: str) -> str:
    """Put a batch job back into the queue; SLURM's complaint, or "" when it is done."""
    done = _run(["scontrol", "requeue", job_id])
    return "" if done.returncode == 0 else _first_line(done.stderr + done.stdout)


def cancel(ids: Sequence[str]) -> None:
    """End jobs; UserError in SLURM's words."""
    done = _run(["scancel", *ids])
    if done.returncode:
        raise UserError(f"scancel: {_first_line(done.stderr)}")


def minutes(text: str) -> float:
    """A time limit in minutes: `90`, `1:30:00`, `2-12`, `2-12:30:00`; UserError for others."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d\d?))?(?::(\d\d?))?", text.strip())
    if not found:
        raise UserError(f"--time {text}: give minutes, HH:MM:SS or DAYS-HH:MM:SS")
    days, *rest = found.groups()
    first, second, third = (int(value or 0) for value in rest)
    if days is not None:
        total = int(days) * 1440 + first * 60 + second + third / 60
    elif rest[1] is None:
        total = float(first)
    elif rest[2] is None:
        total = first + second / 60  # SLURM reads A:B as minutes:seconds
    else:
        total = first * 60 + second + third / 60
    if total <= 0:
        raise UserError(f"--time {text}: give more than zero")
    return total


def _partition(name: str, facts: dict[str, str], largest: tuple[int, float, int]) -> Partition:
    limit = facts.get("MaxTime", "UNLIMITED")
    nodes = facts.get("MaxNodes", "UNLIMITED")
    cpus, memory_gb, gpus = largest
    return Partition(
        name=name,
        nodes=int(facts.get("TotalNodes", "0")),
        default=facts.get("Default") == "YES",
        up=facts.get("State") == "UP",
        max_minutes=None if limit in ("UNLIMITED", "INFINITE") else minutes(limit),
        max_nodes=int(nodes) if nodes.isdigit() else None,
        cpus=cpus,
        memory_gb=memory_gb,
        gpus=gpus,
        preempt_mode=facts.get("PreemptMode", "OFF"),
        grace_s=int(facts.get("GraceTime", "0") or 0),
    )


def _largest_nodes() -> dict[str, tuple[int, float, int]]:
    """Cores, memory (GB) and GPUs of each partition's largest node, each on its own."""
    found: dict[str, tuple[int, float, int]] = {}
    for line in _answer(["sinfo", "--noheader", "--exact", "--format=%R|%c|%m|%G"]).splitlines():
        name, cpus, memory_mb, gres = line.split("|")
        now = (int(cpus.rstrip("+")), int(memory_mb.rstrip("+")) / 1024, _gpus(gres))
        before = found.get(name, (0, 0.0, 0))
        found[name] = (
            max(before[0], now[0]),
            max(before[1], now[1]),
            max(before[2], now[2]),
        )
    return found


def _gpus(gres: str) -> int:
    """GPUs in a GRES list such as `gpu:a100:4(S:0-1),shard:8`."""
    return sum(int(n) for n in re.findall(r"\bgpu(?::[\w.-]+)?:(\d+)", gres))


def _knows_restarts() -> bool:
    return "Restarts" in _run(["sacct", "--helpformat"]).stdout


def _answer(command: Sequence[str]) -> str:
    done = _run(command)
    if done.returncode:
        raise UserError(f"{command[0]}: {_first_line(done.stderr + done.stdout)}")
    return done.stdout


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    # The user's own defaults for these commands would hide jobs.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SACCT_"))}
    try:
        return subprocess.run(
            command, env=kept, capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed: no SLURM on this machine") from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{command[0]} did not answer within 60 s: the cluster's controller is overloaded "
            "or down; try later, or use --cluster inline"
        ) from None


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no answer"
