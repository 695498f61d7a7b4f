"""Gradient norms by layer during training: they are true, and change nothing."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.inspection.gradients import logged_norms
from core.rundir import RunFolder
from core.training.loop import train
from core.training.record import read_metrics
from tests.tiny import tiny_config, tiny_dataset


def test_norms_by_layer_make_up_the_whole_and_leave_the_weights_alone(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path / "data")
    settings = {"data": dataset.folder, "steps": 3, "log_every": 1, "snapshots": 0}
    runs = {}
    for name, logs in (("plain", False), ("logged", True)):
        config = tiny_config(**settings, log_gradients=logs)
        runs[name] = RunFolder(tmp_path / name)
        train(config, dataset, runs[name].root, cpu=True)
    plain, logged = (
        load_file(run.model / "unet/diffusion_pytorch_model.safetensors") for run in runs.values()
    )
    assert all(torch.equal(plain[name], logged[name]) for name in plain)
    rows = [row for row in read_metrics(runs["logged"].metrics) if "loss" in row]
    layers = [name for name in rows[0] if name.startswith("gradient_norm/")]
    assert "gradient_norm/down_blocks.0.resnets.0" in layers
    for row in rows:
        whole = math.sqrt(sum(row[name] ** 2 for name in layers))
        assert whole == pytest.approx(row["gradient_norm"], rel=1e-4)
    curves = logged_norms(rows)
    assert [step for step, _ in curves["down 1, residual 1"]] == [1, 2, 3]
    assert logged_norms(read_metrics(runs["plain"].metrics)) == {}
