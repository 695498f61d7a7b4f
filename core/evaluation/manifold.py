"""Which pictures lie where the other set lies: precision, recall, density and coverage.

A set's manifold is the balls around its pictures that reach to their k-th nearest of the same set.
Precision is the share of samples inside a real ball, recall the share of real pictures inside a
sample's (Kynkäänniemi et al. 2019). Density counts in how many real balls a sample lies, over k;
coverage is the share of real balls that hold a sample: both feel outliers less (Naeem et al. 2020).
Distances are compared block by block: memory does not grow with the product of the sets.
"""

import dataclasses

import torch
from torch import Tensor

from core.errors import UserError

NEAREST = 5
"""k: what Naeem et al. advise; Kynkäänniemi et al. took 3."""
_BLOCK = 1024
"""Rows compared with all others at a time: 80 MiB beside 10,000."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifold:
    """A set's features with the radius of each picture's ball."""

    features: Tensor
    """N×D, float64."""
    radii: Tensor
    """N distances to the k-th nearest of the same set."""
    nearest: int
    """k."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overlap:
    """How two sets lie in each other."""

    precision: float
    """Share of samples (0…1) that look real."""
    recall: float
    """Share of real pictures (0…1) that samples come near to."""
    density: float
    """Real balls that a sample lies in, over k; about 1 for samples like the real ones."""
    coverage: float
    """Share of real pictures (0…1) with a sample nearby."""


def manifold(features: Tensor, *, nearest: int = NEAREST) -> Manifold:
    """The manifold of N×D features; UserError when N is not above k."""
    if len(features) <= nearest:
        raise UserError(
            f"{len(features)} pictures have no manifold of {nearest} nearest: one more than those "
            "is the least"
        )
    wide = features.double()
    # A picture is its own nearest, so one more is looked at.
    radii = [
        _distances(part, wide).kthvalue(nearest + 1).values for part in torch.split(wide, _BLOCK)
    ]
    return Manifold(features=wide, radii=torch.cat(radii), nearest=nearest)


def overlap(real: Manifold, samples: Manifold) -> Overlap:
    """How samples and real pictures lie in each other; both of the same k."""
    inside, hit = [], []
    covered = torch.zeros(len(real.features), dtype=torch.bool)
    for begin in range(0, len(samples.features), _BLOCK):
        part = samples.features[begin : begin + _BLOCK]
        apart = _distances(real.features, part)
        inside.append((apart < real.radii[:, None]).sum(0))
        hit.append((apart < samples.radii[begin : begin + _BLOCK]).any(1))
        covered |= apart.min(1).values < real.radii
    balls = torch.cat(inside).double()
    return Overlap(
        precision=float((balls > 0).double().mean()),
        recall=float(torch.stack(hit).any(0).double().mean()),
        density=float(balls.mean()) / real.nearest,
        coverage=float(covered.double().mean()),
    )


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean, N×M, by the products of rows: exact differences would take N×M×D."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * (a @ b.T)
    return squares.clamp(min=0).sqrt()
