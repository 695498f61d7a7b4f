"""A range test of the learning rate (Smith 2017, "Cyclical learning rates", section 3.3).

From far below the config's rates the sweep rises exponentially, a step at each, on the real data
and network; with Muon both rates rise together. The loss falls, levels, and explodes. Suggested is
half the rate with the least smoothed loss: at that one the loss has stopped falling because steps
are nearly too large, and a training must live there for long. Nothing of the network is kept.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from core.data.pinned import PinnedDataset
from core.errors import UserError
from core.files import atomic_file, write_json
from core.progress import progress
from core.rundir import RunFolder
from core.training.arithmetic import fast_kernels
from core.training.config import TrainConfig
from core.training.processes import Processes
from core.training.step import Stepper, new_state

_LOWEST, _HIGHEST = 1e-3, 1e2
"""Of the config's rates."""
_WIDTH = 0.15
"""Of the smoothing, in decades of the rate: standard deviation."""
_EXPLODED = 4.0
"""Times the least smoothed loss."""
_MARGIN = 2.0
_LEAST_STEPS = 20


class SweptSettings(Protocol):
    """What of a config the outcome is told in."""

    @property
    def learning_rate(self) -> float:
        """The rate that the factors are of."""

    @property
    def highest_rates(self) -> Mapping[str, float]:
        """All rates that rise together, by flag."""

    @property
    def optimizer(self) -> str:
        """Its name."""

    @property
    def batch_size(self) -> int:
        """Pictures per step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RangeTest:
    """What a sweep saw."""

    factors: tuple[float, ...]
    """Of the config's rates, rising, one per step."""
    losses: tuple[float, ...]
    """Of each step, before it."""
    smoothed: tuple[float, ...]
    """Their means (of the logarithms) over near rates."""

    @property
    def best(self) -> float:
        """The factor with the least smoothed loss."""
        return self.factors[self.smoothed.index(min(self.smoothed))]

    @property
    def suggestion(self) -> float:
        """The factor to train with."""
        return self.best / _MARGIN


def range_test(
    config: TrainConfig,
    dataset: PinnedDataset,
    *,
    device: torch.device,
    accumulate: int = 1,
    steps: int = 100,
    budget_s: float = 600.0,
) -> RangeTest:
    """Sweep the rate; fewer steps, further apart, where so many do not fit the budget.

    With `--weighting learned` EDM's weights are swept, which it begins as: its loss may be 0 or
    less, of which there is no logarithm.
    """
    refuse_prodigy(config.optimizer)
    if config.weighting == "learned":
        config = dataclasses.replace(config, weighting="edm")
    state = new_state(config, dataset, device)
    stepper = Stepper(config, dataset, state, Processes.alone(device), accumulate=accumulate)
    return sweep_rates(
        lambda factor: float(stepper.step(factor)[0]),
        device=device,
        learning_rate=config.learning_rate,
        steps=steps,
        budget_s=budget_s,
    )


def refuse_prodigy(optimizer: str) -> None:
    """UserError for an optimiser that has no rate to be found."""
    if optimizer == "prodigy":
        raise UserError("--find-lr: prodigy finds its rate itself: leave --learning-rate at 1")


def sweep_rates(
    loss_at: Callable[[float], float],
    *,
    device: torch.device,
    learning_rate: float,
    steps: int = 100,
    budget_s: float = 600.0,
) -> RangeTest:
    """Make steps with rising factors of the rate until the loss explodes.

    loss_at: makes a step with a factor; the loss before it. learning_rate: what the factors are of.
    """
    losses: list[float] = []
    with fast_kernels(device), progress(title="range test", total=steps, unit="step") as bar:
        begun = time.perf_counter()
        losses.append(loss_at(_LOWEST))
        affordable = int(budget_s / (time.perf_counter() - begun))
        steps = max(_LEAST_STEPS, min(steps, affordable))
        factors = _factors(steps)
        for factor in factors[1:]:
            losses.append(loss_at(factor))
            bar.update()
            if _exploded(factors, losses):
                break
    finite = [loss for loss in losses if math.isfinite(loss)]
    if len(finite) < 3:
        raise UserError(
            f"the loss is {losses[-1]} already at a rate of "
            f"{learning_rate * factors[len(losses) - 1]:.2g}: give a lower --learning-rate "
            "to search around, or --precision fp32"
        )
    return RangeTest(
        factors=tuple(factors[: len(finite)]),
        losses=tuple(finite),
        smoothed=tuple(smoothed(factors, finite)),
    )


def smoothed(factors: Sequence[float], losses: Sequence[float]) -> list[float]:
    """Each loss averaged with those at near rates, alike on both sides: no lag moves the least."""
    place = np.log10(factors[: len(losses)])
    weights = np.exp(-(((place[:, None] - place) / _WIDTH) ** 2) / 2)
    means = weights @ np.log(losses) / weights.sum(1)
    return [float(value) for value in np.exp(means)]


def save_range_test(found: RangeTest, config: SweptSettings, run: RunFolder) -> None:
    """Write find_lr.json and find_lr.png into the run's folder."""
    rates = [factor * config.learning_rate for factor in found.factors]
    write_json(
        run.rates,
        {
            "learning_rate": rates,
            "loss": list(found.losses),
            "smoothed": list(found.smoothed),
            "suggestion": rate_flags(found, config),
        },
    )
    _plot(found, config, run)


def rate_flags(found: RangeTest, config: SweptSettings) -> str:
    """The suggestion as flags of the verb that trains."""
    rates = config.highest_rates.items()
    return " ".join(f"{flag} {found.suggestion * rate:.2g}" for flag, rate in rates)


def _factors(steps: int) -> list[float]:
    rise = (_HIGHEST / _LOWEST) ** (1 / (steps - 1))
    return [_LOWEST * rise**index for index in range(steps)]


def _exploded(factors: Sequence[float], losses: Sequence[float]) -> bool:
    if not math.isfinite(losses[-1]):
        return True
    means = smoothed(factors, losses)
    return means[-1] > _EXPLODED * min(means)


def _plot(found: RangeTest, config: SweptSettings, run: RunFolder) -> None:
    """Loss over rate, the suggestion marked."""
    from matplotlib.figure import Figure  # Takes half a second; only here.
    from matplotlib.ticker import FuncFormatter, LogLocator

    rates = [factor * config.learning_rate for factor in found.factors]
    chosen = found.suggestion * config.learning_rate
    least = min(found.smoothed)
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.plot(rates, found.losses, color="#c9d3df", linewidth=1.2, label="loss of each step")
    axes.plot(rates, found.smoothed, color="#1f5fa8", linewidth=2.4, label="smoothed")
    axes.axvline(chosen, color="#d9622b", linewidth=1.6, linestyle=(0, (4, 3)))
    axes.plot(
        [found.best * config.learning_rate],
        [least],
        "o",
        color="#1f5fa8",
        markersize=7,
        markeredgecolor="white",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    axes.yaxis.set_minor_locator(LogLocator(subs=()))
    axes.set_ylim(min(found.losses) * 0.85, max(found.smoothed) * 1.25)
    axes.set_xlim(rates[0], rates[-1] * 1.2)
    axes.annotate(
        f"suggested: {chosen:.2g}",
        (chosen, 0.94),
        xycoords=("data", "axes fraction"),
        xytext=(-8, 0),
        textcoords="offset points",
        horizontalalignment="right",
        color="#d9622b",
        fontweight="bold",
    )
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title(f"Range test: {config.optimizer}, batch {config.batch_size}", loc="left")
    axes.grid(which="major", color="#e8ecf1", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    with atomic_file(run.rates.with_suffix(".png")) as file:
        figure.savefig(file, format="png")
