"""Scores from the whole log of votes: the same for the same votes, in whatever order they came.

Each picture's score is in logits, with the prior N(0, spread²). The posterior is approximated by
the Gaussian nearest to it (variational: Opper & Archambeau 2009), not by the curvature at its peak,
which from a few votes per picture would take the spread for two thirds of what it is. The
spread, the curators' habits and the cutpoints of stars are point estimates, found along with it.
"""

import dataclasses
import math

import numpy as np

from curation_app.ranking.likelihood import PairsSaid, StarsSaid, pairs_said, stars_said
from curation_app.ranking.network import Network, Precision, Uncertainty, solve
from curation_app.ranking.votes import (
    Floats,
    Ints,
    PairTally,
    PairVotes,
    StarTally,
    StarVotes,
    pair_keys,
    summed,
    tally_pairs,
    tally_stars,
)

SPREAD = 1.5
"""Where the spread begins: of two pictures at random, the better one wins in 3 of 4 votes."""
SPREAD_PICTURES = 8.0
"""How many pictures' scores that first guess is worth."""
CARELESS, CARELESS_VOTES = 0.1, 8.0
"""A new curator's share of careless votes, and how many votes that guess is worth."""
TIES, TIES_VOTES = 0.1, 5.0
"""Likewise for ν of ties, in votes that could have been ties."""
CUTPOINTS = (-2.0, -0.6, 0.6, 2.0)
"""Stars before any are given: about a fifth of the pictures each."""
CUTPOINT_INFORMATION, GENEROSITY_INFORMATION = 4.0, 4.0
"""How firmly cutpoints keep to those, and curators to no generosity: 1/variance."""

CUTPOINT_GAP = 0.1
"""The least distance between cutpoints, in logits."""

ROUNDS = 200
STEP = 1.0
"""The furthest that a score moves in one round, in logits."""
ENOUGH = 5e-3
"""A round that moves scores by less than this, in logits, is the last: a hundredth of what they are
uncertain by. What habits still creep by then changes no order."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Habits:
    """How each curator votes, and what stars mean."""

    careless: Floats
    """Share of votes that say nothing of the pictures."""
    ties: Floats
    """ν: odds of a tie against either side, between equal pictures."""
    generosity: Floats
    """Added to every score before stars are given, in logits."""
    cutpoints: Floats
    """Scores between one and two, …, four and five stars."""

    @classmethod
    def new(cls, curators: int) -> "Habits":
        """Of curators who have not voted yet."""
        return cls(
            careless=np.full(curators, CARELESS),
            ties=np.full(curators, TIES),
            generosity=np.zeros(curators),
            cutpoints=np.array(CUTPOINTS),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What the votes say of each picture."""

    mean: Floats
    """In logits; 0 where nobody voted."""
    variance: Floats
    votes: Ints
    """Comparisons and stars in which each picture took part."""
    spread: float
    """Standard deviation of scores between pictures."""
    habits: Habits
    precision: Precision
    """The inverse of the covariance of all scores."""
    met: Ints
    """Pairs that were compared, as sorted `pair_keys`."""

    @property
    def deviation(self) -> Floats:
        """The standard deviation of each score."""
        return np.sqrt(self.variance)


def fit(
    pictures: int, pairs: PairVotes, stars: StarVotes | None = None, *, curators: int = 0
) -> Scores:
    """Scores of `pictures` pictures from all votes.

    `curators` is how many there are, when some have not voted. Pictures are compared by the chain
    of pairs between them; those without one are placed by the prior alone.
    """
    state = _Fit(pictures, pairs, StarVotes.of([]) if stars is None else stars, curators)
    for _ in range(ROUNDS):
        if state.improve() <= ENOUGH:
            break
    return state.scores()


class _Fit:
    """The estimate on its way."""

    def __init__(self, pictures: int, pairs: PairVotes, stars: StarVotes, curators: int) -> None:
        self.pairs = tally_pairs(pairs, pictures)
        self.stars = tally_stars(stars)
        self.network = Network(pictures, self.pairs.low, self.pairs.high)
        self.votes = np.bincount(
            np.concatenate([pairs.left, pairs.right, stars.picture]), minlength=pictures
        )
        self.curators = max(
            curators, int(max(pairs.curator.max(initial=0), stars.curator.max(initial=0))) + 1
        )
        self.habits = Habits.new(self.curators)
        self.spread = SPREAD
        self.mean = np.zeros(pictures)
        self.uncertainty = Uncertainty(self.network)
        self.own = np.full(pictures, SPREAD**-2)
        self.conductance = np.full(len(self.pairs.low), 0.1)
        self.uncertainty.settle(self.own, self.conductance, rounds=5)

    def improve(self) -> float:
        """One round; how far it moved scores of pictures with votes, as a root mean square."""
        of_pairs, of_stars = self.hear_pairs(), self.hear_stars()
        pull = self.weigh(of_pairs, of_stars)
        step = np.clip(solve(self.precision(), pull), -STEP, STEP)
        self.mean = self.mean + step
        self.uncertainty.settle(self.own, self.conductance, rounds=2)
        self.habits = _learnt(self.habits, self.pairs, of_pairs, self.stars, of_stars)
        before = self.spread
        self.spread = self.learnt_spread()
        moved = math.sqrt(float(np.sum(step**2)) / max(int(np.count_nonzero(self.votes)), 1))
        return max(moved, abs(self.spread - before))

    def hear_pairs(self) -> PairsSaid:
        """What comparisons say at the current estimate."""
        tally = self.pairs
        return pairs_said(
            mean=self.mean[tally.winner] - self.mean[tally.loser],
            variance=self.uncertainty.of_differences(self.conductance)[tally.edge],
            tied=tally.tied,
            careless=self.habits.careless[tally.curator],
            ties=self.habits.ties[tally.curator],
        )

    def hear_stars(self) -> StarsSaid:
        """What stars say at the current estimate."""
        tally = self.stars
        return stars_said(
            mean=self.mean[tally.picture] + self.habits.generosity[tally.curator],
            variance=self.uncertainty.of_scores()[tally.picture],
            stars=tally.stars,
            careless=self.habits.careless[tally.curator],
            cutpoints=self.habits.cutpoints,
        )

    def weigh(self, of_pairs: PairsSaid, of_stars: StarsSaid) -> Floats:
        """Set own and conductance; the gradient at each picture."""
        pairs, stars, size = self.pairs, self.stars, self.network.pictures
        self.conductance = summed(pairs.edge, pairs.count * of_pairs.information, len(pairs.low))
        self.own = self.spread**-2 + summed(stars.picture, stars.count * of_stars.information, size)
        pull = pairs.count * of_pairs.slope
        return (
            summed(pairs.winner, pull, size)
            - summed(pairs.loser, pull, size)
            + summed(stars.picture, stars.count * of_stars.slope, size)
            - self.mean * self.spread**-2
        )

    def precision(self) -> Precision:
        """The precision matrix at the current estimate."""
        return Precision(
            diagonal=self.own + self.network.gathered(self.conductance),
            links=self.network.links(self.conductance),
        )

    def learnt_spread(self) -> float:
        """The spread that the current estimate makes most likely; doubled steps, as EM is slow."""
        voted = self.votes > 0
        squares = float(np.sum(self.mean[voted] ** 2 + self.uncertainty.of_scores()[voted]))
        count = int(voted.sum())
        wanted = (squares + SPREAD_PICTURES * SPREAD**2) / (count + SPREAD_PICTURES)
        return float(np.sqrt(wanted)) ** 2 / self.spread

    def scores(self) -> Scores:
        """The finished estimate."""
        self.uncertainty.settle(self.own, self.conductance, rounds=100)
        return Scores(
            mean=self.mean,
            variance=self.uncertainty.of_scores(),
            votes=self.votes,
            spread=self.spread,
            habits=self.habits,
            precision=self.precision(),
            met=pair_keys(self.pairs.low, self.pairs.high, self.network.pictures),
        )


def _learnt(
    habits: Habits, pairs: PairTally, of_pairs: PairsSaid, stars: StarTally, of_stars: StarsSaid
) -> Habits:
    """Habits after one look at all votes: a step of expectation maximisation."""
    curators = len(habits.careless)

    def total(curator: Ints, weights: Floats) -> Floats:
        return summed(curator, weights, curators)

    careless = (
        CARELESS * CARELESS_VOTES
        + total(pairs.curator, pairs.count * (1 - of_pairs.meant))
        + total(stars.curator, stars.count * (1 - of_stars.meant))
    )
    count = total(pairs.curator, pairs.count) + total(stars.curator, stars.count)
    tied = TIES * TIES_VOTES + total(pairs.curator, pairs.count * pairs.tied)
    against = TIES_VOTES + total(pairs.curator, pairs.count * of_pairs.tie_pull)
    slope = stars.count * of_stars.slope
    information = stars.count * of_stars.information
    generosity = habits.generosity + (
        total(stars.curator, slope) - GENEROSITY_INFORMATION * habits.generosity
    ) / (total(stars.curator, information) + GENEROSITY_INFORMATION)
    return Habits(
        careless=careless / (count + CARELESS_VOTES),
        ties=tied / against,
        generosity=generosity,
        cutpoints=_learnt_cutpoints(habits.cutpoints, stars, of_stars),
    )


def _learnt_cutpoints(cutpoints: Floats, stars: StarTally, said: StarsSaid) -> Floats:
    """Cutpoints after one look at all stars; they stay in order."""
    count = len(cutpoints) + 2
    slopes, information = np.zeros(count), np.zeros(count)
    for places, slope in ((stars.stars - 1, said.below), (stars.stars, said.above)):
        slopes += summed(places, stars.count * slope, count)
        information += summed(places, stars.count * slope**2, count)
    pull = slopes[1:-1] - CUTPOINT_INFORMATION * (cutpoints - CUTPOINTS)
    moved = cutpoints + np.clip(pull / (information[1:-1] + CUTPOINT_INFORMATION), -STEP, STEP)
    gaps = np.maximum(np.diff(moved), CUTPOINT_GAP)
    return np.asarray(moved[0] + np.concatenate([[0.0], np.cumsum(gaps)]), dtype=np.float64)
