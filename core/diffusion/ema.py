"""Power-function averaging of weights: a long memory late in training, a short one early."""

from collections.abc import Iterable

import torch
from torch import Tensor


def ema_gamma(relative_width: float) -> float:
    """The exponent γ whose averaging profile has this width, relative to the training's length.

    Solves (γ+1)^½ (γ+2)^-1 (γ+3)^-½ = width (Karras et al. 2024, equation 126) by bisection;
    width in (0, 0.28].
    """
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        width = (middle + 1) ** 0.5 / ((middle + 2) * (middle + 3) ** 0.5)
        low, high = (middle, high) if width > relative_width else (low, middle)
    return (low + high) / 2


@torch.no_grad()
def ema_update(
    average: Iterable[Tensor], current: Iterable[Tensor], *, step: int, gamma: float
) -> None:
    """Move the average towards the current weights in place after training step `step` (from 1).

    β = (1 - 1/step)^(γ+1) (Karras et al. 2024, equation 127); the first step copies.
    """
    beta = (1 - 1 / step) ** (gamma + 1)
    torch._foreach_lerp_(list(average), list(current), 1 - beta)
