"""A forecast comes near what a run then takes, and leaves no trace."""

from pathlib import Path

import pytest
import torch

from core.data.pinned import PinnedDataset
from core.rundir import RunFolder
from core.training import forecast as module
from core.training.forecast import Forecast, forecast
from core.training.loop import train
from core.training.record import read_metrics
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.mark.slow
def test_a_forecast_comes_near_the_run(dataset: PinnedDataset, tmp_path: Path) -> None:
    config = tiny_config(data=dataset.folder, steps=40, log_every=40, batch_size=16,
                         evaluate_every=40, sample_every=40, checkpoint_every=40)  # fmt: skip
    before = sorted(dataset.folder.parent.rglob("*"))
    predicted = forecast(config, dataset, device=CPU, budget_s=3)
    assert sorted(dataset.folder.parent.rglob("*")) == before
    run = RunFolder(tmp_path / "run")
    train(config, dataset, run.root, cpu=True)
    speed = read_metrics(run.metrics)[0]["images_per_s"]
    assert speed / 2 < predicted.images_per_s < speed * 2
    assert predicted.hours == pytest.approx(40 * predicted.seconds_per_step / 3600)
    written = sum(file.stat().st_size for file in run.checkpoint(40).iterdir())
    assert predicted.checkpoint_bytes == pytest.approx(written, rel=0.1)
    kept = sum(f.stat().st_size for f in run.root.rglob("*") if f.suffix in (".safetensors", ".pt"))
    assert kept < predicted.disk_bytes


def seconds_like(monkeypatch: pytest.MonkeyPatch, *, fixed_s: float, each_s: float) -> list[int]:
    """Let a step of n pictures take fixed + n · each; the numbers of pictures that were timed."""
    timed: list[int] = []

    def seconds(*given: object, until: float) -> float:
        timed.append(int(str(given[4])))
        return fixed_s + each_s * timed[-1]

    monkeypatch.setattr(module, "_time_steps", seconds)
    return timed


@pytest.mark.parametrize(("budget_s", "timed"), [(60.0, [2, 32]), (10.5, [2, 6]), (0.5, [2])])
def test_what_does_not_fit_the_budget_is_timed_in_part(
    dataset: PinnedDataset,
    monkeypatch: pytest.MonkeyPatch,
    budget_s: float,
    timed: list[int],
) -> None:
    asked = seconds_like(monkeypatch, fixed_s=0.0, each_s=0.5)
    config = tiny_config(batch_size=32)
    predicted = forecast(config, dataset, device=CPU, budget_s=budget_s)
    assert asked == timed
    assert predicted.seconds_per_step == pytest.approx(16.0)
    assert predicted.images_per_s == pytest.approx(2.0)


def test_what_every_step_costs_is_not_multiplied(
    dataset: PinnedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds_like(monkeypatch, fixed_s=1.0, each_s=0.5)
    predicted = forecast(tiny_config(batch_size=32), dataset, device=CPU, budget_s=12.5)
    assert predicted.seconds_per_step == pytest.approx(17.0)


def test_processes_share_the_batch_and_steps_done_count(
    dataset: PinnedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds_like(monkeypatch, fixed_s=0.0, each_s=0.001)
    config = tiny_config(batch_size=10, steps=100)
    alone = forecast(config, dataset, device=CPU)
    four = forecast(config, dataset, device=CPU, processes=4, steps_done=90)
    assert alone.seconds_per_step == pytest.approx(0.01)
    assert four.seconds_per_step == pytest.approx(0.003)  # the largest share is 3
    assert four.hours == pytest.approx(10 * 0.003 / 3600)
    assert four.images_per_s > alone.images_per_s
    assert isinstance(four, Forecast)
    assert forecast(config, dataset, device=CPU, steps_done=100).hours == 0
