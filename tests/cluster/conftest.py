"""A real SLURM for the tests of this folder: the development cluster, started once."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import missing

DEVCLUSTER = Path(__file__).resolve().parents[2] / "slurm" / "devcluster.py"


class Cluster:
    """A development cluster in a folder, and what tests ask of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def ports(self) -> dict[str, int]:
        """Of slurmctld, slurmdbd and each node."""
        ports: dict[str, int] = json.loads((self.folder / "devcluster.json").read_text())
        return ports

    def devcluster(self, verb: str, *flags: str) -> "subprocess.CompletedProcess[str]":
        """`python slurm/devcluster.py VERB --folder … flags…`, whatever comes of it."""
        command = [sys.executable, str(DEVCLUSTER), verb, "--folder", str(self.folder), *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def attempt(self, *command: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """A SLURM command on this cluster, whatever comes of it."""
        environment = os.environ | {"SLURM_CONF": str(self.slurm_conf)}
        return subprocess.run(
            command, env=environment, input=text, capture_output=True, text=True, timeout=60
        )

    def run(self, *command: str, text: str = "") -> str:
        """A SLURM command, which must succeed; what it prints."""
        done = self.attempt(*command, text=text)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(self, *flags: str, script: str) -> str:
        """Put a shell script into the queue; the job's id."""
        quiet = ("--parsable", "--output=/dev/null", "--mem=50")
        return self.run("sbatch", *quiet, *flags, text=f"#!/bin/bash\n{script}\n")

    def states(self, job: str) -> set[str]:
        """What the books say of a job, or of all tasks of an array."""
        lines = self.run("sacct", "-nX", "-P", "-o", "state", "-j", job).splitlines()
        return {line.split()[0] for line in lines}

    def wait_for(self, job: str, state: str, *, seconds: float = 60) -> None:
        """Wait until a job, or every task of an array, is in this state."""
        deadline = time.monotonic() + seconds
        while (states := self.states(job)) != {state}:
            if time.monotonic() > deadline:
                shown = self.attempt("scontrol", "show", "job", job).stdout
                pytest.fail(f"{job} is {states}, not {state}, after {seconds:.0f} s\n{shown}")
            time.sleep(0.1)


def short_folder() -> Path:
    """A new empty folder with a short name: unix sockets allow 107 characters in all."""
    return Path(tempfile.mkdtemp(prefix="dc-", dir="/tmp"))


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """A cluster that runs, as $SLURM_CONF says; without SLURM the test skips — or, in CI, fails."""
    if not shutil.which("slurmctld", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        missing("no SLURM: python slurm/devcluster.py install")
    cluster = Cluster(short_folder())
    try:
        started = cluster.devcluster("start")
        assert started.returncode == 0, started.stderr
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(cluster.slurm_conf))
            yield cluster
    finally:
        cluster.devcluster("stop")
