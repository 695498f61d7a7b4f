"""How a verb's work is split over a job's processes or an array's tasks."""

import dataclasses
from typing import Any

from core.errors import UserError
from core.parts import Parts
from jobs.cluster import Cluster
from jobs.verbs import Flags, Verb
from jobs.worker import Share, share_of

DEFAULT_TASKS = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How the work is split."""

    verb: str
    tasks: list[Share]
    """What each array task makes."""
    split: bool
    """Whether it is an array."""
    count: int | None
    """Parts in all; None when they are not known yet."""

    @property
    def missing(self) -> int:
        """Parts that are to be made, where they are known."""
        return sum(len(share.parts or ()) for share in self.tasks)

    def words(self, cluster: Cluster) -> str:
        """One line for people."""
        per = f"{cluster.cpus_per_task} cores, {cluster.mem_gb:g} GB"
        if cluster.gpus_per_node:
            per += f", {cluster.gpus_per_node} GPUs a node"
        where = f"partition {cluster.partition}" if cluster.partition else "the default partition"
        limit = f"{cluster.minutes:g} min at a time"
        if cluster.minutes >= 120:
            limit = f"{cluster.minutes / 60:.3g} h at a time"
        if not self.split:
            what = f"1 job of {cluster.nodes} × {cluster.tasks_per_node} processes"
        else:
            parts = "the parts"
            if self.count is not None:
                parts = f"{self.missing} of {self.count} parts"
            what = f"{parts} in {len(self.tasks)} tasks"
            what += f", {min(cluster.array_parallelism, len(self.tasks))} at once"
        if cluster.kind == "local":
            return f"plan: {what}, on this machine"
        return f"plan: {what}, on {where}, {per}, {limit}"


def make_plan(
    verb: Verb[Any], flags: Flags, cluster: Cluster, work: Parts | None, *, blind: bool
) -> Plan | None:
    """What is to be done; None when nothing is. `blind`: the inputs are not there yet."""
    if verb.parts is None:
        if verb.finished is not None and not blind and verb.finished(flags):
            return None
        if cluster.processes > 1 and not verb.many_processes:
            raise UserError(
                f"{verb.name} is one process: leave --nodes and --gpus-per-node at 1 or less"
            )
        return Plan(verb=verb.name, tasks=[Share()], split=False, count=1)
    if cluster.nodes > 1 or cluster.gpus_per_node > 1:
        raise UserError(
            f"{verb.name} is an array of one-process tasks: leave --nodes and --gpus-per-node at "
            "1 and spread it with --tasks"
        )
    if work is None:
        count = cluster.tasks or DEFAULT_TASKS
        shares = [Share(number=k, of=count) for k in range(count)]
        return Plan(verb=verb.name, tasks=shares, split=True, count=None)
    if work.finished():
        return None
    missing = work.missing() or [0]  # all parts are there: one task finishes the whole
    tasks = min(cluster.tasks or DEFAULT_TASKS, len(missing))
    shares = [Share(parts=share_of(missing, k, tasks)) for k in range(tasks)]
    return Plan(verb=verb.name, tasks=shares, split=True, count=work.count)
