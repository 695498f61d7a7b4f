"""Which weights become the model, and when a training ends early."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.data.pinned import PinnedDataset
from core.diffusion.pipeline import ClassConditionalPipeline
from core.errors import UserError
from core.images import unpremultiply
from core.rundir import RunFolder
from core.training.looks import Looks
from core.training.loop import train
from core.training.memory import TrainingPictures
from core.training.record import read_metrics
from core.training.selection import select
from tests.tiny import tiny_config, tiny_dataset

LOSSES = {2: 3.0, 4: 1.0, 6: 2.0, 8: 1.0, 10: 1.5, 12: 0.5}
"""Held-out losses that a run is made to see."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seen_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(self: Looks) -> dict[str, float]:
        return {"held_out_loss": LOSSES[self.state.step]}

    monkeypatch.setattr(Looks, "evaluate", evaluate)


def config(dataset: PinnedDataset, **changes: object) -> Any:
    every = {"evaluate_every": 2, "checkpoint_every": 4, "sample_every": 100}
    return tiny_config(**{"data": dataset.folder, "steps": 12, "keep": "best"} | every | changes)


def rows(losses: dict[int, float], copies: dict[int, float]) -> list[dict[str, float]]:
    made: list[dict[str, float]] = []
    for step in sorted(losses.keys() | copies.keys()):
        made += [{"step": step, "copy_rate": copies[step]}] if step in copies else []
        made += [{"step": step, "held_out_loss": losses[step]}] if step in losses else []
    return made


def test_the_least_loss_wins_and_of_equal_ones_the_first() -> None:
    until_10 = {step: loss for step, loss in LOSSES.items() if step <= 10}
    best = select(rows(until_10, {}), tiny_config()).best
    assert best is not None
    assert (best.step, best.held_out_loss, best.copy_rate) == (4, 1.0, None)
    assert select([], tiny_config()).best is None


def test_weights_that_copy_do_not_win() -> None:
    found = select(rows(LOSSES, {6: 0.5, 10: 0.1}), tiny_config(max_copies=0.2))
    assert found.best is not None
    assert found.best.step == 12
    found = select(rows(LOSSES, {3: 0.5}), tiny_config(max_copies=0.2))
    assert found.best is not None
    assert found.best.step == 2


def test_it_stops_after_so_many_in_a_row_without_a_better_one() -> None:
    def stops(last: int, early_stop: int, copies: dict[int, float] | None = None) -> bool:
        seen = {step: loss for step, loss in LOSSES.items() if step <= last}
        return select(rows(seen, copies or {}), tiny_config(early_stop=early_stop)).stop

    assert [stops(last, 3) for last in (6, 8, 10)] == [False, False, True]
    assert not stops(10, 0)
    assert stops(4, 2, {2: 0.9})


def test_the_best_weights_become_the_model_also_of_an_interrupted_run(
    dataset: PinnedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends early, after three no better than that of step 4, whose weights the model has."""
    runs = [RunFolder(tmp_path / name) for name in ("whole", "interrupted")]
    stopping = config(dataset, early_stop=3, keep_checkpoints=3)
    train(stopping, dataset, runs[0].root, cpu=True)
    real_batch, stopped = TrainingPictures.batch, []

    class KilledError(BaseException):
        pass

    def batch(self: TrainingPictures, step: int, **rest: Any) -> Any:
        if step == 7 and not stopped:
            stopped.append(step)
            raise KilledError
        return real_batch(self, step, **rest)

    monkeypatch.setattr(TrainingPictures, "batch", batch)
    with pytest.raises(KilledError):
        train(stopping, dataset, runs[1].root, cpu=True)
    train(stopping, dataset, runs[1].root, cpu=True)
    for run in runs:
        model = load_file(run.model / "unet/diffusion_pytorch_model.safetensors")
        best = load_file(run.checkpoint(4) / "ema.safetensors")
        assert all(torch.equal(model[name], best[name]) for name in best)
        assert run.steps_best() == [4]
        assert max(row["step"] for row in read_metrics(run.metrics)) == 10
        card = (run.model / "README.md").read_text()
        assert "the average of step 4, the least held-out loss" in card
        assert "| steps × batch | 10 × 4 |" in card


def test_a_step_that_every_checkpoint_has_behind_it_is_forgotten(
    dataset: PinnedDataset, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    train(config(dataset, keep_checkpoints=1, checkpoint_every=2), dataset, run.root, cpu=True)
    assert run.steps_best() == [12]


def test_copies_of_training_pictures_in_the_sample_grid_are_told_and_cost_the_choice(
    dataset: PinnedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that draws training pictures again has copied them, whatever its held-out loss."""
    copies = [unpremultiply(picture) for picture in dataset.part("train")[0][:4]]

    def generate(self: object, labels: list[str], *_: object, **__: object) -> list[Any]:
        return copies[: len(labels)]

    monkeypatch.setattr(ClassConditionalPipeline, "generate", generate)
    run = RunFolder(tmp_path / "run")
    train(config(dataset, sample_every=6, checkpoint_every=2), dataset, run.root, cpu=True)
    told = {
        row["step"]: row["copy_rate"] for row in read_metrics(run.metrics) if "copy_rate" in row
    }
    assert told == {6: 1.0, 12: 1.0}
    assert run.steps_best() == [4]  # Less is reached at step 12, by copying.


def test_without_held_out_pictures_nothing_can_be_chosen(
    dataset: PinnedDataset, tmp_path: Path
) -> None:
    import dataclasses

    bare = dataclasses.replace(dataset, split={**dataset.split, "validation": range(0)})
    with pytest.raises(UserError, match=r"--keep best goes by the held-out loss"):
        train(config(dataset), bare, tmp_path / "run", cpu=True)
    with pytest.raises(UserError, match=r"--early-stop goes by the held-out loss"):
        train(config(dataset, keep="last", early_stop=1), bare, tmp_path / "other", cpu=True)
