"""The figures of a set of pictures beside a dataset's, each with its floor, count and spread.

Every figure is told of all pictures; and, to be compared, of seeded draws, class by class, of as
many samples as held-out pictures. Those are real and were never trained on: what they reach is the
floor (for shares, the ceiling) of what samples can. Half of the fewer are drawn each time.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core.evaluation.extractors import Extracted
from core.evaluation.frechet import frechet_of_moments, moments
from core.evaluation.kernel import kernel_distance, squared_discrepancy
from core.evaluation.manifold import NEAREST, Manifold, manifold, overlap
from core.evaluation.score import inception_score
from core.seeds import mixed_seed

NAMES = {
    "frechet": "Fréchet distance",
    "kernel": "Kernel distance (KID)",
    "score": "Inception Score",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
}
"""What is measured, by its key in metrics.json."""
LESS_IS_BETTER = ("frechet", "kernel")
_MOST_COMPARED = 10_000
"""Pictures of a set whose neighbours are looked for; of more, these are spread evenly."""
_SUBSETS, _SUBSET_SIZE = 20, 1000
_LEAST = 2
Suite = dict[str, float | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reals:
    """A dataset's own pictures in the features of an extractor."""

    label_names: tuple[str, ...]
    train: Extracted
    train_labels: Tensor
    """N indices into `label_names`."""
    held_out: Extracted
    """The validation and test pictures."""
    held_out_labels: Tensor


class Comparison:
    """Figures of pictures that were asked to be of some classes, beside the real ones of those.

    Real classes are weighted as the samples' in the Fréchet distance.
    """

    def __init__(self, reals: Reals, labels: Sequence[str]) -> None:
        """labels: the class that each picture was asked to be, N; "" where none was."""
        self._names, self._asked = reals.label_names, asked_of(labels)
        order = {name: index for index, name in enumerate(reals.label_names)}
        self._labels = torch.tensor([order.get(label, -1) for label in labels], dtype=torch.int64)
        shares = self._shares(reals.train_labels)
        rows = (shares > 0).nonzero()[:, 0]
        self._train = reals.train.features[rows]
        self._moments = None
        if len(rows) >= _LEAST:
            self._moments = moments(self._train, shares[rows])
        self._manifold = _manifold(self._train)
        rows = (self._shares(reals.held_out_labels) > 0).nonzero()[:, 0]
        self._held = _rows(reals.held_out, rows)
        self._held_labels = reals.held_out_labels[rows]
        self.held_out = len(rows)
        """Held-out pictures of the classes that were asked for."""

    def measure(
        self, found: Extracted, *, equal: int, draws: int, seed: int
    ) -> dict[str, dict[str, float | int | None]]:
        """Each figure of N pictures: value, count, floor, and both over draws of `equal` pictures.

        equal: at most half of N and of the held-out pictures, so that draws differ.
        """
        count = len(found.features)
        whole = self._suite(found, seed=seed, subsets=_SUBSETS)
        floor_count = min(count, self.held_out)
        floor = self._floor(floor_count, seed=seed, subsets=_SUBSETS)
        drawn, floors = [], []
        for draw in range(draws if equal >= _LEAST else 0):
            rows = _drawn(self._labels, equal, mixed_seed(seed, draw, 1))
            drawn.append(self._suite(_rows(found, rows), seed=seed + draw))
            floors.append(self._floor(equal, seed=mixed_seed(seed, draw, 2) % 2**31))
        return {
            name: {
                "value": whole[name],
                "count": count,
                "floor": floor[name],
                "floor_count": floor_count,
                "equal_count": equal,
                "draws": len(drawn),
                **_spread("drawn", [suite[name] for suite in drawn]),
                **_spread("floor_drawn", [suite[name] for suite in floors]),
            }
            for name in NAMES
        }

    def _floor(self, count: int, *, seed: int, subsets: int = 1) -> Suite:
        # Where samples state no class, the held-out ones are not drawn class by class either.
        classes = self._held_labels if self._asked else torch.zeros_like(self._held_labels)
        rows = _drawn(classes, count, mixed_seed(seed, 3))
        weights = self._shares(self._held_labels[rows])
        return self._suite(_rows(self._held, rows), seed=seed, subsets=subsets, weights=weights)

    def _shares(self, labels: Tensor) -> Tensor:
        """Each picture's weight, N: its class counts as in the samples; alike if nobody asked."""
        if not self._asked:
            return torch.ones(len(labels), dtype=torch.float64)
        wanted = torch.tensor([self._asked.get(name, 0) for name in self._names]).double()
        return (wanted / labels.bincount(minlength=len(self._names)).clamp(min=1))[labels]

    def _suite(
        self, found: Extracted, *, seed: int, subsets: int = 1, weights: Tensor | None = None
    ) -> Suite:
        """All figures; None for what so few pictures do not have."""
        suite: Suite = dict.fromkeys(NAMES)
        count = len(found.features)
        if count < _LEAST or self._moments is None:
            return suite
        # moments() refuses fewer than two pictures that count.
        suite["frechet"] = frechet_of_moments(moments(found.features, weights), self._moments)
        suite["kernel"] = self._kernel(found.features, seed=seed, subsets=subsets)
        if found.probabilities.shape[1]:
            suite["score"] = inception_score(found.probabilities, splits=1).mean
        samples = _manifold(found.features)
        if samples is not None and self._manifold is not None:
            suite |= dataclasses.asdict(overlap(self._manifold, samples))
        return suite

    def _kernel(self, features: Tensor, *, seed: int, subsets: int) -> float:
        if max(len(features), len(self._train)) <= _SUBSET_SIZE:
            return squared_discrepancy(features.double(), self._train.double())
        found = kernel_distance(
            features, self._train, subsets=subsets, subset_size=_SUBSET_SIZE, seed=seed % 2**31
        )
        return found.mean


def by_class(
    found: Extracted, labels: Sequence[str], reals: Reals
) -> dict[str, dict[str, float | int | None]]:
    """For each class: its Fréchet distance at the count that held-out pictures have, and theirs."""
    told = np.array(labels)
    result: dict[str, dict[str, float | int | None]] = {}
    for index, name in enumerate(reals.label_names):
        rows = torch.from_numpy(np.flatnonzero(told == name))
        if not len(rows):
            continue
        train = reals.train.features[reals.train_labels == index]
        held = reals.held_out.features[reals.held_out_labels == index]
        count = min(len(rows), len(held))
        distance = _apart(found.features[_evenly(rows, count)], train)
        places = _evenly(torch.arange(len(held)), count)
        floor = _apart(held[places], train)
        result[name] = {
            "count": len(rows),
            "equal_count": count,
            "frechet": distance,
            "frechet_floor": floor,
        }
    return result


def asked_of(labels: Sequence[str]) -> Counter[str]:
    """How many pictures are of each class; those that state none are not counted."""
    return Counter(label for label in labels if label)


def _apart(features: Tensor, train: Tensor) -> float | None:
    if min(len(features), len(train)) < _LEAST:
        return None
    return frechet_of_moments(moments(features), moments(train))


def _manifold(features: Tensor) -> Manifold | None:
    if len(features) <= NEAREST:
        return None
    return manifold(features[_evenly(torch.arange(len(features)), _MOST_COMPARED)])


def _evenly(rows: Tensor, count: int) -> Tensor:
    """At most `count` of the rows, spread evenly."""
    count = min(count, len(rows))
    return rows[torch.arange(count) * len(rows) // max(1, count)]


def _drawn(labels: Tensor, wanted: int, seed: int) -> Tensor:
    """Rows drawn by chance, of each class as many as its share of all, rising."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    return _evenly(by_class, wanted).sort().values


def _rows(found: Extracted, rows: Tensor) -> Extracted:
    probabilities = found.probabilities
    return Extracted(features=found.features[rows], probabilities=probabilities[rows])


def _spread(name: str, values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return {f"{name}_mean": None, f"{name}_std": None}
    std = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return {f"{name}_mean": float(np.mean(known)), f"{name}_std": std}
