"""What one vote says of scores: probabilities, slopes, and their means under uncertainty.

A comparison follows Davidson (1970): with the difference d of two scores in logits, the left wins,
ties or loses in proportion to exp(d/2), ν, exp(-d/2); without ties that is Bradley–Terry. Stars
follow the cumulative logit with four cutpoints (McCullagh 1980). On top of both, a share λ of a
curator's votes is careless and says nothing: such clicks fall on left and right, or on each number
of stars, alike, so that one slip on an obvious pair does not move two pictures across the order.

Means over a Gaussian are taken at Gauss–Hermite nodes. Slopes are of the log-probability; the
information is minus the mean slope of the slope, got by Stein's lemma from the slope alone.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np

from curation_app.ranking.votes import STARS, Flags, Floats, Ints

NODES = 7
_CHUNK = 1 << 14
"""Votes looked at together: their intermediate arrays stay in the processor's cache."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairsSaid:
    """Of each comparison: means under the Gaussian of the difference that it is about."""

    slope: Floats
    information: Floats
    """At least 0: a vote against all expectation is rather careless, and takes nothing away."""
    meant: Floats
    """The probability that it was no careless click."""
    tie_pull: Floats
    """What it says against ties: the mean of meant / (e^{d/2} + e^{-d/2} + ν)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StarsSaid:
    """Of each vote of stars: means under the Gaussian of the score that it is about."""

    slope: Floats
    information: Floats
    meant: Floats
    below: Floats
    """Slope in the cutpoint below it; 0 or less."""
    above: Floats
    """Slope in the cutpoint above it; 0 or more."""


@functools.cache
def nodes(count: int = NODES) -> tuple[tuple[float, float], ...]:
    """Places and weights of a mean over the standard normal."""
    places, weights = np.polynomial.hermite_e.hermegauss(count)
    weights = weights / math.sqrt(2 * math.pi)
    return tuple(
        (float(place), float(weight)) for place, weight in zip(places, weights, strict=True)
    )


def pair_terms(
    d: Floats, tied: Flags | bool, careless: Floats | float, ties: Floats | float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Probability of a vote, its slope in d, the probability that it was meant, and 1/Z.

    d: winner minus loser (or either way round of a tie); ties: ν; Z: the sum of the three weights.
    """
    size = np.abs(d)
    half = np.exp(-0.5 * size)
    small = half * half
    total = 1 + small + ties * half
    won = np.where(d > 0, 1.0, small) / total
    said = np.where(tied, ties * half / total, won)
    chance = np.where(tied, 0.0, 0.5 * careless)
    probability = chance + (1 - careless) * said
    # A tie of ν = 0 cannot happen and has no probability to divide by.
    meant = np.where(tied, 1.0, (1 - careless) * said / np.maximum(probability, 1e-300))
    pull = np.where(tied, 0.0, 0.5) - 0.5 * np.sign(d) * (1 - small) / total
    return probability, meant * pull, meant, half / total


def star_terms(
    score: Floats, stars: Ints, careless: Floats, cutpoints: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Probability of stars, the probability that they were meant, slopes in both cutpoints.

    The slope in the score is minus the sum of those.

    score: in logits, with the curator's generosity added; cutpoints: STARS - 1, rising.
    """
    bounds = np.concatenate([[-np.inf], cutpoints, [np.inf]])
    below, above = _logistic(bounds[stars - 1] - score), _logistic(bounds[stars] - score)
    said = np.maximum(above - below, 1e-12)
    probability = careless / STARS + (1 - careless) * said
    meant = (1 - careless) * said / probability
    share = meant / said
    return probability, meant, -share * below * (1 - below), share * above * (1 - above)


def pairs_said(
    *, mean: Floats, variance: Floats, tied: Flags, careless: Floats, ties: Floats
) -> PairsSaid:
    """What comparisons say of differences that are known as Gaussians."""
    found = np.zeros((4, len(mean)))
    for part in _parts(len(mean)):
        m, spread, t = mean[part], np.sqrt(variance[part]), tied[part]
        out = found[:, part]
        for place, weight in nodes():
            _, slope, meant, z = pair_terms(m + place * spread, t, careless[part], ties[part])
            out[0] += weight * slope
            out[1] -= weight * place * slope
            out[2] += weight * meant
            out[3] += weight * meant * z
        out[1] /= spread
    return PairsSaid(
        slope=found[0], information=np.maximum(found[1], 0), meant=found[2], tie_pull=found[3]
    )


def stars_said(
    *, mean: Floats, variance: Floats, stars: Ints, careless: Floats, cutpoints: Floats
) -> StarsSaid:
    """What stars say of scores that are known as Gaussians."""
    found = np.zeros((4, len(mean)))
    for part in _parts(len(mean)):
        m, spread = mean[part], np.sqrt(variance[part])
        out = found[:, part]
        for place, weight in nodes():
            _, meant, below, above = star_terms(
                m + place * spread, stars[part], careless[part], cutpoints
            )
            out[0] += weight * place * (below + above)
            out[1] += weight * meant
            out[2] += weight * below
            out[3] += weight * above
        out[0] /= spread
    return StarsSaid(
        slope=-found[2] - found[3],
        information=np.maximum(found[0], 0),
        meant=found[1],
        below=found[2],
        above=found[3],
    )


def _logistic(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), dtype=np.float64)


def _parts(length: int) -> Iterator[slice]:
    return (slice(begin, begin + _CHUNK) for begin in range(0, length, _CHUNK))
