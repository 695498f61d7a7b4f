"""Every optimiser learns, and goes on from its saved state to the bit."""

import copy
import importlib
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from core.data.pinned import PinnedDataset
from core.errors import UserError
from core.rundir import RunFolder
from core.training import optimizers
from core.training.checkpoint import TrainingState, restore_checkpoint, save_checkpoint
from core.training.config import Optimizer, TrainConfig
from core.training.optimizers import new_optimizers
from core.training.processes import Processes
from core.training.step import Stepper, new_state
from tests.tiny import tiny_config, tiny_dataset

CPU = torch.device("cpu")
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)
RATES = {"rmsprop": 3e-4, "prodigy": 1.0}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PinnedDataset:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "pinned", per_split=2)


def config_of(optimizer: Optimizer, **changes: object) -> TrainConfig:
    values = {
        "optimizer": optimizer,
        "learning_rate": RATES.get(optimizer, 2e-3),
        "steps": 60,
        "dropout": 0.0,
        "block_channels": (32, 32),
        "attention_levels": (),
        "snapshots": 0,
    }
    return tiny_config(**{**values, **changes})


def steps(state: TrainingState, config: TrainConfig, dataset: PinnedDataset, count: int) -> float:
    """`count` real training steps; the mean loss of the last ten of them."""
    stepper = Stepper(config, dataset, state, Processes.alone(CPU))
    losses = [float(stepper.step()[0]) for _ in range(count)]
    return sum(losses[-10:]) / len(losses[-10:])


def all_numbers(state: TrainingState) -> list[torch.Tensor | float | bool | None]:
    """Everything that the next step depends on, flat."""
    moments = [optimizer.state_dict() for optimizer in state.optimizers]
    modules = [state.unet, *([state.uncertainty] if state.uncertainty else [])]
    flat: list[torch.Tensor | float | bool | None] = []
    todo: list[object] = [[module.state_dict() for module in modules], moments]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, list | tuple):
            todo += item
        elif isinstance(item, torch.Tensor | float | int | None):
            flat.append(item)
        else:
            raise TypeError(f"{item!r} in a state that must be saved without pickled code")
    return flat


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_learns(optimizer: Optimizer, dataset: PinnedDataset) -> None:
    config = config_of(optimizer)
    before = steps(new_state(config, dataset, CPU), config, dataset, 2)
    assert steps(new_state(config, dataset, CPU), config, dataset, 60) < 0.7 * before


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_goes_on_from_its_checkpoint_to_the_bit(
    optimizer: Optimizer, dataset: PinnedDataset, tmp_path: Path
) -> None:
    """Also with a learned weighting, whose own weight is moved beside the network's."""
    config = config_of(optimizer, weighting="learned", steps=8)
    undisturbed = new_state(config, dataset, CPU)
    steps(undisturbed, config, dataset, 3)
    run = RunFolder(tmp_path)
    save_checkpoint(undisturbed, run, keep=1)
    steps(undisturbed, config, dataset, 4)

    resumed = new_state(config, dataset, CPU)
    restore_checkpoint(resumed, run, 3)
    steps(resumed, config, dataset, 4)
    ours, theirs = all_numbers(resumed), all_numbers(undisturbed)
    assert len(ours) == len(theirs) > 100
    for a, b in zip(ours, theirs, strict=True):
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        assert same, (a, b)
    assert resumed.uncertainty is not None
    assert bool((resumed.uncertainty.weight != 0).all())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_rate_of_nothing_moves_nothing(optimizer: Optimizer, dataset: PinnedDataset) -> None:
    """So that warm-up, decay and a halved rate reach every optimiser, its weight decay too."""
    config = config_of(optimizer)
    state = new_state(config, dataset, CPU)
    stepper = Stepper(config, dataset, state, Processes.alone(CPU))
    for _ in range(3):
        stepper.step()
    before = copy.deepcopy(state.unet.state_dict())
    stepper.step(0.0)
    assert all(torch.equal(before[name], w) for name, w in state.unet.state_dict().items())
    stepper.step(1.0)
    assert not all(torch.equal(before[name], w) for name, w in state.unet.state_dict().items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_weight_has_one_optimiser_and_knows_its_highest_rate(
    optimizer: Optimizer, dataset: PinnedDataset
) -> None:
    config = config_of(optimizer, weighting="learned", weight_decay=0.05)
    state = new_state(config, dataset, CPU)
    made = new_optimizers(state.unet, config, uncertainty=state.uncertainty)
    groups = [group for each in made for group in each.param_groups]
    moved = [id(parameter) for group in groups for parameter in group["params"]]
    assert state.uncertainty is not None
    modules = (state.unet, state.uncertainty)
    assert sorted(moved) == sorted(id(p) for module in modules for p in module.parameters())
    rates = [config.learning_rate] * 2 + [config.muon_rate] * (optimizer == "muon")
    assert [group["highest_lr"] for group in groups] == rates
    assert made[0].param_groups[-1]["weight_decay"] == 0


def test_prodigy_with_an_ordinary_rate_is_refused_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"--learning-rate is 0.001; .* \(1 as a rule\)"):
        tiny_config(optimizer="prodigy", learning_rate=1e-3)


def test_packages_of_optimisers_are_loaded_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)  # an import of it now fails
    unet = torch.nn.Sequential(torch.nn.Linear(2, 2))
    module = importlib.reload(optimizers)
    assert len(module.new_optimizers(unet, config_of("adamw"))) == 1
    with pytest.raises(ImportError):
        module.new_optimizers(unet, config_of("adopt"))
