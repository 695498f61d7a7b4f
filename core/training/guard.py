"""The guard against divergence: back to the last good checkpoint, and on with half the rate.

guard.json holds each time that a run went back. It is written before anything is undone, with
`settled` false, and again when all is: a run killed in between finishes that first. The number of
halvings decides the rate, and with the seed the draws, so a bad draw does not come again.
"""

import dataclasses
import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol

from core.errors import UserError
from core.files import read_json, write_json
from core.rundir import RunFolder

_ROWS = 10
"""How many of the last rows the loss is held against."""
_LEAST_ROWS = 5
"""Fewer tell nothing: a run's first losses differ by much."""
_LEAST_SCALE = 1.0
"""Of the loss in fp16. Each step that overflows is left out and halves it, from 65,536: below this
the backward is never finite, and nothing is learned."""


class GuardSettings(Protocol):
    """What of a config the guard goes by."""

    @property
    def log_every(self) -> int:
        """Steps between rows."""

    @property
    def divergence(self) -> float:
        """A loss this many times above the median has diverged."""

    @property
    def max_halvings(self) -> int:
        """How often a run may go back."""

    @property
    def precision(self) -> str:
        """Arithmetic."""

    @property
    def highest_rates(self) -> Mapping[str, float]:
        """The learning rates at their highest, by flag."""

    @property
    def loss_may_be_negative(self) -> bool:
        """Whether a loss is the logarithm of an error: it then rises by sums, not by factors."""


class WentBackError(Exception):
    """The training diverged, and the run's folder is back at an earlier step."""

    def __init__(self, step: int, words: str) -> None:
        super().__init__(words)
        self.step = step
        """The step to go on from; 0 = the start."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halving:
    """One time that a run went back."""

    at: int
    """Step after which it was seen."""
    back_to: int
    """Step that it went on from; 0 = the start."""
    why: str
    """What was seen."""


def trouble_with(
    losses: Sequence[float],
    norms: Sequence[float],
    *,
    earlier: Sequence[float],
    config: GuardSettings,
    scale: float | None = None,
) -> str | None:
    """What is wrong with the losses and gradient norms of some steps, in words; None if nothing.

    earlier: the mean losses of the rows before, oldest first. scale: of the loss in fp16.
    """
    if scale is not None and scale < _LEAST_SCALE:
        return f"fp16's gradients overflow even with the loss scaled by {scale:.2g}"
    for name, values in (("loss", losses), ("gradient norm", norms)):
        wrong = [value for value in values if not math.isfinite(value)]
        if wrong:
            return f"the {name} is {wrong[0]}"
    recent = earlier[-_ROWS:]
    if len(recent) < _LEAST_ROWS or len(losses) < max(1, config.log_every // 2):
        return None
    loss, median = statistics.fmean(losses), statistics.median(recent)
    # An error that many times larger is that much above a loss that is one's logarithm.
    limit = median * config.divergence
    if config.loss_may_be_negative:
        limit = median + config.divergence - 1
    return f"the loss rose from {median:.4g} to {loss:.4g}" if loss > limit else None


def halvings_of(run: RunFolder) -> list[Halving]:
    """Each time that the run went back, oldest first."""
    if not run.guard.exists():
        return []
    return [Halving(**entry) for entry in read_json(run.guard)["halvings"]]


def go_back(run: RunFolder, config: GuardSettings, step: int, why: str) -> Halving:
    """Put the folder back to the last good checkpoint; UserError when that was done too often.

    One that the run went back to before, with no other since, was not so good: the one before it.
    """
    before, saved = halvings_of(run), [0, *run.steps_saved()]
    if len(before) >= config.max_halvings:
        raise UserError(_given_up(run, config, step, why))
    if before and before[-1].back_to == saved[-1] > 0:
        saved.pop()
    halving = Halving(at=step, back_to=saved[-1], why=why)
    _write(run, [*before, halving], settled=False)
    settle(run)
    return halving


def settle(run: RunFolder) -> None:
    """Finish going back, if that was cut off: what was made after the good checkpoint is removed.

    Rows of metrics.jsonl go when the run goes on.
    """
    if not run.guard.exists() or read_json(run.guard)["settled"]:
        return
    halvings = halvings_of(run)
    good = halvings[-1].back_to
    for step in run.steps_saved():
        if step > good:
            shutil.rmtree(run.checkpoint(step))
    for steps, path in (
        (run.steps_averaged(), run.average),
        (run.steps_best(), run.best),
        (run.steps_drawn(), run.grid),
    ):
        for step in steps:
            if step > good:
                path(step).unlink()
    _write(run, halvings, settled=True)


def words_of(halving: Halving, count: int, config: GuardSettings) -> str:
    """The line that says what happened."""
    start = f"step {halving.back_to}" if halving.back_to else "the start"
    return (
        f"diverged at step {halving.at} ({halving.why}): back to {start} with half the rate "
        f"({count} of at most {config.max_halvings} times)"
    )


def _write(run: RunFolder, halvings: Sequence[Halving], *, settled: bool) -> None:
    entries = [dataclasses.asdict(halving) for halving in halvings]
    write_json(run.guard, {"halvings": entries, "settled": settled})


def _given_up(run: RunFolder, config: GuardSettings, step: int, why: str) -> str:
    saved = run.steps_saved()
    kept = f"step {saved[-1]} is kept in {run.checkpoints}" if saved else "there is none"
    lower = 0.5 ** (config.max_halvings + 1)
    rates = " ".join(f"{flag} {rate * lower:.2g}" for flag, rate in config.highest_rates.items())
    other = "" if config.precision == "fp32" else " or --precision fp32"
    return (
        f"the training diverged at step {step} ({why}), also after going back "
        f"{config.max_halvings} times with half the rate each; the last good checkpoint: {kept}. "
        f"Train into another --out with {rates} (--find-lr measures a good one){other}"
    )
