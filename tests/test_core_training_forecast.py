"""A forecast comes near what a run then takes, and leaves no trace."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.data.pinned import PinnedDataset
from core.rundir import RunFolder
from core.training import forecast as module
from core.training.forecast import Forecast, forecast
from core.training.loop import train
from core.training.record import read_metrics
from jobs.train import main
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another are slow out of measure where other work is going on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.mark.slow
def test_a_forecast_comes_near_the_run(dataset: PinnedDataset, tmp_path: Path) -> None:
    config = tiny_config(
        **{"data": dataset.folder, "steps": 40, "log_every": 40, "batch_size": 16},
        **{"evaluate_every": 40, "sample_every": 40, "checkpoint_every": 40},
    )
    ratios: list[float] = []
    while not any(0.5 < ratio < 2 for ratio in ratios):
        # Other work on the machine may slow one of the two, but hardly three times.
        assert len(ratios) < 3, ratios
        predicted = forecast(config, dataset, device=CPU, budget_s=3)
        run = RunFolder(tmp_path / str(len(ratios)))
        assert not run.root.exists()
        train(config, dataset, run.root, cpu=True)
        ratios.append(predicted.images_per_s / read_metrics(run.metrics)[0]["images_per_s"])
    assert predicted.hours == pytest.approx(40 * predicted.seconds_per_step / 3600)
    written = sum(file.stat().st_size for file in run.checkpoint(40).iterdir())
    assert predicted.checkpoint_bytes == pytest.approx(written, rel=0.1)
    kept = sum(f.stat().st_size for f in run.root.rglob("*") if f.suffix in (".safetensors", ".pt"))
    assert kept < predicted.disk_bytes


def test_a_forecast_writes_nothing(
    dataset: PinnedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(dataset.folder.parent.rglob("*"))
    forecast(tiny_config(data=dataset.folder), dataset, device=CPU, budget_s=0.1)
    assert sorted(dataset.folder.parent.rglob("*")) == before
    assert not list(tmp_path.iterdir())


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


def test_fp16_can_be_submitted_from_where_there_is_no_gpu(
    dataset: PinnedDataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--data", str(dataset.folder), "--out", str(tmp_path / "run"), "--precision", "fp16"]
    flags += ["--patch", "8", "--block-channels", "32", "--attention-levels", "--batch-size", "2"]
    cluster = ["--cluster", "local", "--gpus-per-node", "1", "--cpu", "--dry-run"]
    assert main([*flags, *cluster]) == 0
    assert "speed unknown (no GPU here to time a step on)" in capsys.readouterr().out


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
