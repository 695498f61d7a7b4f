"""What training minimises: the EDM denoising loss (Karras et al. 2022, 2024)."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor


def draw_sigma(count: int, *, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """`count` noise levels, ln(sigma) ~ N(mean, std²), one from each of `count` equal slices.

    Stratifying keeps the marginal distribution and lowers the variance of the batch's loss.
    """
    offset = torch.rand(count, generator=generator, dtype=torch.float64)
    order = torch.randperm(count, generator=generator)
    quantile = (order + offset) / count
    normal = torch.special.ndtri(quantile.clamp(1e-6, 1 - 1e-6))
    sigma: Tensor = (mean + std * normal).exp()
    return sigma.float()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighting:
    """How much an error counts at each noise level: (σ² + σ_data²) / (σ·σ_data)²."""

    sigma_data: float
    """Spread of the data."""
    sigma_floor: float = 0.0
    """Levels below count like this one: their errors hardly show, but would rule the loss."""

    def at(self, sigma: Tensor) -> Tensor:
        """Weights, N, of noise levels, N."""
        level = sigma.clamp(min=self.sigma_floor)
        return (level**2 + self.sigma_data**2) / (level * self.sigma_data) ** 2


def denoising_loss(
    denoiser: Callable[[Tensor, Tensor, Tensor], Tensor],
    clean: Tensor,
    sigma: Tensor,
    noise: Tensor,
    labels: Tensor,
    weighting: Weighting,
) -> Tensor:
    """Weighted squared error of each picture's guess, N.

    clean, noise N×C×H×W; sigma, labels N.
    """
    guess = denoiser(clean + sigma[:, None, None, None] * noise, sigma, labels)
    return weighting.at(sigma) * (guess - clean).square().mean(dim=(1, 2, 3))


@torch.no_grad()
def held_out_loss(
    denoiser: Callable[[Tensor, Tensor, Tensor], Tensor],
    clean: Tensor,
    labels: Tensor,
    weighting: Weighting,
    *,
    sigmas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0),
    batch_size: int = 64,
) -> dict[float, float]:
    """Mean loss at fixed noise levels with fixed noise, by level: comparable over time."""
    losses: dict[float, float] = {}
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    for level in sigmas:
        total = 0.0
        for begin in range(0, len(clean), batch_size):
            part = slice(begin, begin + batch_size)
            sigma = torch.full((len(clean[part]),), level, device=clean.device)
            loss = denoising_loss(
                denoiser, clean[part], sigma, noise[part], labels[part], weighting
            )
            total += float(loss.sum())
        losses[level] = total / len(clean)
    return losses
