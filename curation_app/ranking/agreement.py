"""How far curators agree: with themselves, with each other, and with the fitted order.

Pairs chosen by information are close ones, on which careful people differ too. So every share of
equal answers comes with the share to expect by chance, or of a careful curator.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from curation_app.ranking.likelihood import nodes, pair_terms
from curation_app.ranking.votes import LEFT, RIGHT, TIE, Flags, Floats, Ints, PairVotes, pair_keys

Z95 = 1.959964
"""Standard deviations of a two-sided 95 % interval."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """A share of some cases, with Wilson's 95 % interval (Wilson 1927); all None without cases."""

    cases: int
    hits: int

    @property
    def value(self) -> float | None:
        """hits / cases."""
        return self.hits / self.cases if self.cases else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The lowest and highest share that the cases leave likely."""
        if not self.cases:
            return None
        share, square = self.hits / self.cases, Z95**2 / self.cases
        middle = (share + square / 2) / (1 + square)
        reach = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
        return max(middle - reach, 0.0), min(middle + reach, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Consistency:
    """One curator against themself."""

    alike: Share
    """Of the curator's repeats, those answered as the time before."""
    left: Share
    """Of comparisons that are no ties, those that the left won: half, unless position matters."""
    biased: bool
    """Whether that share's interval leaves one half out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """Two curators on the pairs that both compared."""

    curators: tuple[int, int]
    alike: Share
    kappa: float | None
    """Scott's π: 0 is chance, 1 is always alike; None when chance alone would agree."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithOrder:
    """One curator's comparisons, ties left out, against the fitted order."""

    alike: Share
    expected: float | None
    """The share that a curator who is never careless would reach on the same pairs."""


def consistency(votes: PairVotes) -> Consistency:
    """Of one curator's comparisons, oldest first."""
    order, same = _runs(_keys(votes))
    answers = _answers(votes)[order]
    again = np.flatnonzero(same)
    decided = votes.outcome != TIE
    left = Share(cases=int(decided.sum()), hits=int((votes.outcome == LEFT).sum()))
    bounds = left.interval
    return Consistency(
        alike=Share(cases=len(again), hits=int((answers[again] == answers[again - 1]).sum())),
        left=left,
        biased=bounds is not None and not bounds[0] <= 0.5 <= bounds[1],
    )


def between_curators(votes: PairVotes) -> Iterator[Agreement]:
    """Of every two curators who share pairs, in order.

    Of several answers of one curator to one pair the latest counts.
    """
    latest = votes.where(_latest(votes))
    keys, answers = _keys(latest), _answers(latest)
    held = {
        int(curator): dict(
            zip(
                keys[latest.curator == curator].tolist(),
                answers[latest.curator == curator].tolist(),
                strict=True,
            )
        )
        for curator in np.unique(latest.curator)
    }
    curators = sorted(held)
    for place, one in enumerate(curators):
        for other in curators[place + 1 :]:
            shared = sorted(held[one].keys() & held[other].keys())
            if shared:
                found = [(held[one][key], held[other][key]) for key in shared]
                yield _agreement((one, other), np.array(found))


def overall_kappa(votes: PairVotes) -> float | None:
    """Krippendorff's α of all curators on all shared pairs; None without any."""
    latest = votes.where(_latest(votes))
    keys, answers = _keys(latest), _answers(latest)
    _, unit, size = np.unique(keys, return_inverse=True, return_counts=True)
    shared = size[unit] > 1
    unit, answers = unit[shared], answers[shared]
    if not len(answers):
        return None
    each = size[unit]
    counts = np.zeros((len(size), 3))
    np.add.at(counts, (unit, answers + 1), 1)
    same = counts[unit, answers + 1] - 1
    alike = float(np.sum(same / (each - 1))) / len(answers)
    # Which side of a pair is called first means nothing: wins and losses are one kind.
    tied = float(np.mean(answers == TIE))
    return _corrected(alike, _by_chance(tied, len(answers)))


def with_order(votes: PairVotes, mean: Floats, variance: Floats) -> WithOrder:
    """One curator's comparisons against the fitted scores, to which they have contributed."""
    decided = votes.where(votes.outcome != TIE)
    if not len(decided):
        return WithOrder(alike=Share(cases=0, hits=0), expected=None)
    apart = mean[decided.left] - mean[decided.right]
    hits = int((np.sign(apart) == decided.outcome).sum())
    spread = np.sqrt(variance[decided.left] + variance[decided.right])
    expected = np.zeros(len(decided))
    for place, weight in nodes():
        expected += weight * pair_terms(np.abs(apart) + place * spread, False, 0.0, 0.0)[0]
    return WithOrder(alike=Share(cases=len(decided), hits=hits), expected=float(np.mean(expected)))


def _agreement(curators: tuple[int, int], answers: Ints) -> Agreement:
    alike = Share(cases=len(answers), hits=int((answers[:, 0] == answers[:, 1]).sum()))
    chance = _by_chance(float(np.mean(answers == TIE)), None)
    return Agreement(
        curators=curators, alike=alike, kappa=_corrected(alike.hits / alike.cases, chance)
    )


def _by_chance(tied: float, answers: int | None) -> float:
    """Agreement of answers drawn at random with this share of ties, of so many if that is few."""
    chance = tied**2 + 2 * ((1 - tied) / 2) ** 2
    if answers is None:
        return chance
    # α corrects for small samples: an answer is not paired with itself.
    return (chance * answers - 1) / (answers - 1)


def _corrected(alike: float, chance: float) -> float | None:
    return None if chance >= 1 else (alike - chance) / (1 - chance)


def _keys(votes: PairVotes) -> Ints:
    # Any number above all pictures tells pairs apart.
    return pair_keys(votes.left, votes.right, 1 << 31)


def _answers(votes: PairVotes) -> Ints:
    """Outcomes as seen from the picture with the lower number, whatever the sides."""
    assert RIGHT == -LEFT
    return np.where(votes.left < votes.right, votes.outcome, -votes.outcome)


def _runs(keys: Ints) -> tuple[Ints, Flags]:
    """An order that brings equal keys together, oldest first, and where a key equals the last."""
    order = np.argsort(keys, kind="stable")
    same = np.concatenate([[False], keys[order][1:] == keys[order][:-1]])
    return order, same[: len(keys)]


def _latest(votes: PairVotes) -> Ints:
    """Positions of each curator's latest answer to each pair."""
    order = np.lexsort((np.arange(len(votes)), _keys(votes), votes.curator))
    keys, curators = _keys(votes)[order], votes.curator[order]
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = (keys[1:] != keys[:-1]) | (curators[1:] != curators[:-1])
    return np.sort(order[last])
