"""Scores between two refits: each vote moves them at once, locally and cheaply.

A vote is taken in by matching the moments of what it is about, a difference or a score (assumed
density filtering, Opper 1998). In a class of up to EXACT pictures in which pairs are asked for,
covariances move along; elsewhere only the pictures voted on. The next refit, which knows no order,
mends what this leaves.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from curation_app.ranking.likelihood import nodes, pair_terms, star_terms
from curation_app.ranking.model import CARELESS, TIES, Habits, Scores
from curation_app.ranking.votes import RIGHT, TIE, Flags, Floats, Ints, pair_keys

EXACT = 1024
"""Up to so many pictures of a class, covariances are kept: 8 MiB."""
BLOCKS = 8
"""Classes whose covariances are kept: the one not used for longest gives way."""
VOTE_NODES = 15


class Live:
    """Scores that votes move; not for several threads at once."""

    def __init__(self, scores: Scores) -> None:
        self.scores = scores
        self.mean = scores.mean.copy()
        self.variance = scores.variance.copy()
        self.votes = scores.votes.copy()
        self._met: set[int] = set()
        self._heard: list[_Heard] = []
        self._blocks: OrderedDict[bytes, _Block] = OrderedDict()

    @property
    def habits(self) -> Habits:
        """The curators' habits, as of the last refit."""
        return self.scores.habits

    def compare(self, left: int, right: int, outcome: int, curator: int = 0) -> None:
        """Take a comparison in: outcome is LEFT, TIE or RIGHT."""
        first, other = (right, left) if outcome == RIGHT else (left, right)
        careless = _of(self.habits.careless, curator, CARELESS)
        ties = _of(self.habits.ties, curator, TIES)
        self._hear((first, other), lambda d: pair_terms(d, outcome == TIE, careless, ties)[0])
        self._met.add(
            first * len(self.mean) + other if first < other else other * len(self.mean) + first
        )

    def rate(self, picture: int, stars: int, curator: int = 0) -> None:
        """Take stars in, from 1 to 5."""
        generosity = _of(self.habits.generosity, curator, 0.0)
        careless = np.array(_of(self.habits.careless, curator, CARELESS))
        given = np.array(stars)
        self._hear(
            (picture,),
            lambda score: star_terms(score + generosity, given, careless, self.habits.cutpoints)[0],
        )

    def have_met(self, one: Ints, other: Ints) -> Flags:
        """Whether pairs were compared, by whomever."""
        keys = pair_keys(one, other, len(self.mean))
        met = self.scores.met
        places = np.minimum(np.searchsorted(met, keys), len(met) - 1)
        before = met[places] == keys if len(met) else np.zeros(keys.shape, dtype=np.bool_)
        since = np.array([key in self._met for key in keys.ravel().tolist()], dtype=np.bool_)
        return np.asarray(before | since.reshape(keys.shape), dtype=np.bool_)

    def covariance(self, members: Ints) -> Floats | None:
        """The covariance of a class's scores, or None when it has more than EXACT pictures.

        The first call for a class inverts a matrix: 0.1 s of 1,024 pictures, so after a refit best
        made before anybody waits for a pair.
        """
        if len(members) > EXACT:
            return None
        key = members.tobytes()
        if key not in self._blocks:
            block = _Block(members, self.scores.precision.block(members))
            for heard in self._heard:
                block.hear(heard)
            block.invert()
            self.variance[members] = np.diagonal(block.covariance)
            self._blocks[key] = block
        self._blocks.move_to_end(key)
        while len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[key].covariance

    def _hear(self, about: tuple[int, ...], probability: Callable[[Floats], Floats]) -> None:
        """Take one vote in, about the difference of two pictures or the score of one."""
        self.votes[list(about)] += 1
        holding = [block for block in self._blocks.values() if block.holds(about)]
        if holding:
            block = holding[-1]  # the one used last
            members, reach = block.members, block.reach(about)
            spread = block.contrast(about, reach)
        else:
            members = np.array(about)
            reach = self.variance[members] * _SIGNS[: len(about)]
            spread = float(np.abs(reach).sum())
        middle = float(self.mean[about[0]] - (self.mean[about[1]] if len(about) > 1 else 0.0))
        shift, left_over = _moments(middle, spread, probability)
        self.mean[members] += reach * (shift / spread)
        heard = _Heard(about=about, precision=1 / left_over - 1 / spread)
        self._heard.append(heard)
        for block in holding:
            block.hear(heard)
        if holding:
            self.variance[members] = np.diagonal(holding[-1].covariance)
        else:
            self.variance[members] -= reach**2 * ((spread - left_over) / spread**2)


_SIGNS = np.array([1.0, -1.0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Heard:
    """What a vote since the last refit added to the precision matrix: one term of rank one."""

    about: tuple[int, ...]
    precision: float


class _Block:
    """The covariance of one class's scores; its precision until it is inverted."""

    def __init__(self, members: Ints, precision: Floats) -> None:
        self.members, self.covariance = members, precision
        self._inverted = False
        self._places = {int(picture): place for place, picture in enumerate(members)}

    def invert(self) -> None:
        """Turn the precision into the covariance."""
        self.covariance = np.asarray(np.linalg.inv(self.covariance), dtype=np.float64)
        self._inverted = True

    def holds(self, about: tuple[int, ...]) -> bool:
        """Whether all pictures that a vote is about are members."""
        return all(picture in self._places for picture in about)

    def reach(self, about: tuple[int, ...]) -> Floats:
        """The covariance of each member's score with what a vote is about."""
        rows = self.covariance[[self._places[picture] for picture in about]]
        return np.asarray(_SIGNS[: len(about)] @ rows, dtype=np.float64)

    def contrast(self, about: tuple[int, ...], reach: Floats) -> float:
        """The variance of what a vote is about."""
        places = [self._places[picture] for picture in about]
        return float(_SIGNS[: len(about)] @ reach[places])

    def hear(self, heard: _Heard) -> None:
        """Add one vote's term (Sherman & Morrison 1950), if it is about members alone."""
        if not self.holds(heard.about):
            return
        if not self._inverted:
            places = [self._places[picture] for picture in heard.about]
            signs = _SIGNS[: len(places)]
            self.covariance[np.ix_(places, places)] += heard.precision * np.outer(signs, signs)
            return
        reach = self.reach(heard.about)
        share = heard.precision / (1 + heard.precision * self.contrast(heard.about, reach))
        self.covariance -= np.outer(share * reach, reach)


def _moments(
    middle: float, spread: float, probability: Callable[[Floats], Floats]
) -> tuple[float, float]:
    """How far a vote moves N(middle, spread), and the variance that it leaves: never more."""
    places, weights = np.array(nodes(VOTE_NODES)).T
    offsets = places * np.sqrt(spread)
    weights = weights * probability(middle + offsets)
    weights /= weights.sum()
    shift = float(weights @ offsets)
    return shift, min(float(weights @ (offsets - shift) ** 2), 0.999 * spread)


def _of(habit: Floats, curator: int, otherwise: float) -> float:
    """A curator's habit, or the guess for one who voted first after the last refit."""
    return float(habit[curator]) if curator < len(habit) else otherwise
