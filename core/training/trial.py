"""The largest micro-batch that fits into memory, found by trial.

On a GPU whole steps are tried, of the process's share of the batch, then of half of it, and so on
until one fits. Where running out of memory kills, the process or others, steps of few pictures are
measured instead, and the rest reckoned: memory grows by the same amount with every picture.
"""

import dataclasses
import gc
import math
from collections.abc import Callable

import torch

from core.data.pinned import PinnedDataset
from core.errors import UserError
from core.files import read_json, write_json
from core.rundir import RunFolder
from core.training.arithmetic import fast_kernels
from core.training.config import TrainConfig
from core.training.processes import Processes
from core.training.step import Stepper, new_state
from core.training.usage import (
    forget_peak,
    memory_in_use_bytes,
    memory_limit_bytes,
    processes_here,
)

_SHARE = 0.9
"""Share of the limit that a step may take; sample grids, fragments and estimates need the rest."""
_FEW = 4
"""Pictures of the larger step that is measured where one reckons."""


def agreed_accumulate(
    run: RunFolder,
    config: TrainConfig,
    dataset: PinnedDataset,
    processes: Processes,
    *,
    memory_bytes: int | None,
) -> int:
    """How many micro-batches all processes make of their shares: as the first one's memory needs.

    What was found is kept in the run's folder: with as many processes, a device of the same name
    and the same limit, a resumed run rounds as an undisturbed one does. memory_bytes: a limit of
    one's own.
    """
    asked = {
        "processes": processes.count,
        "device": _name_of(processes.device),
        "memory_bytes": memory_bytes,
    }

    def find() -> int:
        if run.trial.exists():
            known = read_json(run.trial)
            if asked.items() <= known.items():
                return int(known["accumulate"])
        accumulate, words = fitting_accumulate(
            config,
            dataset,
            processes.device,
            processes=processes.count,
            memory_bytes=memory_bytes,
        )
        print(words)
        write_json(run.trial, {**asked, "accumulate": accumulate, "words": words})
        return accumulate

    processes.at("the trial of how much fits into memory")
    return int(processes.from_first(find))


def fitting_accumulate(
    config: TrainConfig,
    dataset: PinnedDataset,
    device: torch.device,
    *,
    processes: int = 1,
    memory_bytes: int | None = None,
) -> tuple[int, str]:
    """How many micro-batches to make of one process's share of a step, and a line that says why.

    UserError when not even one picture at a time fits.
    """
    limit, who = memory_limit_bytes(device, processes_here(processes))
    if memory_bytes is not None and memory_bytes < limit:
        limit, who = memory_bytes, "--memory-gb"
    share = math.ceil(config.batch_size / processes)
    trial = _Trial(config, dataset, device)
    try:
        if device.type == "cuda":
            size, peak = largest_by_halving(share, trial.peak_bytes, int(limit * _SHARE))
        else:
            size, peak = largest_by_reckoning(share, trial.peak_bytes, int(limit * _SHARE))
    finally:
        trial.forget()
    if size == 0:
        raise UserError(
            f"a step with one picture takes {_gib(peak)}, and {who} is {_gib(limit)}: give "
            "--gradient-checkpointing, a smaller network, or more memory"
        )
    accumulate = math.ceil(share / size)
    return accumulate, (
        f"--accumulate {accumulate}: {math.ceil(share / accumulate)} of {share} pictures at a "
        f"time take {_gib(peak)} of {_gib(limit)} ({who})"
    )


def largest_by_halving(
    share: int, peak_bytes: Callable[[int], float], limit: int
) -> tuple[int, float]:
    """The first of share, share/2, … whose step stays below the limit (0 if none), its peak."""
    size = share
    while (peak := peak_bytes(size)) > limit:
        if size == 1:
            return 0, peak
        size = math.ceil(size / 2)
    return size, peak


def largest_by_reckoning(
    share: int, peak_bytes: Callable[[int], float], limit: int
) -> tuple[int, float]:
    """The largest size up to `share` whose step should stay below the limit (0 if none), its peak.

    Measured at one picture and at few; each further one is taken to add as much.
    """
    one = peak_bytes(1)
    few = min(_FEW, share)
    if one > limit or few == 1:
        return int(one <= limit), one
    each = max(1.0, (peak_bytes(few) - one) / (few - 1))
    size = min(share, 1 + int((limit - one) / each))
    return size, one + (size - 1) * each


class _Trial:
    """Steps of a training that leave nothing behind."""

    def __init__(self, config: TrainConfig, dataset: PinnedDataset, device: torch.device) -> None:
        self._config, self._dataset, self._device = config, dataset, device
        self._state = new_state(config, dataset, device)
        self._warm = False

    def peak_bytes(self, size: int) -> float:
        """The most memory that a step of `size` pictures takes; infinite if there is not enough."""
        config = dataclasses.replace(self._config, batch_size=size)
        try:
            stepper = Stepper(config, self._dataset, self._state, Processes.alone(self._device))
            with fast_kernels(self._device):
                # The first step makes the optimisers' moments, beside which the next must fit,
                # and beside the gradients of earlier micro-batches.
                for _ in range(1 if self._warm else 2):
                    for weight in self._state.unet.parameters():
                        weight.grad = torch.zeros_like(weight)
                    forget_peak(self._device)
                    stepper.step()
        except torch.OutOfMemoryError:
            return math.inf
        else:
            self._warm = True
            return memory_in_use_bytes(self._device)
        finally:
            for weight in self._state.unet.parameters():
                weight.grad = None
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def forget(self) -> None:
        """Give the memory back."""
        del self._state
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if math.isfinite(count) else "more than there is"
