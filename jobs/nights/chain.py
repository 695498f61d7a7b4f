"""A night's stages in SLURM's queue, each after those that it needs."""

import contextlib
import dataclasses
import io
import os
import time
from collections.abc import Mapping, Sequence

from core.errors import UserError
from jobs import preflight, scheduler, waiting
from jobs.cluster import Cluster
from jobs.launch import submit
from jobs.nights.attempt import Attempt, clear
from jobs.nights.stages import Stage
from jobs.plans import DEFAULT_TASKS

_ENDING_S = 60.0
"""How long jobs that are being cancelled are waited for."""
_NEVER = "DependencyNeverSatisfied"


def submit_chain(
    stages: Sequence[Stage],
    clusters: Mapping[str, Cluster],
    attempt: Attempt,
    *,
    parts: int,
    changed: Sequence[Stage] = (),
) -> list[str]:
    """Queue what is neither done nor queued; all jobs of the night that have not ended.

    `parts`: how many parts the arrays will have; `changed`: stages with other settings than before.
    """
    leave_outer_job()
    with contextlib.redirect_stdout(io.StringIO()):  # what it warns of is said for each stage
        for stage in stages:  # all of them before the first is queued
            preflight.check_cluster(stage.verb_name, clusters[stage.name], attempt.night.root)
    chain = _Chain(stages, clusters, attempt, parts)
    chain.stop(changed)
    clear(changed)
    try:
        for stage in stages[:-1]:
            chain.queue(stage)
        chain.queue_last(stages[-1])
    except BaseException:
        chain.undo()
        raise
    return [job for stage in stages for job in chain.jobs[stage.name]]


def leave_outer_job() -> None:
    """Forget the job that this runs in (scrontab's, say): its limits are not the night's."""
    for name in sorted(os.environ):
        if name.startswith("SLURM_") and name != "SLURM_CONF":
            del os.environ[name]


class _Chain:
    """What is in the queue of one night."""

    def __init__(
        self,
        stages: Sequence[Stage],
        clusters: Mapping[str, Cluster],
        attempt: Attempt,
        parts: int,
    ) -> None:
        self._clusters, self._attempt, self._parts = clusters, attempt, parts
        self._known = {stage.name: attempt.earlier_jobs(stage.name) for stage in stages}
        self._states = _settled([job for jobs in self._known.values() for job in jobs])
        self.jobs: dict[str, list[str]] = {}
        """Jobs of each stage that have not ended."""
        self.fresh: list[str] = []
        """Stages that were queued just now."""

    def stop(self, stages: Sequence[Stage]) -> None:
        """Cancel what is queued of these stages."""
        if jobs := [job for stage in stages for job in self._alive(stage)]:
            scheduler.cancel(jobs)
            self._states = {**self._states, **_settled(jobs)}

    def queue(self, stage: Stage) -> None:
        """Queue one stage, unless it is done or queued."""
        if any(need in self.fresh for need in stage.needs):
            self.stop([stage])  # it waits for jobs that are no more
        there = self._alive(stage)
        if there and not any(map(self._fails, there)):
            print(f"{stage.name}: in the queue already as job {', '.join(there)}")
            self.jobs[stage.name] = there
            return
        needed = [job for need in stage.needs for job in self.jobs[need]]
        self._submit(stage, after_success=needed, after_end=there)

    def queue_last(self, stage: Stage) -> None:
        """Queue the stage that runs when all others have ended, however."""
        if self.fresh:
            self.stop([stage])
        if there := self._alive(stage):
            self.jobs[stage.name] = there
            return
        others = [job for jobs in self.jobs.values() for job in jobs]
        self._submit(stage, after_success=(), after_end=others)

    def undo(self) -> None:
        """Cancel what was queued just now."""
        if jobs := [job for name in self.fresh for job in self.jobs[name]]:
            scheduler.cancel(jobs)

    def _alive(self, stage: Stage) -> list[str]:
        return [job for job in self._known[stage.name] if self._lives(job)]

    def _submit(
        self, stage: Stage, *, after_success: Sequence[str], after_end: Sequence[str]
    ) -> None:
        cluster = self._clusters[stage.name]
        if after_success or after_end:
            tasks = min(cluster.tasks or DEFAULT_TASKS, self._parts)
            cluster = dataclasses.replace(cluster, tasks=tasks)
        night = self._attempt.night
        print(f"{stage.name}:")
        submitted = submit(
            stage.verb,
            stage.flags,
            stage_argv(stage, cluster),
            cluster,
            after_success=after_success,
            after_end=after_end,
            tags={"night": str(night.root), "stage": stage.name},
        )
        self.jobs[stage.name] = list(submitted.job_ids)
        if submitted.job_ids:
            self.fresh.append(stage.name)
            folder = str(submitted.folder.root) if submitted.folder else None
            self._attempt.note(stage.name, jobs=self.jobs[stage.name], launch=folder)

    def _lives(self, job: str) -> bool:
        return any(state.state not in scheduler.ENDED for state in _of(job, self._states))

    def _fails(self, job: str) -> bool:
        """Whether some task of it has failed already, so that nothing after it can start."""
        return any(
            state.state in scheduler.ENDED and state.state != "COMPLETED"
            for state in _of(job, self._states)
        )


def stage_argv(stage: Stage, cluster: Cluster) -> tuple[str, ...]:
    """The stage's command line where it runs: an export takes the cores that the job has."""
    if stage.verb_name == "export" and cluster.kind == "slurm":
        return (*stage.argv, f"--workers={cluster.cpus_per_task}")
    return stage.argv


def wait_for(jobs: Sequence[str]) -> None:
    """Return when all jobs have ended."""
    while any(s.state not in scheduler.ENDED for s in waiting.states_of(jobs).values()):
        time.sleep(1)


def _of(job: str, states: Mapping[str, scheduler.JobState]) -> list[scheduler.JobState]:
    return [state for name, state in states.items() if name.split("_")[0] == job]


def _settled(jobs: Sequence[str]) -> dict[str, scheduler.JobState]:
    """States of jobs, once those that are ending have ended."""
    begun, told = time.monotonic(), False
    while True:
        states = scheduler.job_states(jobs)
        waiting_ = [state for state in states.values() if state.state == "PENDING"]
        never = sorted({s.id.split("_")[0] for s in waiting_ if s.reason == _NEVER})
        if never:
            scheduler.cancel(never)
        ending = sorted(s.id for s in states.values() if s.state == "COMPLETING")
        if not ending and not never:
            return states
        if time.monotonic() - begun > _ENDING_S:
            raise UserError(f"job {', '.join(ending or never)} is still ending: try again soon")
        if not told:
            print(f"waiting for job {', '.join(ending or never)} to end", flush=True)
            told = True
        time.sleep(0.5)
