"""Pairs asked for again on purpose: a curator's own, for consistency, and others', for agreement.

Both are drawn from all that qualify, not chosen by information, so that what they measure holds for
the pairs that curators see.
"""

from collections.abc import Collection

import numpy as np

from curation_app.ranking.votes import Ints, PairVotes, pair_keys

OWN_SHARE = 0.05
"""Share of questions that repeat one of the curator's own, sides swapped."""
SHARED_SHARE = 0.05
"""Share of questions that another curator has answered, where there are several."""
GAP = 20
"""The last so many pairs are not repeated yet: they may be remembered."""


def repeat_is_due(rng: np.random.Generator, *, share: float = OWN_SHARE) -> bool:
    """Whether the next question should be a repeat."""
    return bool(rng.random() < share)


def pick_repeat(
    own: PairVotes,
    rng: np.random.Generator,
    *,
    in_flight: Collection[tuple[int, int]] = (),
    gap: int = GAP,
) -> tuple[int, int] | None:
    """One of a curator's earlier pairs, sides swapped; None when none qualifies.

    own: the curator's comparisons that stand, oldest first. Each pair is repeated once.
    """
    keys = _keys(own)
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    places = np.sort(first[(counts == 1) & (first < len(own) - gap)])
    place = _drawn(own, places, rng, in_flight)
    return None if place is None else (int(own.right[place]), int(own.left[place]))


def pick_shared(
    others: PairVotes,
    own: PairVotes,
    rng: np.random.Generator,
    *,
    in_flight: Collection[tuple[int, int]] = (),
) -> tuple[int, int] | None:
    """A pair that others compared and this curator did not, sides drawn; None without one."""
    keys = _keys(others)
    _, first = np.unique(keys, return_index=True)
    places = np.sort(first[~np.isin(keys[first], _keys(own))])
    place = _drawn(others, places, rng, in_flight)
    if place is None:
        return None
    pair = (int(others.left[place]), int(others.right[place]))
    return pair if rng.random() < 0.5 else pair[::-1]


def _keys(votes: PairVotes) -> Ints:
    # Any number above all pictures tells pairs apart; the same one makes two logs comparable.
    return pair_keys(votes.left, votes.right, 1 << 31)


def _drawn(
    votes: PairVotes,
    places: Ints,
    rng: np.random.Generator,
    in_flight: Collection[tuple[int, int]],
) -> int | None:
    closed = {frozenset(pair) for pair in in_flight}
    for place in rng.permutation(places)[: len(closed) + 1].tolist():
        if frozenset((int(votes.left[place]), int(votes.right[place]))) not in closed:
            return int(place)
    return None
