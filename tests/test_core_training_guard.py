"""A training that diverges goes back to its last good checkpoint, and on with half the rate."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.data.pinned import PinnedDataset
from core.errors import UserError
from core.rundir import RunFolder
from core.training import guard
from core.training.guard import halvings_of, trouble_with
from core.training.loop import train
from core.training.memory import TrainingPictures
from core.training.record import read_metrics
from tests.ranks import train_in
from tests.tiny import tiny_config, tiny_dataset

WEIGHTS = "model/unet/diffusion_pytorch_model.safetensors"
CLOCK = ("images_per_s", "memory_gib")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums round differently on another number of threads, and processes here have one each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def poison(patch: pytest.MonkeyPatch, *, when: Callable[[int, int], bool]) -> None:
    """Let the noise of the steps (from 0) be NaN for which `when(seed, step)` holds."""
    real_batch = TrainingPictures.batch

    def batch(self: TrainingPictures, step: int, **rest: int) -> Any:
        made = real_batch(self, step, **rest)
        if when(self._config.seed, step):
            made.noise.fill_(math.nan)
        return made

    patch.setattr(TrainingPictures, "batch", batch)


def bad_draw(seed: int, step: int) -> bool:
    """A draw that is bad with the config's own seed alone."""
    return (seed, step) == (0, 5)


def figures(run: RunFolder) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in read_metrics(run.metrics)]


def same_weights(left: RunFolder, right: RunFolder) -> bool:
    first, second = load_file(left.root / WEIGHTS), load_file(right.root / WEIGHTS)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def recovered(
    one_thread: None, dataset: PinnedDataset, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A run that met a NaN in its sixth step."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "recovered")
    with pytest.MonkeyPatch.context() as patch:
        poison(patch, when=bad_draw)
        train(tiny_config(data=dataset.folder), dataset, run.root, cpu=True)
    return run


def test_a_nan_costs_the_steps_since_the_last_good_checkpoint_and_half_the_rate(
    recovered: RunFolder, dataset: PinnedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (halving,) = halvings_of(recovered)
    assert (halving.at, halving.back_to) == (6, 4)
    rows = read_metrics(recovered.metrics)
    assert [row["step"] for row in rows if "loss" in row] == [2, 4, 6, 8]
    assert {"step": 4, "halvings": 1, "diverged_at": 6} in rows
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert all(w.isfinite().all() for w in load_file(recovered.root / WEIGHTS).values())
    calm = RunFolder(tmp_path / "calm")
    train(tiny_config(data=dataset.folder), dataset, calm.root, cpu=True)
    rates, calm_rates = (
        {int(row["step"]): row["learning_rate"] for row in read_metrics(r.metrics) if "loss" in row}
        for r in (recovered, calm)
    )
    assert rates == pytest.approx({s: r / (2 if s > 4 else 1) for s, r in calm_rates.items()})
    assert not calm.guard.exists()
    assert not capsys.readouterr().out
    assert "rate halved | at step 4" in (recovered.model / "README.md").read_text()


@pytest.mark.parametrize("moment", ["before it is undone", "while it is undone", "after"])
def test_killed_in_its_recovery_a_run_ends_as_if_undisturbed(
    recovered: RunFolder, dataset: PinnedDataset, tmp_path: Path, moment: str
) -> None:
    """SIGKILL cannot be caught: what a process does after the moment is left out instead."""
    run = RunFolder(tmp_path / "run")
    config = tiny_config(data=dataset.folder)

    class KilledError(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        poison(patch, when=lambda seed, step: bad_draw(seed, step))
        if moment == "before it is undone":
            patch.setattr(guard, "settle", die)
        elif moment == "while it is undone":
            patch.setattr("pathlib.Path.unlink", die)
        else:
            real = TrainingPictures.batch

            def batch(self: TrainingPictures, step: int, **rest: int) -> Any:
                if self._config.seed != 0 and step == 5:
                    die()
                return real(self, step, **rest)

            patch.setattr(TrainingPictures, "batch", batch)
        with pytest.raises(KilledError):
            train(config, dataset, run.root, cpu=True)
        assert len(halvings_of(run)) == 1
    with pytest.MonkeyPatch.context() as patch:
        poison(patch, when=bad_draw)
        train(config, dataset, run.root, cpu=True)
    assert same_weights(run, recovered)
    assert figures(run) == figures(recovered)
    assert run.steps_averaged() == recovered.steps_averaged()


def test_poison_without_end_ends_the_training_with_advice(
    dataset: PinnedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Back to step 4, then further, since that one may have been bad: to 2, to the start."""
    run, config = RunFolder(tmp_path / "run"), tiny_config(data=dataset.folder, max_halvings=3)
    with pytest.MonkeyPatch.context() as patch:
        poison(patch, when=lambda seed, step: step >= 5 or (seed != 0 and step >= 3))
        with pytest.raises(UserError, match=r"diverged .* after going back 3 times.*--find-lr"):
            train(config, dataset, run.root, cpu=True)
    assert [halving.back_to for halving in halvings_of(run)] == [4, 2, 0]
    said = capsys.readouterr().out
    assert "back to step 4 with half the rate (1 of at most 3 times)" in said
    assert json.loads(run.guard.read_text())["halvings"][0]["why"] == "the loss is nan"
    for step in run.steps_saved():
        weights = load_file(run.checkpoint(step) / "model.safetensors")
        assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.slow
def test_two_processes_recover_alike(dataset: PinnedDataset, tmp_path: Path) -> None:
    ends = train_in(2, tmp_path / "run", data=dataset.folder, poisoned_step=5)
    assert [end.kind for end in ends.values()] == ["done", "done"], ends
    assert "back to step 4" in ends[0].said
    assert ends[1].said == ""
    run = RunFolder(tmp_path / "run")
    assert len(halvings_of(run)) == 1
    assert [row["step"] for row in read_metrics(run.metrics) if "loss" in row] == [2, 4, 6, 8]


def test_what_counts_as_trouble() -> None:
    config = tiny_config(log_every=2, divergence=4.0)
    calm = [1.0, 1.1, 0.9, 1.0, 1.2]

    def why(losses: list[float], earlier: list[float], **changes: object) -> str | None:
        changed = tiny_config(log_every=2, divergence=4.0, **changes)
        return trouble_with(losses, [1.0] * len(losses), earlier=earlier, config=changed)

    assert why([3.0, 4.0], calm) is None
    assert why([5.0, 4.0], calm) == "the loss rose from 1 to 4.5"
    assert why([50.0, 40.0], calm[:3]) is None  # too few rows to tell
    assert why([math.inf], []) == "the loss is inf"
    assert "gradient norm is nan" in str(trouble_with([1.0], [math.nan], earlier=[], config=config))
    # In fp16 a step that overflows is left out and its norm is 0: the scale tells of many.
    assert trouble_with([1.0], [0.0], earlier=[], config=config, scale=1.0) is None
    told = trouble_with([1.0], [0.0], earlier=[], config=config, scale=0.5)
    assert told == "fp16's gradients overflow even with the loss scaled by 0.5"
    # A learned weighting's loss may be below 0, and four times that is no trouble.
    levelled = [-1.0, -1.1, -0.9, -1.0, -1.0]
    assert why([1.5, 1.5], levelled, weighting="learned") is None
    assert why([2.5, 2.5], levelled, weighting="learned") is not None
