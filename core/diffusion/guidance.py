"""Guidance: from what the network guesses to what the sampler is told, at each noise level.

All kinds push the guess for the class away from a worse one, on an interval of noise levels
(Kynkäänniemi et al. 2024, "Applying guidance in a limited interval"). The worse guess is the same
network's without the class (Ho & Salimans 2022), or an earlier snapshot's with it (Karras et al.
2024, "Guiding a diffusion model with a bad version of itself").
"""

from collections.abc import Callable

import torch
from torch import Tensor

from core.diffusion.denoiser import Denoiser

Denoise = Callable[[Tensor, float], Tensor]
"""(x N×C×H×W, sigma) to the guess of the clean pictures, N×C×H×W."""

_TINY = 1e-12
"""An empty picture has no direction and no spread."""


def guided(
    denoiser: Denoiser,
    labels: Tensor,
    *,
    scale: float,
    interval: tuple[float, float] = (0.0, float("inf")),
    parallel: float = 1.0,
    rescale: float = 0.0,
    guide: Denoiser | None = None,
) -> Denoise:
    """A denoise function for `labels` (N), guided by `scale` (1 = not at all) in `interval`.

    parallel, rescale: see `extrapolated`. guide: the worse network, which is then shown the class;
    without one, the worse guess is the denoiser's own for no class, made in the same forward.
    """
    both = torch.cat([labels, torch.full_like(labels, denoiser.no_label)])

    def denoise(x: Tensor, sigma: float) -> Tensor:
        levels = torch.full((len(labels),), sigma, device=x.device)
        if scale == 1 or not interval[0] <= sigma <= interval[1]:
            plain: Tensor = denoiser(x, levels, labels)
            return plain
        if guide is not None:
            good, bad = denoiser(x, levels, labels), guide(x, levels, labels)
        else:
            pair: Tensor = denoiser(torch.cat([x, x]), levels.repeat(2), both)
            good, bad = pair.chunk(2)
        return extrapolated(good, bad, scale, parallel=parallel, rescale=rescale)

    return denoise


def extrapolated(
    good: Tensor, bad: Tensor, scale: float, *, parallel: float = 1.0, rescale: float = 0.0
) -> Tensor:
    """good + (scale - 1)·(good - bad), picture by picture, N×C×H×W.

    parallel: share that is left of the part of good - bad along `good`, which saturates colours;
    0 leaves the orthogonal part alone (Sadat et al. 2024, "Eliminating oversaturation and artifacts
    of high guidance scales", equations 8 and 9).
    rescale: how far the result's spread goes back to that of `good`, 0 to 1 (Lin et al. 2023,
    "Common diffusion noise schedules and sample steps are flawed", equations 15 and 16), about the
    result's mean, so that no empty background turns grey.
    """
    push, dims = good - bad, (1, 2, 3)
    if parallel != 1:
        length = good.square().sum(dims, keepdim=True).clamp(min=_TINY)
        along = (push * good).sum(dims, keepdim=True) / length
        push = push - (1 - parallel) * along * good
    guess = good + (scale - 1) * push
    if rescale:
        ratio = good.std(dims, keepdim=True) / guess.std(dims, keepdim=True).clamp(min=_TINY)
        mean = guess.mean(dims, keepdim=True)
        guess = mean + (guess - mean) * (1 + rescale * (ratio - 1))
    return guess
