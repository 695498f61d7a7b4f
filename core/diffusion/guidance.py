"""Classifier-free guidance, both halves in one forward, on an interval of noise levels."""

from collections.abc import Callable

import torch
from torch import Tensor

from core.diffusion.denoiser import Denoiser

Denoise = Callable[[Tensor, float], Tensor]
"""(x N×C×H×W, sigma) to the guess of the clean pictures, N×C×H×W."""


def guided(
    denoiser: Denoiser,
    labels: Tensor,
    *,
    scale: float,
    interval: tuple[float, float] = (0.0, float("inf")),
) -> Denoise:
    """A denoise function for `labels` (N) with guidance `scale` (1 = none).

    guess = uncond + scale·(cond - uncond) (Ho & Salimans 2022) for sigma inside `interval`, else
    cond alone (Kynkäänniemi et al. 2024).
    """
    both = torch.cat([labels, torch.full_like(labels, denoiser.no_label)])

    def denoise(x: Tensor, sigma: float) -> Tensor:
        levels = torch.full((len(labels),), sigma, device=x.device)
        if scale == 1 or not interval[0] <= sigma <= interval[1]:
            plain: Tensor = denoiser(x, levels, labels)
            return plain
        pair: Tensor = denoiser(torch.cat([x, x]), levels.repeat(2), both)
        cond, uncond = pair.chunk(2)
        return uncond + scale * (cond - uncond)

    return denoise
