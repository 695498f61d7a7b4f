"""When weights are averaged while training, and which averages are kept."""

from torch import Tensor

from core.diffusion.ema import ema_gamma, ema_update, load_average, save_averages
from core.rundir import RunFolder
from core.training.checkpoint import TrainingState
from core.training.config import TrainConfig
from core.training.told import plain

_PAUSE = 8
"""Steps between two updates of the averages, in runs of 100 times as many or more."""


def averaging_due(config: TrainConfig, step: int) -> bool:
    """Whether the averages move after step `step`: every few steps, and when they are looked at.

    A function of the step alone, whatever stops and starts there were.
    """
    pause = max(1, min(_PAUSE, config.steps // 100))
    looked_at = config.evaluate_every, config.sample_every
    return (
        step % pause == 0
        or step == config.steps
        or any(step % every == 0 for every in looked_at)
        or step in snapshot_steps(config)
    )


def move_averages(state: TrainingState, config: TrainConfig) -> None:
    """Move both averages over the steps since they last moved."""
    weights = [*state.unet.parameters()]
    steps = state.step - state.averaged_step
    for width, average in tracked_averages(state, config).items():
        ema_update(average.values(), weights, step=state.step, gamma=ema_gamma(width), steps=steps)
    state.averaged_step = state.step


def tracked_averages(state: TrainingState, config: TrainConfig) -> dict[float, dict[str, Tensor]]:
    """The averages by their width, the model's first, and weights by name in each."""
    wide = dict(state.ema.named_parameters())
    averages = {config.ema_width: wide}
    if state.narrow is not None:
        averages[config.ema_width / 2] = state.narrow
    return averages


def snapshot_steps(config: TrainConfig) -> set[int]:
    """The steps after which the averages are kept, evenly spaced, the last step among them."""
    count = min(config.snapshots, config.steps)
    return {(index + 1) * config.steps // count for index in range(count)}


def save_snapshot(state: TrainingState, config: TrainConfig, run: RunFolder) -> None:
    """Keep the averages of now: what a model needs of them, less what only training does."""
    needed = plain(state.ema).state_dict().keys()
    averages = {
        width: {name: tensor for name, tensor in average.items() if name in needed}
        for width, average in tracked_averages(state, config).items()
    }
    save_averages(run.average(state.step), averages, step=state.step)


def early_weights(
    config: TrainConfig, run: RunFolder, *, model_step: int
) -> dict[str, Tensor] | None:
    """The kept average nearest to a quarter of the model's steps, a worse model to guide by.

    None when none is from their first half. model_step: of the weights that become the model.
    Karras et al. 2024, "Guiding a diffusion model with a bad version of itself".
    """
    steps = [step for step in run.steps_averaged() if step <= model_step / 2]
    if not steps:
        return None
    nearest = min(steps, key=lambda step: abs(step - model_step / 4))
    return load_average(run.average(nearest), config.ema_width)
