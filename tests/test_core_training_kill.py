"""Killed and resumed, every objective with every optimiser ends as if undisturbed, to the bit."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from core.data.pinned import PinnedDataset, open_pinned
from core.diffusion.kinds import Prediction
from core.rundir import RunFolder
from core.training.config import Optimizer, TrainConfig
from core.training.looks import Looks
from core.training.loop import train
from core.training.memory import TrainingPictures
from tests.ranks import CONTEXT
from tests.tiny import tiny_config, tiny_dataset

KILLED_AT = 3
"""The step (from 0) in whose middle it is killed; the last checkpoint is of step 2."""
RECIPES: dict[Prediction, dict[str, object]] = {
    "noise": {"noise_schedule": "linear", "weighting": "min-snr"},
    "clean": {"weighting": "learned", "augment": 0.5},
    "velocity": {"noise_schedule": "cosine", "score_weight": 1.0},
    "flow": {"noise_schedule": "flow", "weighting": "uniform", "decay": "late"},
    "edm": {"dropout": 0.2, "snapshots": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    tiny_dataset(folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def smallest(data: Path, optimizer: Optimizer, prediction: Prediction) -> TrainConfig:
    values: dict[str, object] = {"data": data, "steps": 5, "dropout": 0.0, "patch": 8}
    values |= {"block_channels": (32, 32), "attention_levels": (), "prediction": prediction}
    if optimizer == "prodigy":
        values["learning_rate"] = 1.0
    return tiny_config(optimizer=optimizer, **values | RECIPES[prediction])


def train_steps_only(config: TrainConfig, run: Path, *, killed_at: int | None = None) -> None:
    """Train, without samples and model; `killed_at` a step, this process is gone."""
    torch.set_num_threads(1)
    assert config.data
    dataset: PinnedDataset = open_pinned(config.data)
    dataset = dataclasses.replace(dataset, scores=np.linspace(0, 1, len(dataset.labels)))
    real_batch = TrainingPictures.batch

    def batch(self: TrainingPictures, step: int, **rest: Any) -> Any:
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real_batch(self, step, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingPictures, "batch", batch)
        patch.setattr(Looks, "look", lambda *_: False)
        patch.setattr(Looks, "save_model", lambda *_: None)
        train(config, dataset, run, cpu=True)


def last_state(run: RunFolder) -> dict[str, Any]:
    """The bytes of the last checkpoint's files, and of the snapshots."""
    files = [*run.checkpoint(5).iterdir(), *run.averages.iterdir()]
    return {path.name: path.read_bytes() for path in sorted(files)}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_killed_and_resumed(data: Path, tmp_path: Path, optimizer: Optimizer) -> None:
    assert set(RECIPES) == set(get_args(Prediction))
    killed = {}
    for prediction in RECIPES:
        config, run = smallest(data, optimizer, prediction), tmp_path / f"{prediction}-killed"
        killed[prediction] = CONTEXT.Process(
            target=train_steps_only, args=(config, run), kwargs={"killed_at": KILLED_AT}
        )
        killed[prediction].start()
    for prediction, process in killed.items():
        config = smallest(data, optimizer, prediction)
        whole = RunFolder(tmp_path / f"{prediction}-whole")
        train_steps_only(config, whole.root)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        resumed = RunFolder(tmp_path / f"{prediction}-killed")
        assert resumed.steps_saved() == [2]
        train_steps_only(config, resumed.root)
        expected = last_state(whole)
        assert len(expected) >= 5
        assert last_state(resumed) == expected, prediction
