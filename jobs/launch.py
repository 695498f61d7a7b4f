"""Submit a verb's work: to SLURM, or to this machine's processes. The only importer of submitit.

What is queued runs a copy of the code (`jobs.snapshot`), keeps what it writes of itself in a folder
of its own (`jobs.launches`), and is judged when it ends by `jobs.aftermath`.
"""

import contextlib
import dataclasses
import functools
import getpass
import io
import json
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit

from core.config import config_to_dict
from core.errors import UserError
from core.files import exclusive, write_bytes
from jobs import preflight, scheduler, waiting
from jobs.batch import batch_parameters
from jobs.cluster import Cluster
from jobs.launches import (
    LaunchFolder,
    launches_folder,
    launches_of,
    new_launch,
    private_folder,
    write_launch,
)
from jobs.plans import Plan, make_plan
from jobs.snapshot import Snapshot, take_snapshot
from jobs.verbs import Flags, Verb
from jobs.worker import Share, Task, run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submitted:
    """What a launch put into the queue."""

    folder: LaunchFolder | None
    """The launch, now or before; None when there was nothing to do."""
    job_ids: tuple[str, ...]
    local: "submitit.Job[None] | None" = None
    """The job on this machine, with --cluster local."""


def launch(verb: Verb[Any], flags: Flags, argv: Sequence[str], cluster: Cluster) -> int:
    """Check, submit, say what happens next; the exit code. With --dry-run: print the plan only."""
    submitted = submit(verb, flags, argv, cluster)
    if submitted.folder is None or not submitted.job_ids:
        return 0
    if submitted.local is not None:
        return waiting.wait_here(submitted.folder, submitted.local)
    if cluster.wait:
        try:
            return waiting.wait_for(submitted.folder, submitted.job_ids)
        except KeyboardInterrupt:
            ids = " ".join(submitted.job_ids)
            print(
                f"not waiting any more; job {ids} goes on "
                f"(to end it: python jobs/status.py --cancel {ids})",
                file=sys.stderr,
            )
            return 130
    print(
        "next: python jobs/status.py   "
        f"(its log: python jobs/status.py --log {submitted.job_ids[0]})"
    )
    return 0


def submit(
    verb: Verb[Any],
    flags: Flags,
    argv: Sequence[str],
    cluster: Cluster,
    *,
    after_success: Sequence[str] = (),
    after_end: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
) -> Submitted:
    """Submit, unless the work is done or queued already; UserError leaves nothing behind.

    `after_success`: jobs that must have succeeded before; `after_end`: jobs that must have ended,
    however; when those make the same, this goes on after them. What they all make is not there
    yet, so it is not checked. `tags` go into launch.json.
    """
    if verb.out is None:
        raise UserError(f"{verb.name} runs on this machine only: leave the cluster flags out")
    out = verb.out(flags).absolute()
    private_folder(launches_folder())
    with exclusive(launches_folder(), wait=True):  # two at once must not both submit
        return _submit_once(verb, flags, argv, cluster, out, after_success, after_end, tags or {})


def _submit_once(
    verb: Verb[Any],
    flags: Flags,
    argv: Sequence[str],
    cluster: Cluster,
    out: Path,
    after_success: Sequence[str],
    after_end: Sequence[str],
    tags: Mapping[str, str],
) -> Submitted:
    queued = queued_already(out)
    if queued is not None and not set(queued.job_ids) <= set(after_end):
        ids = ", ".join(queued.job_ids)
        if not tags and _settings_of(queued) != _as_stored(flags.config):
            raise UserError(
                f"{out} is in the queue as job {ids} with other settings: cancel that, or name "
                "another --out"
            )
        print(f"{out} is in the queue already as job {ids}: nothing submitted")
        return queued
    blind = bool(after_success or after_end)
    try:
        work = verb.parts(flags) if verb.parts is not None and not blind else None
    except UserError as error:
        if not cluster.after:
            raise
        print(f"not checked before job {', '.join(cluster.after)} has ended: {error}")
        blind, work = True, None
    plan = make_plan(verb, flags, cluster, work, blind=blind)
    if plan is None:
        if work is not None:
            work.begin()  # refuses a folder that holds something else
        print(f"{out} is finished already: nothing to do")
        return Submitted(folder=None, job_ids=())
    if cluster.kind == "slurm":
        preflight.check_after(cluster.after)
    cluster = dataclasses.replace(cluster, after=(*cluster.after, *after_success))
    if cluster.kind == "slurm":
        preflight.check_cluster(verb.name, cluster, out.parent if verb.makes_file else out)
    print(plan.words(cluster))
    for line in verb.check(flags, cluster) if verb.check and not blind else ():
        print(line)
    if plan.split and not blind:
        print(preflight.predicted(verb.name, flags.config, plan.missing, cluster))
    if flags.dry_run:
        print(_dry_script(verb, plan, cluster, argv))
        return Submitted(folder=None, job_ids=())
    if work is not None:
        work.begin()  # refuses what the jobs would refuse
    return _submit(verb, flags, argv, cluster, plan, out, after_end, tags)


def _settings_of(queued: Submitted) -> Any:
    return queued.folder.facts()["config"] if queued.folder is not None else None


def _as_stored(config: Any) -> Any:
    return json.loads(json.dumps(config_to_dict(config)))


def queued_already(out: Path) -> Submitted | None:
    """An earlier launch whose jobs still make `out`."""
    for folder in launches_of(out):
        ids = folder.job_ids() if folder.facts()["kind"] == "slurm" else []
        states = scheduler.job_states(ids) if ids and scheduler.installed() else {}
        # Another cluster, or a new one, gives the same numbers to other jobs.
        ours = [s for s in states.values() if f"/{folder.root.name}/jobs/" in s.script]
        alive = {s.id.split("_")[0] for s in ours if s.state not in scheduler.ENDED}
        if alive:
            return Submitted(folder=folder, job_ids=tuple(sorted(alive)))
    return None


def _submit(
    verb: Verb[Any],
    flags: Flags,
    argv: Sequence[str],
    cluster: Cluster,
    plan: Plan,
    out: Path,
    after_end: Sequence[str],
    tags: Mapping[str, str],
) -> Submitted:
    code = _snapshot(launches_folder() / "code")
    folder = new_launch(verb.name, out)
    if code.dirty:
        write_bytes(folder.root / "dirty.patch", code.dirty.encode())
    facts = _facts(verb, flags, argv, cluster, code, out, plan) | {"tags": dict(tags)}
    write_launch(folder, facts, [])
    tasks = [
        Task(verb=verb.name, argv=tuple(argv), share=share, launch=str(folder.root))
        for share in plan.tasks
    ]
    if cluster.kind == "local":
        return _run_locally(folder, facts, cluster, code, tasks)
    jobs: list[dict[str, Any]] = []
    try:
        _submit_all(
            folder, facts, cluster, code, tasks, jobs, split=plan.split, after_end=after_end
        )
    finally:
        if not jobs:
            shutil.rmtree(folder.root)
    ids = tuple(str(job["id"]) for job in jobs)
    print(f"submitted: job {', '.join(ids)} ({folder.root})")
    return Submitted(folder=folder, job_ids=ids)


@functools.cache
def _snapshot(root: Path) -> Snapshot:
    """One for all that this process submits: the stages of a chain run the same code."""
    return take_snapshot(root)


def _submit_all(
    folder: LaunchFolder,
    facts: dict[str, Any],
    cluster: Cluster,
    code: Snapshot,
    tasks: Sequence[Task],
    jobs: list[dict[str, Any]],
    *,
    split: bool,
    after_end: Sequence[str],
) -> None:
    """Submit the tasks, in arrays that the cluster admits; `jobs` grows with each."""
    for chunk in _chunks(tasks, preflight.max_array_size()):
        # One array at a time keeps --array-parallelism true for all of them together.
        before = [str(jobs[-1]["id"])] if jobs else list(after_end)
        executor = _slurm_executor(folder, facts["verb"], cluster, code, then=before)
        submitted = _submit_chunk(executor, chunk, split=split)
        job_id, array, _ = submitted[0].job_id.partition("_")  # submitit: one task is no array
        jobs.append({"id": job_id, "tasks": len(chunk) if array else 0})
        write_launch(folder, facts, jobs)


def _submit_chunk(
    executor: submitit.Executor, tasks: Sequence[Task], *, split: bool
) -> list[submitit.Job[None]]:
    """Submit one job, or tasks as one array."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the exception says it too
            if split:
                return list(executor.map_array(run, tasks))
            return [executor.submit(run, tasks[0])]
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"sbatch refused: {_sbatch_words(str(error))}") from None


def _sbatch_words(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if "sbatch: error:" in line]
    return " ".join(line.split("sbatch: error:", 1)[1].strip() for line in lines) or message[-300:]


def _chunks(tasks: Sequence[Task], size: int) -> Iterable[Sequence[Task]]:
    return (tasks[k : k + size] for k in range(0, len(tasks), size))


def _slurm_executor(
    folder: LaunchFolder,
    name: str,
    cluster: Cluster,
    code: Snapshot | None,
    *,
    then: Sequence[str] = (),
) -> submitit.SlurmExecutor:
    executor = submitit.SlurmExecutor(folder=folder.jobs)
    executor.update_parameters(**batch_parameters(folder, name, cluster, code, then))
    return executor


def _dry_script(verb: Verb[Any], plan: Plan, cluster: Cluster, argv: Sequence[str]) -> str:
    """What would be submitted."""
    if cluster.kind == "local":
        return "would run here: " + shlex.join([f"jobs/{verb.name}.py", *argv])
    folder = LaunchFolder(launches_folder() / f"<time>-{verb.name}")
    with contextlib.redirect_stderr(io.StringIO()):
        executor = submitit.SlurmExecutor(folder=folder.jobs)
        executor.update_parameters(**batch_parameters(folder, verb.name, cluster, None, ()))
    if plan.split:
        executor.parameters["map_count"] = min(len(plan.tasks), preflight.max_array_size())
    script: str = executor._make_submission_file_text(executor._submitit_command_str, "")
    return script


def _facts(
    verb: Verb[Any],
    flags: Flags,
    argv: Sequence[str],
    cluster: Cluster,
    code: Snapshot,
    out: Path,
    plan: Plan,
) -> dict[str, Any]:
    return {
        "verb": verb.name,
        "argv": list(argv),
        "out": str(out),
        "kind": cluster.kind,
        "max_requeues": cluster.max_requeues,
        "parts": plan.count if plan.split else None,
        "config": config_to_dict(flags.config),
        "cluster": {k: list(v) if isinstance(v, tuple) else v for k, v in vars(cluster).items()},
        "code": {"digest": code.digest, "commit": code.commit, "dirty": bool(code.dirty),
                 "folder": str(code.folder)},
        "time": time.time(),
        "user": getpass.getuser(),
        "host": socket.gethostname(),
        "cwd": str(Path.cwd()),
    }  # fmt: skip


def _run_locally(
    folder: LaunchFolder,
    facts: dict[str, Any],
    cluster: Cluster,
    code: Snapshot,
    tasks: Sequence[Task],
) -> Submitted:
    """Processes on this machine, one per GPU (training) or --array-parallelism (arrays)."""
    parts = tuple(part for task in tasks for part in task.share.parts or ())
    processes = min(cluster.array_parallelism, len(tasks)) if parts else cluster.tasks_per_node
    task = dataclasses.replace(tasks[0], share=Share(parts=parts or None))
    executor = submitit.LocalExecutor(folder=folder.jobs)
    executor.update_parameters(
        timeout_min=365 * 24 * 60,
        tasks_per_node=processes,
        gpus_per_node=cluster.gpus_per_node,
    )
    with waiting.interrupts_ignored(), _environment(_local_environment(folder, cluster, code)):
        job = executor.submit(run, task)
    write_launch(folder, facts, [{"id": job.job_id, "tasks": 0}])
    print(f"running here in {processes} processes ({folder.root})")
    return Submitted(folder=folder, job_ids=(job.job_id,), local=job)


def _local_environment(folder: LaunchFolder, cluster: Cluster, code: Snapshot) -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return {
        **cluster.environment,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(code.folder), path))),
        "PYTHONSAFEPATH": "1",
        "MENAGERIE_LAUNCH": str(folder.root),
        "OMP_NUM_THREADS": str(cluster.cpus_per_task),
    }


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
