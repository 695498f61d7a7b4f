"""Solvers of the probability-flow ODE, dx/dσ = (x - D(x; σ)) / σ, as plain functions.

Each takes `denoise(x, sigma)`, the starting noise x (N×C×H×W, std sigmas[0]) and a falling list of
noise levels that ends in 0, and returns clean pictures. All are deterministic: the noise decides.
"""

import itertools
import math
from collections.abc import Callable, Sequence

from torch import Tensor

from core.diffusion.guidance import Denoise

Solver = Callable[[Denoise, Tensor, Sequence[float]], Tensor]


def noise_levels(
    steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> list[float]:
    """`steps` noise levels from sigma_max down to sigma_min, then 0 (Karras et al. 2022, eq. 5)."""
    if steps == 1:
        return [sigma_max, 0.0]
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [(top + i / (steps - 1) * (bottom - top)) ** rho for i in range(steps)] + [0.0]


def euler(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """First order, one evaluation a step."""
    for sigma, following in itertools.pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        x = x + (following - sigma) * slope
    return x


def heun(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Second order, two evaluations a step but the last (Karras et al. 2022, algorithm 1)."""
    for sigma, following in itertools.pairwise(sigmas):
        slope = (x - denoise(x, sigma)) / sigma
        ahead = x + (following - sigma) * slope
        if following > 0:
            corrected = (ahead - denoise(ahead, following)) / following
            ahead = x + (following - sigma) * (slope + corrected) / 2
        x = ahead
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """DPM-Solver++(2M): second order multistep, one evaluation a step (Lu et al. 2022, alg. 2)."""
    older: Tensor | None = None
    previous = math.inf
    for sigma, following in itertools.pairwise(sigmas):
        guess = denoise(x, sigma)
        if following == 0:
            return guess
        h = math.log(sigma / following)
        mixed = guess
        if older is not None:
            r = math.log(previous / sigma) / h
            mixed = guess + (guess - older) / (2 * r)
        x = (following / sigma) * x - math.expm1(-h) * mixed
        older, previous = guess, sigma
    return x


SOLVERS: dict[str, Solver] = {"heun": heun, "dpmpp-2m": dpmpp_2m, "euler": euler}
