"""The kernel distance between two sets of pictures, from the features of each (KID).

Bińkowski et al. 2018, "Demystifying MMD GANs": the squared maximum mean discrepancy under the
kernel (x·y/D + 1)³, estimated without bias, so that it does not depend on the number of pictures
and may be a little under 0. The mean over seeded subsets is told, and their standard deviation.
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError

_LEAST = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure over several draws."""

    mean: float
    std: float
    """Standard deviation of the draws."""


def kernel_distance(
    features_a: Tensor,
    features_b: Tensor,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> Drawn:
    """KID of features N×D and M×D: over `subsets` draws of `subset_size` rows, without repeats.

    A set that has fewer rows is drawn whole. Seeds mean what they mean in torch-fidelity. UserError
    for fewer than two pictures.
    """
    size = min(subset_size, len(features_a), len(features_b))
    if size < _LEAST:
        raise UserError(f"{size} pictures have no kernel distance: two are the least")
    a, b = features_a.double(), features_b.double()
    random = np.random.RandomState(seed)
    found = []
    for _ in range(subsets):
        rows_a = torch.from_numpy(random.choice(len(a), size, replace=False))
        rows_b = torch.from_numpy(random.choice(len(b), size, replace=False))
        found.append(squared_discrepancy(a[rows_a], b[rows_b]))
    return Drawn(mean=float(np.mean(found)), std=float(np.std(found)))


def squared_discrepancy(a: Tensor, b: Tensor) -> float:
    """The unbiased estimate of MMD² of N×D and M×D (equation 4), N and M at least 2."""
    within = _mean_off_diagonal(_kernel(a, a)) + _mean_off_diagonal(_kernel(b, b))
    return float(within - 2 * _kernel(a, b).mean())


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_off_diagonal(kernel: Tensor) -> Tensor:
    count = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))
