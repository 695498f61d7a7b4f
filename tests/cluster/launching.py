"""Running the project's commands against the development cluster, and watching what becomes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from jobs.launches import LaunchFolder

ROOT = Path(__file__).resolve().parents[2]
PROFILE = """
[test]
cluster_name = "menagerie-dev-*"
cpus_per_task = 1
mem_gb = 1
time = 30
signal_lead_s = 30
"""

T = TypeVar("T")


class Workplace:
    """A folder in which commands run, on a cluster."""

    def __init__(self, folder: Path, slurm_conf: Path, profile: str = PROFILE) -> None:
        self.folder = folder
        (folder / "clusters.toml").write_text(profile)
        self.environment = os.environ | {
            "SLURM_CONF": str(slurm_conf),
            "MENAGERIE_CLUSTERS": str(folder / "clusters.toml"),
            "OMP_NUM_THREADS": "1",
            "CI": "",
        }

    def run(
        self, verb: str, *flags: str, timeout_s: float = 240
    ) -> "subprocess.CompletedProcess[str]":
        """`python jobs/<verb>.py flags…`, as a person would."""
        return self.command(
            sys.executable, str(ROOT / "jobs" / f"{verb}.py"), *flags, timeout_s=timeout_s
        )

    def done(self, verb: str, *flags: str, timeout_s: float = 240) -> str:
        """The same, which must succeed; what it printed."""
        finished = self.run(verb, *flags, timeout_s=timeout_s)
        assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr + self.logs()
        return finished.stdout

    def command(self, *words: str, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """Any command in the folder."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def slurm(self, *words: str) -> str:
        """One of SLURM's commands, which must succeed; what it printed."""
        finished = self.command(*words)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.strip()

    def launches(self) -> list[LaunchFolder]:
        """Launches made here, the oldest first."""
        found = sorted((self.folder / "launches").glob("2*/launch.json"))
        return [LaunchFolder(path.parent) for path in found]

    def queue(self) -> list[str]:
        """Jobs that SLURM still has to run or to end."""
        return self.slurm("squeue", "--noheader", "--format=%i").split()

    def logs(self) -> str:
        """The ends of all logs, for a test that failed."""
        paths = sorted((self.folder / "launches").glob("2*/jobs/*_log.*"))
        return "".join(f"\n== {path.name}\n{path.read_text()[-1500:]}" for path in paths[-8:])

    def processes(self, job: str) -> list[int]:
        """Pids of a job's (or array task's) Python processes."""
        array, _, task = job.partition("_")
        wanted = {f"SLURM_ARRAY_JOB_ID={array}", f"SLURM_ARRAY_TASK_ID={task}"}
        return [
            pid
            for pid, environment in _environments()
            if (wanted if task else {f"SLURM_JOB_ID={job}"}) <= environment
            and "SLURM_PROCID" in {pair.split("=")[0] for pair in environment}
            and b"python -u -m submitit.core._submit" in _command(pid)
            and not _command(pid).startswith(b"srun")
        ]


def events(launch: LaunchFolder, kind: str) -> list[dict[str, Any]]:
    """Journal entries of one kind."""
    return [entry for entry in launch.entries() if entry["event"] == kind]


def until(ask: Callable[[], T], *, what: str, timeout_s: float = 300, every_s: float = 0.1) -> T:
    """Ask again and again until the answer is true."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(every_s)
    return answer


def _environments() -> list[tuple[int, set[str]]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            pairs = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        found.append((int(path.parent.name), set(pairs)))
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""
