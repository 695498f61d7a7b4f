"""What training minimises: the EDM denoising loss (Karras et al. 2022, 2024)."""

import torch
from torch import Tensor

from core.diffusion.denoiser import Denoiser


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


def denoising_loss(
    denoiser: torch.nn.Module,
    clean: Tensor,
    sigma: Tensor,
    noise: Tensor,
    labels: Tensor,
    *,
    sigma_data: float,
) -> Tensor:
    """Loss of each picture, N: squared error of the guess, weighted so that every level counts.

    clean, noise N×C×H×W; sigma, labels N. Weight (σ² + σ_data²) / (σ·σ_data)².
    """
    wide = sigma[:, None, None, None]
    guess: Tensor = denoiser(clean + wide * noise, sigma, labels)
    weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    return weight * (guess - clean).square().mean(dim=(1, 2, 3))


@torch.no_grad()
def held_out_loss(
    denoiser: Denoiser,
    clean: Tensor,
    labels: Tensor,
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
                denoiser,
                clean[part],
                sigma,
                noise[part],
                labels[part],
                sigma_data=denoiser.sigma_data,
            )
            total += float(loss.sum())
        losses[level] = total / len(clean)
    return losses
