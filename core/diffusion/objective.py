"""What training minimises: the weighted error of the guessed clean picture, level by level."""

import dataclasses
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from core.diffusion.kinds import Prediction, WeightingKind

_FEATURES = 128
"""Fourier features of the noise level that the learned uncertainty sees (Karras et al. 2024)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighting:
    """How much a squared error of the clean picture counts at each noise level."""

    sigma_data: float
    """Spread of the data that the kinds `edm` and `learned` assume."""
    sigma_floor: float = 0.0
    """Their levels below count like this one: errors there hardly show, but would rule the loss."""
    kind: WeightingKind = "edm"
    """`edm`: (σ² + σ_data²)/(σ·σ_data)² (Karras et al. 2022, table 1); `learned`: the same, to be
    levelled by a `LearnedUncertainty`; `min-snr`: min(1/σ², gamma) (Hang et al. 2023, section 3.4);
    `uniform`: an error of what the network writes counts the same at every level."""
    gamma: float = 5.0
    """Highest weight of `min-snr`."""
    prediction: Prediction = "edm"
    """What the network writes, for `uniform`."""
    scale: tuple[float, ...] = (1.0,)
    """Spread of each frequency that the network writes, for `uniform`."""

    def at(self, sigma: Tensor) -> Tensor:
        """Weights, N, of noise levels, N."""
        if self.kind == "min-snr":
            return (1 / sigma**2).clamp(max=self.gamma)
        if self.kind == "uniform":
            return 1 / self._output_variance(sigma)
        level = sigma.clamp(min=self.sigma_floor)
        return (level**2 + self.sigma_data**2) / (level * self.sigma_data) ** 2

    def _output_variance(self, sigma: Tensor) -> Tensor:
        """Squared error of a clean value, N, when the network's output errs by 1 everywhere.

        The mean of c_out² over the frequencies, with spread s (see `Denoiser`): s² for the clean
        picture, σ² for the noise, (sσ)²/(s + σ)² for flow, (sσ)²/(s² + σ²) for velocity and EDM.
        """
        if self.prediction == "noise":
            return sigma**2
        scale, wide = _on_device(self.scale, sigma.device), sigma[:, None]
        if self.prediction == "clean":
            factor = scale.expand(len(sigma), -1)
        elif self.prediction == "flow":
            factor = scale / (1 + scale / wide)
        else:
            factor = scale / (1 + (scale / wide) ** 2).sqrt()
        return factor.square().mean(1)


class LearnedUncertainty(nn.Module):
    """u(σ), a learned logarithm of the loss at each level, by which the loss is divided.

    All levels then have gradients of about the same size (Kendall et al. 2018; Karras et al. 2024,
    equation 14). One linear layer on Fourier features of ln(σ)/4, 0 everywhere before training.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        frequencies = 2 * math.pi * torch.randn(_FEATURES, generator=generator)
        phases = 2 * math.pi * torch.rand(_FEATURES, generator=generator)
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("phases", phases)
        self.weight = nn.Parameter(torch.zeros(_FEATURES))
        self.frequencies: Tensor
        self.phases: Tensor

    def forward(self, sigma: Tensor) -> Tensor:
        """u, N, of noise levels, N."""
        angle = sigma.log()[:, None] / 4 * self.frequencies + self.phases
        return angle.cos() @ self.weight * math.sqrt(2 / _FEATURES)


def denoising_loss(
    denoiser: Callable[[Tensor, Tensor, Tensor], Tensor],
    clean: Tensor,
    sigma: Tensor,
    noise: Tensor,
    labels: Tensor,
    weighting: Weighting,
    *,
    uncertainty: LearnedUncertainty | None = None,
) -> Tensor:
    """Weighted squared error of each picture's guess, N; with an uncertainty, error/exp(u) + u.

    clean, noise N×C×H×W; sigma, labels N.
    """
    guess = denoiser(clean + sigma[:, None, None, None] * noise, sigma, labels)
    errors = weighting.at(sigma) * (guess - clean).square().mean(dim=(1, 2, 3))
    if uncertainty is None:
        return errors
    level: Tensor = uncertainty(sigma)
    return errors * (-level).exp() + level


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutLoss:
    """Mean loss of pictures that were not trained on, at fixed noise levels with fixed noise."""

    by_level: dict[float, float]
    """Over all pictures, by noise level."""
    by_class: dict[int, float]
    """Over all levels and the pictures of a class, by class index; only classes that have any."""
    cells: dict[tuple[float, int], float]
    """By noise level and class index."""

    @property
    def mean(self) -> float:
        """Over levels and pictures."""
        return sum(self.by_level.values()) / len(self.by_level)


@torch.no_grad()
def held_out_loss(
    denoiser: Callable[[Tensor, Tensor, Tensor], Tensor],
    clean: Tensor,
    labels: Tensor,
    weighting: Weighting,
    *,
    sigmas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0),
    batch_size: int = 64,
) -> HeldOutLoss:
    """The weighted error at fixed noise levels with fixed noise: comparable over time.

    clean N×C×H×W, at least one; labels N. A learned uncertainty has no part in it.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    rows = []
    for level in sigmas:
        sigma = torch.full((len(clean),), level, device=clean.device)
        parts = [slice(begin, begin + batch_size) for begin in range(0, len(clean), batch_size)]
        losses = [
            denoising_loss(denoiser, clean[p], sigma[p], noise[p], labels[p], weighting)
            for p in parts
        ]
        rows.append(torch.cat(losses))
    return _summed_up(torch.stack(rows).cpu().double(), labels.cpu(), sigmas)


def _summed_up(losses: Tensor, labels: Tensor, sigmas: tuple[float, ...]) -> HeldOutLoss:
    """Means of losses, levels × pictures."""
    by_class = {label: losses[:, labels == label] for label in sorted(set(labels.tolist()))}
    return HeldOutLoss(
        by_level={level: float(row.mean()) for level, row in zip(sigmas, losses, strict=True)},
        by_class={label: float(part.mean()) for label, part in by_class.items()},
        cells={
            (level, label): float(row.mean())
            for label, part in by_class.items()
            for level, row in zip(sigmas, part, strict=True)
        },
    )


@functools.lru_cache(maxsize=8)
def _on_device(values: tuple[float, ...], device: torch.device) -> Tensor:
    """The values as a tensor, copied to the device once and not at each step."""
    return torch.tensor(values, device=device)
