"""How stable an order is, and how many votes it still needs.

An order is as stable as its Spearman correlation with what the truth may be: scores drawn from the
posterior. Votes to come are thought to raise the lowest precisions to one level, as choosing pairs
by information does; the truth and the scores of that day are both drawn.
"""

import dataclasses
import math

import numpy as np

from curation_app.ranking.votes import Floats, Ints

STABLE = 0.95
PICTURES = 2048
"""Of a larger class, so many pictures, evenly spread over the order, stand for all."""
DRAWS = 8
EFFICIENCY, EFFICIENCY_VOTES = 0.85, 4.0
"""What a vote adds, of what it would between equal pictures by a curator who is never careless, as
measured on simulated curators; and how many votes per picture that guess is worth."""
_STEPS = 400


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outlook:
    """Of one class."""

    correlation: float
    """Expected Spearman correlation of the order with the truth; 1 for fewer than two pictures."""
    comparisons_needed: int
    """Further comparisons until that is STABLE."""


def outlook(
    mean: Floats,
    variance: Floats,
    votes: Floats,
    *,
    spread: float,
    stable: float = STABLE,
    seed: int = 0,
) -> Outlook:
    """How stable the order of one class is.

    mean, variance, votes: of its pictures (`live.mean[members]`, …); spread: of all scores. The
    same figures and seed give the same answer. It is an estimate, mostly within two fifths once
    half of the votes are there.
    """
    if len(mean) < 2:
        return Outlook(correlation=1.0, comparisons_needed=0)
    future, precision = _Future(mean, variance, seed), 1 / variance
    levels = np.geomspace(precision.min(), 1e4 * precision.min(), _STEPS)
    # More precision looks worse only by the luck of the draw, so that bisection will do.
    low, high = 0, _STEPS - 1
    while low < high:
        middle = (low + high) // 2
        if future.correlation(float(levels[middle])) >= stable:
            high = middle
        else:
            low = middle + 1
    each = _ideal_votes(precision, np.maximum(precision, levels[low]))
    needed = float(each.sum()) / _efficiency(precision, votes, spread) / 2
    return Outlook(
        correlation=future.correlation(float(levels[0])), comparisons_needed=math.ceil(needed)
    )


class _Future:
    """One class, with the same luck for every number of votes."""

    def __init__(self, mean: Floats, variance: Floats, seed: int) -> None:
        chosen: Ints = np.argsort(mean, kind="stable")
        if len(mean) > PICTURES:
            chosen = chosen[np.linspace(0, len(mean) - 1, PICTURES).astype(np.int64)]
        self._mean, self._precision = mean[chosen], 1 / variance[chosen]
        luck = np.random.default_rng(seed).normal(size=(2, DRAWS, len(chosen)))
        self._truth = self._mean + luck[0] * np.sqrt(variance[chosen])
        self._noise = luck[1]

    def correlation(self, level: float) -> float:
        """Expected Spearman correlation when no precision is below `level`."""
        added = np.maximum(level - self._precision, 0)
        # What the votes to come say of each score, times their precision.
        said = added * self._truth + np.sqrt(added) * self._noise
        scores = (self._precision * self._mean + said) / (self._precision + added)
        return float(np.mean([_spearman(*pair) for pair in zip(scores, self._truth, strict=True)]))


def _ideal_votes(before: Floats, after: Floats) -> Floats:
    """Votes that raise each picture's precision so far.

    A vote about two equal pictures of variance v has h = E[σ'(N(0, 2v))] to say of their
    difference, of which h / (1 + h v) is about each, as the other is uncertain too.
    """
    grid = np.geomspace(float(before.min()), float(after.max()) * (1 + 1e-9), _STEPS)
    middle = 1 / np.sqrt(grid[1:] * grid[:-1])
    said = 0.25 / np.sqrt(1 + math.pi * middle / 4)
    spent = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (1 + said * middle) / said)])
    reached, begun = np.interp(after, grid, spent), np.interp(before, grid, spent)
    return np.asarray(reached - begun, dtype=np.float64)


def _efficiency(precision: Floats, votes: Floats, spread: float) -> float:
    """What a vote has added so far, of what it ideally would; begins at EFFICIENCY."""
    begun = np.minimum(spread**-2, precision)
    guess = EFFICIENCY_VOTES * len(precision)
    ideal = float(_ideal_votes(begun, precision).sum())
    return min((ideal + EFFICIENCY * guess) / (float(votes.sum()) + guess), 1.0)


def _spearman(one: Floats, other: Floats) -> float:
    """Spearman's correlation of values without ties."""
    first, second = (np.argsort(np.argsort(values)) for values in (one, other))
    count = len(one)
    return 1 - 6 * float(np.sum((first - second) ** 2)) / (count * (count**2 - 1))
