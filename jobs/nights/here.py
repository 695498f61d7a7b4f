"""A night's stages on this machine, one after the other."""

import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence

from core.errors import UserError, machine_trouble
from jobs import waiting
from jobs.cluster import Cluster
from jobs.nights.attempt import Attempt, clear
from jobs.nights.stages import Stage, is_finished

CRASHED, USER_ERROR = 1, 2


def run_here(
    stages: Sequence[Stage],
    clusters: Mapping[str, Cluster],
    attempt: Attempt,
    *,
    changed: Sequence[Stage] = (),
) -> None:
    """Run what is not done, in this process or, with --cluster local, in others.

    A stage that fails stops those that need it; why is in the night's record.
    """
    clear(changed)
    failed: set[str] = set()
    for stage in stages:
        if is_finished(stage.verb_name, stage.argv):
            continue
        stopped = bool(failed & set(stage.needs))
        if stopped or not _run(stage, clusters[stage.name], attempt):
            failed.add(stage.name)


def _run(stage: Stage, cluster: Cluster, attempt: Attempt) -> bool:
    """Run one stage; whether it succeeded."""
    print(f"{stage.name}:", flush=True)
    attempt.note(stage.name, begun=time.time(), node=socket.gethostname())
    code, words = CRASHED, "it was killed"
    try:
        code, words = _outcome(stage, cluster, attempt)
    except KeyboardInterrupt:
        code, words = 130, "stopped from the keyboard"
        raise
    finally:
        attempt.note(stage.name, ended=time.time(), code=code, error=words)
    if code:
        print(f"{stage.name}: error: {words}", file=sys.stderr)
    return code == 0


def _outcome(stage: Stage, cluster: Cluster, attempt: Attempt) -> tuple[int, str]:
    """Exit code, and why it is not 0."""
    try:
        if cluster.kind == "local":
            return _run_locally(stage, cluster, attempt)
        if closing := stage.verb.run(stage.flags):
            print(closing)
    except UserError as error:
        return USER_ERROR, str(error)
    except OSError as error:
        if trouble := machine_trouble(error):
            return USER_ERROR, trouble
        traceback.print_exc()
        return CRASHED, f"{type(error).__name__}: {error}"
    except Exception as error:
        traceback.print_exc()
        return CRASHED, f"{type(error).__name__}: {error}"
    return 0, ""


def _run_locally(stage: Stage, cluster: Cluster, attempt: Attempt) -> tuple[int, str]:
    from jobs.launch import submit  # submitit, only where it is needed

    tags = {"night": str(attempt.night.root), "stage": stage.name}
    submitted = submit(stage.verb, stage.flags, stage.argv, cluster, tags=tags)
    if submitted.local is None or submitted.folder is None:
        return 0, ""
    (job,) = submitted.job_ids
    attempt.note(stage.name, jobs=[job], launch=str(submitted.folder.root))
    code = waiting.wait_here(submitted.folder, submitted.local)
    return code, waiting.cause_of(submitted.folder, job) if code else ""
