"""The Inception Score: how sure of a class each picture is, and how many classes there are.

Salimans et al. 2016, "Improved techniques for training GANs", section 4: exp of the mean divergence
KL(p(y|x) ‖ p(y)). From 1 (all alike, or none sure) to the number of classes.
"""

import itertools

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from core.evaluation.kernel import Drawn


def inception_score(probabilities: Tensor, *, splits: int = 10, seed: int = 2020) -> Drawn:
    """Mean and standard deviation over `splits` equal shares of N×L class probabilities.

    The rows are shuffled first; seeds mean what they mean in torch-fidelity. UserError for fewer
    rows than splits.
    """
    count = len(probabilities)
    if count < splits:
        raise UserError(f"{count} pictures cannot be split {splits} times for the Inception Score")
    order = torch.from_numpy(np.random.RandomState(seed).permutation(count))
    shuffled = probabilities.double()[order]
    ends = [share * count // splits for share in range(splits + 1)]
    found = [_score(shuffled[begin:end]) for begin, end in itertools.pairwise(ends)]
    return Drawn(mean=float(np.mean(found)), std=float(np.std(found)))


def _score(share: Tensor) -> float:
    """Of one share, N×L; 0 · log 0 counts 0."""
    marginal = share.mean(0, keepdim=True)
    least = torch.finfo(share.dtype).tiny
    divergence = share * (share.clamp(min=least).log() - marginal.clamp(min=least).log())
    return float(divergence.sum(1).mean().exp())
