"""The batch script's resources and lines, as submitit's executor takes them."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.cluster import Cluster
from jobs.launches import LaunchFolder
from jobs.snapshot import Snapshot


def batch_parameters(
    folder: LaunchFolder,
    name: str,
    cluster: Cluster,
    code: Snapshot | None,
    then: Sequence[str],
) -> dict[str, Any]:
    """Parameters of `submitit.SlurmExecutor`; `then`: jobs that must have ended before.

    `code` is None for a script that is only shown.
    """
    extra: dict[str, Any] = {"requeue": True, "kill-on-invalid-dep": "yes"}
    conditions = [f"afterok:{':'.join(cluster.after)}"] if cluster.after else []
    conditions += [f"afterany:{':'.join(then)}"] if then else []
    given = {
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "gpus_per_node": cluster.gpus_per_node or None,
        "dependency": ",".join(conditions) or None,
    }
    return {
        "job_name": f"menagerie-{name}-{folder.root.name.split(f'-{name}-', 1)[-1]}",
        "time": max(1, round(cluster.minutes)),
        "nodes": cluster.nodes,
        "ntasks_per_node": cluster.tasks_per_node,
        "cpus_per_task": cluster.cpus_per_task,
        "mem": f"{round(cluster.mem_gb * 1024)}M",
        "signal_delay_s": cluster.signal_lead_s,
        "array_parallelism": cluster.array_parallelism,
        "wckey": None,
        "setup": _setup(folder, cluster, code),
        "teardown": [
            "code=$?",
            f"{shlex.quote(sys.executable)} -m jobs.aftermath --code $code",
            "exit $?",
        ],
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={cluster.cpus_per_task}"],
        "additional_parameters": extra,
        **{key: value for key, value in given.items() if value is not None},
    }


def _setup(folder: LaunchFolder, cluster: Cluster, code: Snapshot | None) -> list[str]:
    """Shell lines before the job: the site's, then ours, which must hold."""
    snapshot = code.folder if code is not None else Path("<snapshot of the code>")
    gone = f"error: the copy of the code, {snapshot}, is gone: submit this again"
    return [
        *(f"export {name}={shlex.quote(value)}" for name, value in cluster.environment.items()),
        *(_must_succeed(line) for line in cluster.setup),
        # Without it the working tree, or nothing, would be imported.
        f"[ -d {shlex.quote(str(snapshot / 'jobs'))} ] ||"
        f" {{ echo {shlex.quote(gone)} >&2; exit 2; }}",
        f"export PYTHONPATH={shlex.quote(str(snapshot))}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export PYTHONSAFEPATH=1  # the folder of submission must not hide the snapshot",
        f"export MENAGERIE_LAUNCH={shlex.quote(str(folder.root))}",
        f"export OMP_NUM_THREADS={cluster.cpus_per_task}",
        "trap : TERM USR2  # the processes decide how to end; this shell stays to judge it",
    ]


def _must_succeed(line: str) -> str:
    """A site's line, after whose failure nothing runs: better than a job without its modules."""
    return f"{line} || {{ echo {shlex.quote(f'the set-up line failed: {line}')} >&2; exit 2; }}"
