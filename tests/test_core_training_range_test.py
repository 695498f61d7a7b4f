"""--find-lr suggests a rate that trains; far above it training fails."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.data.pinned import PinnedDataset
from core.errors import UserError
from core.rundir import RunFolder
from core.training.processes import Processes
from core.training.range_test import RangeTest, range_test, rate_flags, smoothed
from core.training.step import Stepper, new_state
from jobs.train import main
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def last_loss(dataset: PinnedDataset, rate: float) -> float:
    """Mean loss of the last of 40 steps."""
    config = tiny_config(optimizer="adamw", learning_rate=rate, decay="constant", steps=40)
    stepper = Stepper(config, dataset, new_state(config, dataset, CPU), Processes.alone(CPU))
    losses = [float(stepper.step()[0]) for _ in range(40)]
    return float(np.mean(losses[-8:]))


@pytest.mark.slow
def test_the_suggestion_trains_and_thirty_times_it_does_not(dataset: PinnedDataset) -> None:
    config = tiny_config(optimizer="adamw", learning_rate=1e-2)
    found = range_test(config, dataset, device=CPU, steps=60)
    rate = found.suggestion * config.learning_rate
    start = found.losses[0]
    assert last_loss(dataset, rate) < 0.7 * start
    assert not last_loss(dataset, 30 * rate) < 2 * last_loss(dataset, rate)
    assert last_loss(dataset, rate) < last_loss(dataset, rate / 30)


def test_the_command_writes_a_plot_and_nothing_else(
    dataset: PinnedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    flags = "--patch 8 --block-channels 32 --attention-levels --batch-size 2 --find-lr-s 1"
    given = ["--data", str(dataset.folder), "--out", str(run.root), "--cluster", "inline"]
    assert main([*given, *flags.split(), "--cpu", "--find-lr"]) == 0
    assert sorted(path.name for path in run.root.iterdir()) == ["find_lr.json", "find_lr.png"]
    written = json.loads(run.rates.read_text())
    assert written["suggestion"] in capsys.readouterr().out
    assert "--muon-rate" in written["suggestion"]
    with Image.open(run.rates.with_suffix(".png")) as plot:
        assert plot.width == 1200


def test_smoothing_does_not_move_the_least_loss() -> None:
    factors = list(np.logspace(-3, 2, 101))
    losses = [1 + (np.log10(factor) - 0.5) ** 2 for factor in factors]
    means = smoothed(factors, losses)
    assert factors[int(np.argmin(means))] == pytest.approx(10**0.5)
    found = RangeTest(factors=tuple(factors), losses=tuple(losses), smoothed=tuple(means))
    assert found.suggestion == pytest.approx(10**0.5 / 2)
    config = tiny_config(learning_rate=1e-3, muon_rate=0.02, optimizer="muon")
    assert rate_flags(found, config) == "--learning-rate 0.0016 --muon-rate 0.032"


def test_a_learned_weighting_is_swept_with_edms(dataset: PinnedDataset) -> None:
    """Its own loss may be 0 or less."""
    config = tiny_config(patch=8, block_channels=(32,), attention_levels=(), batch_size=2)
    found, learned = (
        range_test(dataclasses.replace(config, weighting=kind), dataset, device=CPU, steps=20)
        for kind in ("edm", "learned")
    )
    assert learned == found


def test_what_cannot_be_swept_is_said(dataset: PinnedDataset, tmp_path: Path) -> None:
    prodigy = tiny_config(optimizer="prodigy", learning_rate=1.0)
    with pytest.raises(UserError, match="prodigy finds its rate itself"):
        range_test(prodigy, dataset, device=CPU)
    wild = dataclasses.replace(tiny_config(optimizer="adamw"), learning_rate=1e30, clip_norm=1e30)
    with pytest.raises(UserError, match="give a lower --learning-rate"):
        range_test(wild, dataset, device=CPU, steps=20)
