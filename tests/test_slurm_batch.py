"""The batch script, run as a plain script: SLURM's lines are comments to the shell."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.rundir import RunFolder
from tests.tiny import tiny_dataset

SCRIPT = Path(__file__).resolve().parents[1] / "slurm/train.sbatch"


def batch(*flags: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHON": sys.executable}
    environment.pop("SLURM_SUBMIT_DIR", None)
    return subprocess.Popen(
        ["bash", str(SCRIPT), *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(("flags", "code"), [(["--dry-run"], 0), (["--steps", "0"], 2)])
def test_the_job_ends_with_the_trainings_exit_code(flags: list[str], code: int) -> None:
    process = batch(*flags)
    process.communicate(timeout=60)
    assert process.returncode == code


@pytest.mark.slow
def test_a_signal_to_the_script_saves_a_checkpoint(tmp_path: Path) -> None:
    tiny_dataset(tmp_path / "data")
    process = batch(
        *("--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--cpu"),
        *("--steps", "100000", "--batch-size", "4", "--block-channels", "32", "32"),
        *("--checkpoint-every", "100000", "--evaluate-every", "100000"),
    )
    metrics = RunFolder(tmp_path / "run").metrics
    deadline = time.monotonic() + 120
    while not metrics.exists() or not metrics.read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(RunFolder(tmp_path / "run").steps_saved()) == 1
