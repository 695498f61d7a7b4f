"""The Fréchet distance between two sets of pictures, from the features of each.

Heusel et al. 2017, "GANs trained by a two time-scale update rule", equation 6: each set is taken as
a Gaussian, and the squared Wasserstein-2 distance of the two is told.
"""

import dataclasses

import torch
from torch import Tensor

from core.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moments:
    """What is kept of a set's features."""

    mean: Tensor
    """D, float64."""
    covariance: Tensor
    """D×D, float64."""


def moments(features: Tensor, weights: Tensor | None = None) -> Moments:
    """Mean and covariance of N×D features, each picture counted by its weight (default: alike).

    UserError for fewer than two pictures with a weight.
    """
    share = torch.ones(len(features)) if weights is None else weights
    if int((share > 0).sum()) < 2:
        raise UserError(f"{len(features)} pictures have no Fréchet distance: two are the least")
    share = share.double() / share.sum()
    mean = share @ features.double()
    centred = features.double() - mean
    # One less than the number of pictures, where all count alike.
    bias = 1 - share.square().sum()
    return Moments(mean=mean, covariance=(share * centred.T) @ centred / bias)


def frechet_of_moments(a: Moments, b: Moments) -> float:
    """|μ₁-μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½).

    (Σ₁Σ₂)^½ has the trace of (Σ₁^½ Σ₂ Σ₁^½)^½, which is symmetric: no root of a matrix that is
    singular, as it is with fewer pictures than features, is sought.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    inner = torch.linalg.eigvalsh(root @ b.covariance @ root)
    apart = (a.mean - b.mean).square().sum()
    spread = a.covariance.trace() + b.covariance.trace() - 2 * inner.clamp(min=0).sqrt().sum()
    return max(0.0, float(apart + spread))


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """The Fréchet distance of two sets of pictures by their features, N×D and M×D; 0 = alike."""
    return frechet_of_moments(moments(features_a), moments(features_b))
