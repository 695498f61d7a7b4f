"""Which noise levels are trained, and how often: a batch's levels from a generator.

All schedules speak of sigma, the standard deviation of the noise beside a picture of full strength:
a variance-preserving process that keeps a share ᾱ of the picture's variance has
sigma² = (1 - ᾱ)/ᾱ, and rectified flow's (1 - t)·picture + t·noise has sigma = t/(1 - t).
"""

import dataclasses
import functools
import math

import torch
from torch import Tensor

from core.diffusion.kinds import NoiseKind

_HIGHEST_START = 80.0
"""Sampling from above this level gains nothing (Karras et al. 2022, table 1)."""
_TAIL = 1e-6
"""Share of the log-normal levels at either end that is drawn in to its quantile."""
_FLOW_MARGIN = 1e-3
"""Flow's t keeps this far from 0 and 1, where the picture or the noise is alone and sigma has no
logarithm or no bound."""
_HIGHEST_BETA = 0.999
"""A step of a variance-preserving process leaves something over (Nichol & Dhariwal 2021)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseSchedule:
    """The distribution of noise levels in training."""

    kind: NoiseKind = "lognormal"
    """`lognormal`: ln(sigma) ~ N(mean, std²); `linear`, `cosine`: the levels of a DDPM schedule,
    each as often as the others; `flow`: t/(1 - t) for uniform t."""
    mean: float = -0.2
    """Mean of ln(sigma), log-normal."""
    std: float = 1.2
    """Standard deviation of ln(sigma), log-normal."""
    timesteps: int = 1000
    """Number of levels, linear and cosine."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` noise levels, float32 on the CPU, one from each of `count` equal slices.

        Stratifying keeps the marginal distribution and lowers the variance of the batch's loss.
        """
        offset = torch.rand(count, generator=generator, dtype=torch.float64)
        order = torch.randperm(count, generator=generator)
        return self._at((order + offset) / count).float()

    def levels(self) -> Tensor | None:
        """The levels of a discrete schedule, float64, rising; None for a continuous one."""
        if self.kind == "linear" or self.kind == "cosine":
            return _sigmas(self.kind, self.timesteps).clone()
        return None

    @property
    def sigma_max(self) -> float:
        """Where sampling should start: the highest level trained, 80 at most."""
        return min(_HIGHEST_START, float(self._at(torch.ones((), dtype=torch.float64))))

    def _at(self, quantile: Tensor) -> Tensor:
        """Levels below which these shares of all draws lie; float64 in [0, 1]."""
        if self.kind == "lognormal":
            normal: Tensor = torch.special.ndtri(quantile.clamp(_TAIL, 1 - _TAIL))
            return (self.mean + self.std * normal).exp()
        if self.kind == "flow":
            t = _FLOW_MARGIN + (1 - 2 * _FLOW_MARGIN) * quantile
            return t / (1 - t)
        index = (quantile * self.timesteps).long().clamp(max=self.timesteps - 1)
        return _sigmas(self.kind, self.timesteps)[index]


@functools.lru_cache(maxsize=4)
def _sigmas(kind: NoiseKind, timesteps: int) -> Tensor:
    """sigma² = 1/ᾱ - 1 with ᾱ = Π(1 - β), by logarithms: exact where ᾱ is near 1 or 0."""
    betas = (_linear_betas if kind == "linear" else _cosine_betas)(timesteps)
    return torch.expm1(-torch.log1p(-betas).cumsum(0)).sqrt()


def _linear_betas(timesteps: int) -> Tensor:
    """Ho et al. 2020's 1e-4 to 0.02 in 1000 steps; in T steps, 1000/T times as large.

    The sum of the betas, and with it the picture's last trace, is then the same for every T.
    """
    scale = 1000 / timesteps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, timesteps, dtype=torch.float64)
    return betas.clamp(max=_HIGHEST_BETA)


def _cosine_betas(timesteps: int) -> Tensor:
    """ᾱ(t) = cos²((t + s)/(1 + s)·π/2), s = 0.008 (Nichol & Dhariwal 2021, equation 17)."""
    t = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    kept = ((t + 0.008) / 1.008 * (math.pi / 2)).cos().square()
    return (1 - kept[1:] / kept[:-1]).clamp(max=_HIGHEST_BETA)
