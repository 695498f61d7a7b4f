"""Checks before anything is submitted: each trouble is one line, and nothing is queued."""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.config import config_to_dict
from core.errors import UserError
from jobs import scheduler
from jobs.cluster import Cluster
from jobs.launches import all_launches
from jobs.scheduler import Partition
from jobs.waiting import states_of

LEAST_FREE_GB = 1.0
"""Less free disk than this is refused whatever the work."""


def check_cluster(verb: str, cluster: Cluster, out: Path) -> None:
    """Hold what is asked for against the cluster's limits; UserError names the first misfit."""
    partition = _partition(cluster)
    cluster_at = f"partition {partition.name}"
    if not partition.up:
        raise UserError(f"{cluster_at} is not up: choose another --partition")
    if partition.max_minutes is not None and cluster.minutes > partition.max_minutes:
        raise UserError(
            f"--time of {_hours(cluster.minutes)} is more than the {_hours(partition.max_minutes)} "
            f"that {cluster_at} allows: ask for less (a job queues itself again when time is up)"
        )
    _at_most(
        "--nodes", cluster.nodes, min(partition.nodes, partition.max_nodes or 10**9), partition
    )
    _at_most("--mem-gb", cluster.mem_gb, partition.memory_gb, partition)
    _at_most("--gpus-per-node", cluster.gpus_per_node, partition.gpus, partition)
    cores = cluster.cpus_per_task * cluster.tasks_per_node
    _at_most("--cpus-per-task × processes on a node", cores, partition.cpus, partition)
    if cluster.signal_lead_s >= cluster.minutes * 60:
        raise UserError(
            f"--time of {_hours(cluster.minutes)} leaves nothing before the warning "
            f"{cluster.signal_lead_s} s ahead of its end: ask for more time"
        )
    require_disk(out, 0)
    if warning := preemption_words(partition, scheduler.cluster_config()):
        print(warning)


def check_after(jobs: Sequence[str]) -> None:
    """UserError for a job that cannot be waited for: SLURM starts, or drops, what waits for it."""
    states = states_of(jobs)
    for job in jobs:
        found = [s for name, s in states.items() if job in (name, name.split("_")[0])]
        if not any(name.split("_")[0] == job.split("_")[0] for name in states):
            raise UserError(
                f"--after {job}: SLURM knows no such job: give one that waits, runs or has "
                "succeeded, or leave it out"
            )
        bad = [s for s in found if s.state in scheduler.ENDED and s.state != "COMPLETED"]
        if bad:
            raise UserError(
                f"--after {job}: job {bad[0].id} has ended as {bad[0].state}, so this would never "
                "start: run that one again first, or leave it out"
            )


def preemption_words(partition: Partition, config: dict[str, str]) -> str:
    """What a preemption in this partition would do to the job; "" when none can happen."""
    if partition.preempt_mode in ("OFF", "") or config.get("PreemptType", "preempt/none").endswith(
        "none"
    ):
        return ""
    told = f"{partition.grace_s} s before the end" if partition.grace_s else "when it is too late"
    what = {
        "REQUEUE": "is queued again",
        "CANCEL": "is cancelled: run the same command again",
    }.get(partition.preempt_mode, f"is handled by {partition.preempt_mode}")
    lost = "" if partition.grace_s else "; work since the last checkpoint is repeated"
    return f"preemption: a job of {partition.name} is told {told} and {what}{lost}"


def require_disk(folder: Path, needed_bytes: float) -> None:
    """UserError when the disk under `folder` has less free than needed (and a reserve)."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise UserError(f"{there} is a file, and a folder is needed there: name another --out")
    free = shutil.disk_usage(there).free
    least = needed_bytes + LEAST_FREE_GB * 2**30
    if free < least:
        raise UserError(
            f"{there} has {free / 2**30:.1f} GiB free and {least / 2**30:.1f} GiB are needed: "
            "free some, or name another --out"
        )


@functools.cache
def max_array_size() -> int:
    """Tasks that one array may have."""
    return int(scheduler.cluster_config().get("MaxArraySize", "1001"))


def predicted(verb: str, config: Any, parts: int, cluster: Cluster) -> str:
    """How long an array will take, from how long the parts of its like took before."""
    pace = _seconds_per_part(verb, config_to_dict(config), cluster)
    if pace is None:
        return "forecast: none yet (the first launch of this kind tells the pace)"
    at_once = min(cluster.array_parallelism, cluster.tasks or parts, parts)
    hours = pace * parts / 3600
    wall = hours / at_once
    words = (
        f"forecast: {pace:.3g} s a part, {_hours(max(1, round(wall * 60)))} with {at_once} at once"
    )
    if cluster.gpus_per_node:
        words += f", {hours * cluster.gpus_per_node:.3g} GPU-hours"
    requeues = int(wall * 60 / cluster.minutes)
    return words + (f", {requeues} requeues a task" if requeues else "")


def _seconds_per_part(verb: str, config: dict[str, Any], cluster: Cluster) -> float | None:
    """Pace of the newest launch that did the same work with other seeds and counts."""
    same = {key: value for key, value in config.items() if key not in _FREE}
    for launch in all_launches():
        facts = launch.facts()
        there = {key: value for key, value in facts.get("config", {}).items() if key not in _FREE}
        gpus = facts.get("cluster", {}).get("gpus_per_node")
        if facts.get("verb") != verb or there != same or gpus != cluster.gpus_per_node:
            continue
        made = [entry for entry in launch.entries() if entry["event"] == "made"]
        if made:
            return sum(float(e["seconds"]) for e in made) / sum(int(e["parts"]) for e in made)
    return None


_FREE = ("seed", "per_class", "classes", "labels", "samples", "only", "name")
"""Fields that change which pictures are made, not how long one takes."""


def _partition(cluster: Cluster) -> Partition:
    known = scheduler.partitions()
    if cluster.partition is not None:
        if cluster.partition not in known:
            names = ", ".join(sorted(known))
            raise UserError(f"--partition {cluster.partition}: there is none; known are {names}")
        return known[cluster.partition]
    default = [partition for partition in known.values() if partition.default]
    if not default:
        names = ", ".join(sorted(known))
        raise UserError(f"the cluster has no default partition: give --partition, one of {names}")
    return default[0]


def _at_most(flag: str, wanted: float, limit: float, partition: Partition) -> None:
    if wanted > limit:
        raise UserError(
            f"{flag} is {wanted:g} and partition {partition.name} allows {limit:.4g}: ask for less "
            "or choose another --partition"
        )


def _hours(minutes: float) -> str:
    return f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:.4g} h"
