"""The whole road with real photographs."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from core.training.record import read_metrics
from tests.verbs import command, job


@pytest.mark.slow
@pytest.mark.realdata
def test_photographs_become_a_pack_though_training_is_killed(
    real_data: Path, tmp_path: Path
) -> None:
    job(
        *("prepare", "--source", real_data / "animals8", "--out", tmp_path / "data"),
        *("--classes", "cat", "fish", "--size-px", 32),
    )
    train = [
        *("--preset", "animals-64", "--data", tmp_path / "data", "--out", tmp_path / "run"),
        *("--steps", 24, "--batch-size", 8, "--evaluate-every", 8, "--checkpoint-every", 4),
        *("--warmup-steps", 4, "--log-every", 2),
    ]
    process = subprocess.Popen(
        command("train", *train), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("checkpoints/step_*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "going on from step" in job("train", *train)
    rows = read_metrics(tmp_path / "run/metrics.jsonl")
    held_out = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
    assert [row["step"] for row in rows if "held_out_loss" in row] == [8, 16, 24]
    assert held_out[-1] < held_out[0]
    job(
        *("sample", "--run", tmp_path / "run", "--out", tmp_path / "samples"),
        *("--per-class", 2, "--steps", 8),
    )
    job(
        *("export", "--samples", tmp_path / "samples", "--out", tmp_path / "pack"),
        *("--min-psnr-db", 18, "--min-ssim", 0, "--max-edge-px", 50, "--cut-out", "none"),
    )
    pack = json.loads((tmp_path / "pack/pack.json").read_text())
    assert pack["stickers"]
    assert "DO NOT REDISTRIBUTE" in (tmp_path / "pack/LICENSE").read_text().upper()
