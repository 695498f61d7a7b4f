"""Averages of any width are made after training from snapshots of two."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.data.pinned import PinnedDataset
from core.diffusion.ema import averaged_weights, ema_gamma, ema_update, load_average
from core.diffusion.pipeline import open_pipeline
from core.errors import UserError
from core.rundir import RunFolder
from core.training.averages import (
    averaging_due,
    early_weights,
    move_averages,
    save_snapshot,
    snapshot_steps,
)
from core.training.loop import train
from core.training.processes import Processes
from core.training.step import Stepper, new_state
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


def distance(made: dict[str, Tensor], tracked: dict[str, Tensor], last: dict[str, Tensor]) -> float:
    """How far apart two averages are, as a share of how far the last weights are."""
    apart = sum(float((made[name] - tracked[name]).square().sum()) for name in tracked)
    moved = sum(float((last[name] - tracked[name]).square().sum()) for name in tracked)
    return (apart / moved) ** 0.5


def test_widths_that_were_really_tracked_are_made_from_snapshots(
    dataset: PinnedDataset, tmp_path: Path
) -> None:
    """A real training; more snapshots come nearer, and the tracked width comes out itself."""
    rare = {"evaluate_every": 1000, "sample_every": 1000}
    config = tiny_config(steps=96, batch_size=2, decay="constant", dropout=0.0, **rare)
    state = new_state(config, dataset, CPU)
    stepper = Stepper(config, dataset, state, Processes.alone(CPU))
    widths = (0.07, 0.13)
    tracked = {w: [p.detach().clone() for p in state.unet.parameters()] for w in widths}
    runs = {count: RunFolder(tmp_path / str(count)) for count in (4, 8, 16)}
    while state.step < config.steps:
        stepper.step()
        for width, average in tracked.items():
            ema_update(average, state.unet.parameters(), step=state.step, gamma=ema_gamma(width))
        for count, run in runs.items():
            if state.step % (config.steps // count) == 0:
                save_snapshot(state, config, run)
    names = [name for name, _ in state.unet.named_parameters()]
    last = {name: tensor.detach() for name, tensor in state.unet.named_parameters()}
    for width, average in tracked.items():
        wanted = dict(zip(names, average, strict=True))
        errors = [
            distance(averaged_weights(run.averages, width), wanted, last) for run in runs.values()
        ]
        assert errors[0] > errors[1] > errors[2], errors
        assert errors[1] < 0.01, errors
    itself = averaged_weights(runs[8].averages, config.ema_width)
    assert distance(itself, dict(state.ema.named_parameters()), last) < 0.005


def test_moving_every_few_steps_gives_older_weights_what_each_step_would() -> None:
    every, seldom = torch.zeros(2, dtype=torch.float64)[:, None]
    gamma = ema_gamma(0.1)
    for step in range(1, 65):
        # The weights change with each block of eight, so it does not matter which of them counts.
        weights = torch.tensor([float((step - 1) // 8) ** 2], dtype=torch.float64)
        ema_update([every], [weights], step=step, gamma=gamma)
        if step % 8 == 0:
            ema_update([seldom], [weights], step=step, gamma=gamma, steps=8)
    assert float(seldom) == pytest.approx(float(every), rel=1e-12)


def test_averages_move_when_they_are_looked_at_and_seldom_else() -> None:
    config = tiny_config(steps=1100, evaluate_every=220, sample_every=550, snapshots=8)
    due = [step for step in range(1, 1101) if averaging_due(config, step)]
    assert due[:3] == [8, 16, 24]
    assert {220, 440, 550, 660, 880, 1100} | snapshot_steps(config) <= set(due)
    assert len(due) < 1.1 * 1100 / 8
    assert sorted(snapshot_steps(config)) == [137, 275, 412, 550, 687, 825, 962, 1100]
    assert sorted(snapshot_steps(tiny_config(steps=3))) == [1, 2, 3]
    assert all(averaging_due(tiny_config(steps=8), step) for step in range(1, 9))


def test_a_run_keeps_snapshots_and_its_model_an_early_guide(
    dataset: PinnedDataset, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    config = tiny_config(data=dataset.folder, snapshots=4, augment=0.5)
    train(config, dataset, run.root, cpu=True)
    assert run.steps_averaged() == [2, 4, 6, 8]
    pipeline = open_pipeline(run.root)
    kept = load_average(run.average(8), config.ema_width)
    for name, tensor in pipeline.unet.state_dict().items():
        assert torch.allclose(kept[name], tensor, rtol=1 / 2048, atol=1e-7)
    early = early_weights(config, run, model_step=8)
    assert early is not None
    for name, tensor in pipeline.guide.state_dict().items():
        assert torch.equal(early[name], tensor)
    pipeline.unet.load_state_dict(averaged_weights(run.averages, 0.07))


def test_the_guide_is_early_beside_the_weights_that_became_the_model(
    dataset: PinnedDataset, tmp_path: Path
) -> None:
    """Those of --keep best may be from long before the last step."""
    config, run = tiny_config(steps=8), RunFolder(tmp_path / "run")
    state = new_state(config, dataset, CPU)
    bias = next(name for name, _ in state.ema.named_parameters())
    for state.step in (2, 4, 6, 8):
        state.ema.get_parameter(bias).fill_(state.step)
        save_snapshot(state, config, run)

    def guide_step(model_step: int) -> int | None:
        early = early_weights(config, run, model_step=model_step)
        return None if early is None else int(early[bias].mean())

    assert [guide_step(step) for step in (3, 4, 8, 16)] == [None, 2, 2, 4]


def test_what_cannot_be_made_is_named(dataset: PinnedDataset, tmp_path: Path) -> None:
    config = tiny_config(steps=8)
    state = new_state(config, dataset, CPU)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match=r"no snapshots.*--snapshots 8"):
        averaged_weights(run.averages, 0.1)
    for state.step in (4, 8):
        move_averages(state, config)
        save_snapshot(state, config, run)
    assert averaged_weights(run.averages, 0.07)
    with pytest.raises(UserError, match=r"width of 0.2 cannot be made from the 2.*0.04 to 0.12"):
        averaged_weights(run.averages, 0.2)
    run.average(4).write_bytes(b"not weights")
    with pytest.raises(UserError, match="cannot be read"):
        averaged_weights(run.averages, 0.07)
    assert (
        early_weights(tiny_config(snapshots=0), RunFolder(tmp_path / "none"), model_step=8) is None
    )
