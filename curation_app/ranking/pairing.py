"""Which pair to ask for next: the one whose answer leaves the least doubt about the order.

The doubt is the sum over a class of variances of scores, each times the squared density of scores
around it: a score that is wrong by a little costs many ranks where pictures stand close. With the
posterior taken as Gaussian and the answer as a probit one, the mean fall of that sum has a closed
form. It is greatest for two pictures that are uncertain, near each other and in the crowd, and
whose scores tell of others; pictures without votes come first by themselves.
"""

from collections.abc import Collection, Iterator

import numpy as np

from curation_app.ranking.live import Live
from curation_app.ranking.model import CARELESS
from curation_app.ranking.votes import Floats, Ints

SHORTLIST = 1024
"""Pictures looked at in a class too large for covariances, drawn anew for each pair."""
LEAST_VOTED = 32
"""Of them, how many are among the pictures with the fewest votes."""
GAINS = 1 << 13
"""About how many pairs are weighed for one question."""
LOGISTIC_VARIANCE = 1.702**2
"""Of the normal whose distribution function is nearest to the logistic one."""
CROWD = 24
"""Scores that stand for a class when its density is judged."""
_BUSY = 1e-6
"""What a pair is worth when another curator looks at one of its pictures."""


def next_pair(
    live: Live,
    members: Ints,
    rng: np.random.Generator,
    *,
    in_flight: Collection[tuple[int, int]] = (),
    again: bool = False,
) -> tuple[int, int] | None:
    """Left and right of the pair to ask for, of one class; None when there is none.

    members: the class's pictures, always in the same order. in_flight: pairs that other curators
    look at now; they are not asked for, nor their pictures while others serve. A pair that was
    compared before comes again only when `again`. Sides are drawn, and what is drawn comes from
    rng alone.
    """
    if len(members) < 2:
        return None
    anchors, candidates, gains = _weigh(live, members, rng)
    busy = np.array(sorted({picture for pair in in_flight for picture in pair}), dtype=np.int64)
    gains[np.isin(anchors, busy)] *= _BUSY
    gains[:, np.isin(candidates, busy)] *= _BUSY
    gains[anchors[:, None] == candidates] = -1
    closed = {frozenset(pair) for pair in in_flight}
    for places in _best_first(gains):
        one, other = anchors[places // len(candidates)], candidates[places % len(candidates)]
        free = np.ones(len(one), dtype=np.bool_) if again else ~live.have_met(one, other)
        for place in np.flatnonzero(free):
            pair = (int(one[place]), int(other[place]))
            if frozenset(pair) not in closed:
                return pair if rng.random() < 0.5 else pair[::-1]
    return None


def _weigh(live: Live, members: Ints, rng: np.random.Generator) -> tuple[Ints, Ints, Floats]:
    """Anchors, candidates, and what an answer about each pair of them is worth, one by other."""
    covariance = live.covariance(members)
    candidates = members if covariance is not None else _shortlist(live, members, rng)
    mean, variance = live.mean[candidates], live.variance[candidates]
    weight = _density(mean, variance) ** 2
    alone = weight * variance**2 if covariance is None else covariance**2 @ weight
    # Equal gains, as before the first vote, are drawn for.
    luck = alone * (1 + 1e-6 * rng.random(len(alone)))
    count = min(len(candidates), max(1, GAINS // len(candidates)))
    places = np.sort(np.argpartition(luck, len(luck) - count)[len(luck) - count :])
    both = alone[places, None] + alone
    apart = variance[places, None] + variance
    if covariance is not None:
        both -= 2 * (covariance[places] * weight) @ covariance
        apart -= 2 * covariance[places]
    gains = both * _answer(mean[places, None] - mean, apart)
    gains *= 1 + 1e-6 * rng.random(gains.shape)
    return candidates[places], candidates, gains


def _answer(difference: Floats, variance: Floats) -> Floats:
    """The mean fall of a difference's variance by one answer, as a share of variance²."""
    from scipy.special import ndtr  # takes longer to load than the app's first page

    spread = LOGISTIC_VARIANCE + variance
    square = difference**2 / spread
    chance = 0.5 * CARELESS + (1 - CARELESS) * ndtr(np.sqrt(square))
    return np.asarray(np.exp(-square) / (spread * chance * (1 - chance)), dtype=np.float64)


def _density(mean: Floats, variance: Floats) -> Floats:
    """The density of a class's scores around each, by representatives, up to a factor."""
    order = np.sort(mean)
    crowd = order[((np.arange(CROWD) + 0.5) * len(order) / CROWD).astype(np.int64)]
    width = variance + variance.mean()
    kernels = np.exp(-0.5 * (mean[:, None] - crowd) ** 2 / width[:, None])
    return np.asarray(kernels.mean(axis=1) / np.sqrt(width), dtype=np.float64)


def _shortlist(live: Live, members: Ints, rng: np.random.Generator) -> Ints:
    """Some pictures of a large class, at random, and some of those with the fewest votes."""
    votes = live.votes[members]
    fewest = np.flatnonzero(votes == votes.min())
    chosen = np.concatenate(
        [
            rng.integers(len(members), size=SHORTLIST - LEAST_VOTED),
            fewest[rng.integers(len(fewest), size=LEAST_VOTED)],
        ]
    )
    return np.asarray(members[np.unique(chosen)], dtype=np.int64)


def _best_first(gains: Floats) -> Iterator[Ints]:
    """Places of pairs by falling gain: a few, and when none of them serves, all."""
    flat = gains.ravel()
    possible = int((flat > 0).sum())
    for count in (min(64, possible), possible):
        if count:
            places = np.argpartition(flat, len(flat) - count)[len(flat) - count :]
            yield np.asarray(places[np.argsort(-flat[places], kind="stable")], dtype=np.int64)
