"""How long a training will take and how much it will write, from a few real steps."""

import dataclasses
import math
import time

import torch

from core.data.pinned import PinnedDataset
from core.training.arithmetic import fast_kernels
from core.training.checkpoint import TrainingState
from core.training.config import TrainConfig
from core.training.processes import Processes
from core.training.step import Stepper, new_state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a training is likely to take, with as many processes as were asked about."""

    seconds_per_step: float
    """One optimiser step."""
    images_per_s: float
    """Pictures of all processes together."""
    hours: float
    """All steps that remain; held-out losses and sample grids come on top."""
    checkpoint_bytes: int
    """One checkpoint."""
    disk_bytes: int
    """The checkpoints that are kept, the one being written beside them, the snapshots of averages,
    and the model."""


def forecast(
    config: TrainConfig,
    dataset: PinnedDataset,
    *,
    device: torch.device,
    processes: int = 1,
    accumulate: int = 1,
    steps_done: int = 0,
    budget_s: float = 20.0,
) -> Forecast:
    """Time steps on one process's share of the batch for about `budget_s`; writes nothing.

    Each process is taken to have a device like this one, and their exchange to cost nothing. A
    share too large for the budget is timed in part, and the rest taken to cost in proportion.
    """
    share = math.ceil(config.batch_size / processes)
    end = time.perf_counter() + budget_s
    state = new_state(config, dataset, device)
    small = min(share, 2)
    seconds = seconds_of_small = _time_steps(config, dataset, state, device, small, 1, until=0)
    # A warm-up and two steps must fit.
    affordable = int(small * (end - time.perf_counter()) / (3 * seconds_of_small))
    if (timed := max(small, min(share, affordable))) > small:
        seconds = _time_steps(config, dataset, state, device, timed, accumulate, until=end)
        each = (seconds - seconds_of_small) / (timed - small)
        if not 0 < each < seconds / timed:
            each = seconds / timed
    else:
        each = seconds / timed
    seconds_per_step = seconds + each * (share - timed)
    checkpoint_bytes, weight_bytes = _sizes(state)
    # A snapshot is two averages in half precision; the model's guide is in half precision too.
    kept_averages = config.snapshots + (2 if config.keep == "best" else 0)
    model_bytes = weight_bytes * (3 if config.snapshots else 2) // 2
    return Forecast(
        seconds_per_step=seconds_per_step,
        images_per_s=config.batch_size / seconds_per_step,
        hours=max(0, config.steps - steps_done) * seconds_per_step / 3600,
        checkpoint_bytes=checkpoint_bytes,
        disk_bytes=checkpoint_bytes * (config.keep_checkpoints + 1)
        + kept_averages * weight_bytes
        + model_bytes,
    )


def _time_steps(
    config: TrainConfig,
    dataset: PinnedDataset,
    state: TrainingState,
    device: torch.device,
    batch_size: int,
    accumulate: int,
    *,
    until: float,
) -> float:
    """Mean seconds of the steps made until a time (of `perf_counter`), after one to warm up."""
    stepper = Stepper(
        dataclasses.replace(config, batch_size=batch_size),
        dataset,
        state,
        Processes.alone(device),
        accumulate=accumulate,
        hold_pictures=False,
    )
    made = -1
    with fast_kernels(device):
        while made < 1 or time.perf_counter() < until:
            stepper.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            made += 1
            if made == 0:
                begun = time.perf_counter()
    return (time.perf_counter() - begun) / made


def _sizes(state: TrainingState) -> tuple[int, int]:
    """Bytes of a checkpoint (weights, their averages, the optimisers' moments) and of weights."""
    moments = sum(
        value.nbytes
        for optimizer in state.optimizers
        for values in optimizer.state.values()
        for value in values.values()
        if isinstance(value, torch.Tensor)
    )
    weights = sum(tensor.nbytes for tensor in state.unet.state_dict().values())
    averages = 1 if state.narrow is None else 2
    return (1 + averages) * weights + moments, weights
