"""Votes as arrays, and the tally of them that no order of voting changes."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

LEFT, TIE, RIGHT = 1, 0, -1
"""Outcomes of a pair: which picture is better. A skipped pair is no vote."""

STARS = 5


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairVotes:
    """Comparisons in the order in which they were made; arrays of one length."""

    left: Ints
    right: Ints
    outcome: Ints
    """LEFT, TIE or RIGHT."""
    curator: Ints

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int, int]]) -> "PairVotes":
        """From rows of (left, right, outcome, curator)."""
        table = np.array(list(rows), dtype=np.int64).reshape(-1, 4)
        return cls(left=table[:, 0], right=table[:, 1], outcome=table[:, 2], curator=table[:, 3])

    def __len__(self) -> int:
        return len(self.left)

    def where(self, chosen: Flags | Ints) -> "PairVotes":
        """The votes that a mask or positions choose."""
        return PairVotes(
            left=self.left[chosen],
            right=self.right[chosen],
            outcome=self.outcome[chosen],
            curator=self.curator[chosen],
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StarVotes:
    """Stars that curators gave to single pictures; the latest of each should stand."""

    picture: Ints
    stars: Ints
    """1 to 5."""
    curator: Ints

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int]]) -> "StarVotes":
        """From rows of (picture, stars, curator)."""
        table = np.array(list(rows), dtype=np.int64).reshape(-1, 3)
        return cls(picture=table[:, 0], stars=table[:, 1], curator=table[:, 2])

    def __len__(self) -> int:
        return len(self.picture)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairTally:
    """Equal comparisons counted, sides forgotten, sorted; and the pairs that they are of."""

    winner: Ints
    """Of a tie, the picture with the lower number."""
    loser: Ints
    tied: Flags
    curator: Ints
    count: Floats
    edge: Ints
    """Position in `low` and `high`."""
    low: Ints
    high: Ints


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StarTally:
    """Equal stars of one curator for one picture counted, sorted."""

    picture: Ints
    stars: Ints
    curator: Ints
    count: Floats


def tally_pairs(votes: PairVotes, pictures: int) -> PairTally:
    """The same arrays for the same votes, whatever their order and sides."""
    curators = int(votes.curator.max(initial=0)) + 1
    tied = votes.outcome == TIE
    low, high = np.minimum(votes.left, votes.right), np.maximum(votes.left, votes.right)
    won = votes.outcome == LEFT
    winner = np.where(tied, low, np.where(won, votes.left, votes.right))
    loser = np.where(tied, high, np.where(won, votes.right, votes.left))
    keys = ((winner * pictures + loser) * 2 + tied) * curators + votes.curator
    keys, counts = np.unique(keys, return_counts=True)
    rest, curator = np.divmod(keys, curators)
    rest, tied = np.divmod(rest, 2)
    winner, loser = np.divmod(rest, pictures)
    pairs, edge = np.unique(pair_keys(winner, loser, pictures), return_inverse=True)
    low, high = np.divmod(pairs, pictures)
    return PairTally(
        winner=winner,
        loser=loser,
        tied=tied.astype(np.bool_),
        curator=curator,
        count=counts.astype(np.float64),
        edge=edge.astype(np.int64),
        low=low,
        high=high,
    )


def tally_stars(votes: StarVotes) -> StarTally:
    """The same arrays for the same stars, whatever their order."""
    curators = int(votes.curator.max(initial=0)) + 1
    keys = (votes.picture * STARS + votes.stars - 1) * curators + votes.curator
    keys, counts = np.unique(keys, return_counts=True)
    rest, curator = np.divmod(keys, curators)
    picture, stars = np.divmod(rest, STARS)
    return StarTally(
        picture=picture, stars=stars + 1, curator=curator, count=counts.astype(np.float64)
    )


def pair_keys(one: Ints, other: Ints, pictures: int) -> Ints:
    """One number for each pair of pictures, the same for both sides."""
    return np.minimum(one, other) * pictures + np.maximum(one, other)


def summed(places: Ints, weights: Floats, size: int) -> Floats:
    """The sum of the weights at each of `size` places."""
    return np.bincount(places, weights=weights, minlength=size).astype(np.float64, copy=False)
