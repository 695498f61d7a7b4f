"""The pictures as a network of comparisons: solving for scores, and how uncertain each is.

The precision matrix is P = diag(own) + Σ over pairs of h (e_low - e_high)(e_low - e_high)ᵀ, the
Laplacian of a network of conductances h whose nodes have conductances `own` to the ground. So
everything below needs memory for pairs that were compared, never for pairs that could be.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from curation_app.ranking.votes import Floats, Ints, summed

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Network:
    """Pairs that were compared, among `pictures` pictures; each pair once."""

    def __init__(self, pictures: int, low: Ints, high: Ints) -> None:
        from scipy.sparse import csr_array  # takes longer to load than the app's first page

        self.pictures, self.low, self.high = pictures, low, high
        self.source = np.concatenate([low, high])
        self.target = np.concatenate([high, low])
        places = np.arange(1, 2 * len(low) + 1, dtype=np.float64)
        shape = (pictures, pictures)
        matrix = csr_array((places, (self.source, self.target)), shape=shape)
        self._order = matrix.data.astype(np.int64) - 1
        self._matrix = matrix

    def gathered(self, values: Floats) -> Floats:
        """The sum at each picture of its pairs' values."""
        low = summed(self.low, values, self.pictures)
        return low + summed(self.high, values, self.pictures)

    def links(self, conductance: Floats) -> "csr_array":
        """The symmetric matrix of conductances between pictures."""
        matrix = self._matrix.copy()
        matrix.data = np.concatenate([conductance, conductance])[self._order]
        return matrix


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Precision:
    """The precision matrix of all scores: diagonal minus links."""

    diagonal: Floats
    links: "csr_array"

    def times(self, x: Floats) -> Floats:
        """The matrix times a vector."""
        return np.asarray(self.diagonal * x - self.links @ x, dtype=np.float64)

    def block(self, members: Ints) -> Floats:
        """The dense matrix of some pictures, given all others."""
        dense = -self.links[members][:, members].toarray()
        dense[np.diag_indices(len(members))] += self.diagonal[members]
        return np.asarray(dense, dtype=np.float64)


def solve(precision: Precision, right: Floats, *, tolerance: float = 1e-4) -> Floats:
    """Solve P x = right by conjugate gradients, with the diagonal as preconditioner.

    Stops when the residual is `tolerance` of what it was; P is diagonally dominant, so that few
    steps do.
    """
    x = np.zeros_like(right)
    residual = right.copy()
    direction = scaled = residual / precision.diagonal
    was = float(residual @ scaled)
    end = was * tolerance**2
    for _ in range(500):
        if was <= end or was == 0:
            break
        moved = precision.times(direction)
        length = was / float(direction @ moved)
        x += length * direction
        residual -= length * moved
        scaled = residual / precision.diagonal
        now = float(residual @ scaled)
        direction = scaled + (now / was) * direction
        was = now
    return x


class Uncertainty:
    """Variances of scores and of differences of compared pairs, by Gaussian belief propagation.

    Each picture tells each neighbour how firmly it is held without that neighbour: conductances in
    series and parallel (Weiss & Freeman 2001). Exact on trees, near on sparse networks, and linear
    in pairs; in dense ones slightly too sure. Messages are kept: after small changes few rounds do.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._messages = np.zeros(2 * len(network.low))
        self._held = np.ones(network.pictures)

    def settle(
        self, own: Floats, conductance: Floats, *, rounds: int, tolerance: float = 1e-4
    ) -> None:
        """Pass messages until none moves by more than `tolerance` of itself, or for `rounds`."""
        network, count = self._network, len(conductance)
        both = np.concatenate([conductance, conductance])
        for _ in range(rounds):
            self._held = own + summed(network.target, self._messages, network.pictures)
            rest = self._rest(count)
            messages = both * rest / (both + rest)
            change = np.abs(messages - self._messages).max(initial=0.0)
            self._messages = messages
            if change <= tolerance * float(messages.max(initial=0.0)):
                break
        self._held = own + summed(network.target, self._messages, network.pictures)

    def of_scores(self) -> Floats:
        """The variance of each score."""
        return 1 / self._held

    def of_differences(self, conductance: Floats) -> Floats:
        """The variance of each compared pair's difference of scores."""
        rest = self._rest(len(conductance))
        low, high = rest[: len(conductance)], rest[len(conductance) :]
        return 1 / (conductance + low * high / (low + high))

    def _rest(self, count: int) -> Floats:
        """How firmly each message's source is held without the one it speaks to."""
        back = np.concatenate([self._messages[count:], self._messages[:count]])
        return np.asarray(self._held[self._network.source] - back, dtype=np.float64)
