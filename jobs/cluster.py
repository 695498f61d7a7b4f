"""Where a job runs: the flags that every verb shares, the site's profile, and the choice made.

Nothing here changes what is computed. Flags win over the profile in `clusters.toml`, the profile
over the built-in defaults.
"""

import dataclasses
import fnmatch
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from core.errors import UserError
from jobs import scheduler

Kind = Literal["auto", "slurm", "local", "inline"]

PROFILES = Path(__file__).resolve().parents[1] / "slurm" / "clusters.toml"
"""The site's profiles; $MENAGERIE_CLUSTERS names another file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterFlags:
    """Where and how to run; changes nothing in the result."""

    cluster: Kind = "auto"
    """`slurm` submits; `local` runs one process per GPU on this machine; `inline` runs in this
    process; `auto` submits where a SLURM cluster answers, else inline."""
    profile: str | None = None
    """Profile of clusters.toml; default: the one with this cluster's name, if there is one."""
    partition: str | None = None
    """Partition to submit to."""
    account: str | None = None
    """Account that the time is charged to."""
    qos: str | None = None
    """Quality of service."""
    nodes: int | None = None
    """Nodes of a training; default 1."""
    gpus_per_node: int | None = None
    """GPUs on each node, and as many processes; default: none, one process on the CPU."""
    cpus_per_task: int | None = None
    """Cores for each process; default 4."""
    mem_gb: float | None = None
    """Memory on each node; default 16."""
    time: str | None = None
    """Time limit: minutes, HH:MM:SS or DAYS-HH:MM:SS; default 4 hours. Longer work queues itself
    again."""
    tasks: int | None = None
    """Array tasks that the parts are spread over; default: as many as parts, 16 at most."""
    array_parallelism: int | None = None
    """Array tasks that run at once; default 16 (local: 1)."""
    after: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Start when this job has succeeded; may be repeated."""
    max_requeues: int | None = None
    """Times that a job queues itself again, after time-outs and crashes; default 20."""
    wait: bool = False
    """Stay until the job has ended; the exit code is the job's."""

    def given(self) -> list[str]:
        """Flags that only SLURM can honour and that were given, as typed."""
        return [
            "--" + name.replace("_", "-")
            for name in ("partition", "account", "qos", "nodes", "time", "mem_gb", "after")
            if getattr(self, name) not in (None, (), 1)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """The choice, with every default filled in."""

    kind: Literal["slurm", "local", "inline"]
    why: str
    partition: str | None
    account: str | None
    qos: str | None
    nodes: int
    gpus_per_node: int
    cpus_per_task: int
    mem_gb: float
    minutes: float
    tasks: int | None
    array_parallelism: int
    after: tuple[str, ...]
    max_requeues: int
    wait: bool
    signal_lead_s: int
    """Seconds before the time limit at which the job is told to save and queue again."""
    setup: tuple[str, ...]
    """Shell lines before the job, such as module loads."""
    environment: dict[str, str]
    """Variables of the job."""

    @property
    def tasks_per_node(self) -> int:
        """One process per GPU, or one."""
        return max(1, self.gpus_per_node)

    @property
    def processes(self) -> int:
        """Processes of a training."""
        return self.nodes * self.tasks_per_node


def choose(flags: ClusterFlags) -> Cluster:
    """Decide where to run; UserError when what is asked for is not to be had."""
    kind, why, name = _kind(flags)
    profile = _profile(flags.profile, name)
    if kind != "slurm" and flags.after:
        raise UserError("--after waits for a SLURM job, and this runs without SLURM: leave it out")
    chosen = _filled(flags, kind, why, profile)
    _require_sane(chosen)
    return chosen


def _kind(flags: ClusterFlags) -> tuple[Literal["slurm", "local", "inline"], str, str | None]:
    """The kind, the reason in words, and the cluster's name if it is SLURM."""
    only_slurm = flags.given()
    if flags.cluster in ("inline", "local"):
        if only_slurm:
            raise UserError(
                f"{only_slurm[0]} needs SLURM, and --cluster {flags.cluster} runs without it: "
                "leave one of the two out"
            )
        return flags.cluster, "asked for", None
    wanted = flags.cluster == "slurm" or bool(only_slurm)
    asked = "--cluster slurm" if flags.cluster == "slurm" else (only_slurm or [""])[0]
    if "SLURM_JOB_ID" in os.environ and not wanted:
        return "inline", f"already inside SLURM job {os.environ['SLURM_JOB_ID']}", None
    if not scheduler.installed():
        if wanted:
            raise UserError(
                f"{asked}: there is no SLURM on this machine (sbatch, srun and scontrol are not on "
                "the PATH): run it on a login node, or leave the flag out to run here"
            )
        return "inline", "no SLURM on this machine", None
    try:
        up, words = scheduler.controller()
    except scheduler.NotConfiguredError as error:
        if wanted:
            raise UserError(
                f"{asked}: SLURM is installed but no cluster is configured ({error}): set "
                "SLURM_CONF, or leave the flag out to run here"
            ) from None
        return "inline", f"SLURM is installed but no cluster is configured: {error}", None
    if not up:
        raise UserError(
            f"the cluster is down ({words}): nothing submitted; try later, or use --cluster inline"
        )
    name = scheduler.cluster_config().get("ClusterName", "SLURM")
    why = "asked for" if wanted else f"cluster {name} answers"
    return "slurm", why, name


def _profile(asked: str | None, cluster_name: str | None) -> dict[str, Any]:
    """The site's defaults: the profile asked for, else the one of the cluster's name."""
    named = os.environ.get("MENAGERIE_CLUSTERS")
    path = Path(named or PROFILES)
    asked = asked or os.environ.get("MENAGERIE_PROFILE")
    if not path.exists():
        if named:
            raise UserError(
                f"MENAGERIE_CLUSTERS is {named}, which does not exist: mend or unset it"
            )
        if asked:
            raise UserError(f"--profile {asked}: {path} does not exist")
        return {}
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if asked and asked not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise UserError(f"{path} has no profile {asked!r}; known are: {known}")
    for name, profile in profiles.items():
        _check_profile(path, name, profile)
    if asked:
        return dict(profiles[asked])
    for profile in profiles.values():
        if cluster_name and fnmatch.fnmatchcase(cluster_name, profile.get("cluster_name", "")):
            return dict(profile)
    return {}


_PROFILE_TYPES: dict[str, type | tuple[type, ...]] = {
    "cluster_name": str,
    "partition": str,
    "account": str,
    "qos": str,
    "nodes": int,
    "gpus_per_node": int,
    "cpus_per_task": int,
    "mem_gb": (int, float),
    "time": (str, int),
    "tasks": int,
    "array_parallelism": int,
    "max_requeues": int,
    "signal_lead_s": int,
    "setup": list,
    "environment": dict,
}


def _check_profile(path: Path, name: str, profile: Any) -> None:
    if not isinstance(profile, dict):
        raise UserError(f"{path}: {name!r} is not a profile: write it as a [{name}] table")
    for key, value in profile.items():
        if key not in _PROFILE_TYPES:
            known = ", ".join(_PROFILE_TYPES)
            raise UserError(f"{path}: [{name}] has no setting {key!r}; known are {known}")
        if not isinstance(value, _PROFILE_TYPES[key]) or isinstance(value, bool):
            raise UserError(f"{path}: [{name}] {key} = {value!r} has the wrong type")
    for line in profile.get("setup", ()):
        if not isinstance(line, str):
            raise UserError(f"{path}: [{name}] setup holds {line!r}: give shell lines, as strings")
    for variable in profile.get("environment", {}):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            raise UserError(f"{path}: [{name}] environment: {variable!r} is no variable's name")


def _filled(
    flags: ClusterFlags,
    kind: Literal["slurm", "local", "inline"],
    why: str,
    profile: dict[str, Any],
) -> Cluster:
    def first(name: str, default: Any) -> Any:
        value = getattr(flags, name)
        return profile.get(name, default) if value is None else value

    return Cluster(
        kind=kind,
        why=why,
        partition=first("partition", None),
        account=first("account", None),
        qos=first("qos", None),
        nodes=first("nodes", 1),
        gpus_per_node=first("gpus_per_node", 0),
        cpus_per_task=first("cpus_per_task", 4),
        mem_gb=float(first("mem_gb", 16)),
        minutes=scheduler.minutes(str(first("time", 240))),
        tasks=first("tasks", None),
        array_parallelism=first("array_parallelism", 16 if kind == "slurm" else 1),
        after=flags.after,
        max_requeues=first("max_requeues", 20),
        wait=flags.wait or kind == "local",
        signal_lead_s=profile.get("signal_lead_s", 120),
        setup=tuple(str(line) for line in profile.get("setup", ())),
        environment={k: str(v) for k, v in profile.get("environment", {}).items()},
    )


def _require_sane(cluster: Cluster) -> None:
    for name, least in _LEAST.items():
        value = getattr(cluster, name)
        if value is not None and value < least:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} is {value}; it must be {least} or more")
    if cluster.mem_gb <= 0:
        raise UserError(f"--mem-gb is {cluster.mem_gb}; it must be above 0")
    for job in cluster.after:
        if not job.split("_")[0].isdigit():
            raise UserError(f"--after {job}: give a job's number, such as 1234")


_LEAST = {
    **dict.fromkeys(("nodes", "cpus_per_task", "tasks", "array_parallelism"), 1),
    **dict.fromkeys(("gpus_per_node", "max_requeues", "signal_lead_s"), 0),
}
