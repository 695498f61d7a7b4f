"""From a picture back to the noise that it comes from, and forth again, without randomness.

The way forth is DDIM with eta = 0 (Song et al. 2021, "Denoising diffusion implicit models",
eq. 12), which is Euler's method on the probability-flow equation: from level s to s' < s

    x' = D(x; s) + (s'/s)(x - D(x; s)).

Turned round, x = (s/s')x' + (1 - s/s')D(x; s) holds x on both sides. The usual inversion puts x'
into D instead, and misses; here the equation is solved at each step (fixed-point inversion, as in
Pan et al. 2023, "Effective real image editing with accelerated iterative diffusion inversion"), so
that the way forth leads back to the picture. Walks end at the lowest level: x there is the picture.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from core.diffusion.guidance import Denoise

_ITERATIONS = 40
_TOLERANCE = 2e-5
"""Of x, RMS, in units of the noise level."""
_LEVELS_TRIED = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inverted:
    """Pictures' noise."""

    noise: Tensor
    """N×C×H×W, at the highest level, divided by it: about unit noise when the network has learnt
    the pictures' kind."""
    residual: float
    """What is left of the worst step's error, RMS in units of its noise level."""
    evaluations: int
    """Forwards that it took."""

    @property
    def spread(self) -> list[float]:
        """Standard deviation of each picture's noise; 1 is ideal."""
        return self.noise.double().std((1, 2, 3)).tolist()


def even_levels(low: float, high: float, steps: int) -> list[float]:
    """`steps` + 1 levels with equal ratios, rising: each fixed-point step is then as easy."""
    return [low * (high / low) ** (k / steps) for k in range(steps + 1)]


@torch.no_grad()
def lowest_level(denoise: Denoise, clean: Tensor, low: float, high: float) -> float:
    """The lowest level at which the network leaves these clean pictures alone to within that level.

    Below, what it fails to draw of the pictures would be blown up into noise that no sampling
    begins with.
    """
    for level in even_levels(low, high, _LEVELS_TRIED):
        miss = (denoise(clean, level) - clean).double().square().mean((1, 2, 3)).sqrt().max()
        if float(miss) <= level:
            return level
    return high


@torch.no_grad()
def invert(
    denoise: Denoise, clean: Tensor, levels: Sequence[float], *, iterations: int = _ITERATIONS
) -> Inverted:
    """Walk up the rising levels; clean N×C×H×W is x at the first.

    iterations: at most, for each step; 0 = the usual inversion, which solves nothing.
    """
    x, worst, count = clean, 0.0, 0
    for below, above in itertools.pairwise(levels):
        x, residual, used = _step_up(denoise, x, below, above, iterations)
        worst, count = max(worst, residual), count + used
    return Inverted(noise=x / levels[-1], residual=worst, evaluations=count)


def _step_up(
    denoise: Denoise, below_x: Tensor, below: float, above: float, iterations: int
) -> tuple[Tensor, float, int]:
    """Solve x = r·x' + (1 - r)·D(x; above): x, what is left of the error, forwards.

    Anderson's acceleration of depth 1, picture by picture; plain iteration where D is steep would
    swing.
    """
    ratio = above / below
    x = ratio * below_x + (1 - ratio) * denoise(below_x, below)
    older: tuple[Tensor, Tensor] | None = None
    best, least, used = x, math.inf, 1
    for _ in range(iterations):
        used += 1
        target = ratio * below_x + (1 - ratio) * denoise(x, above)
        error = target - x
        left = float(error.double().square().mean((1, 2, 3)).sqrt().max()) / above
        if left < least:
            best, least = x, left
        if left <= _TOLERANCE:
            break
        following = target if older is None else _mixed(target, error, *older)
        older, x = (target, error), following
    return best, least, used


def _mixed(target: Tensor, error: Tensor, old_target: Tensor, old_error: Tensor) -> Tensor:
    """The mix of the last two targets whose errors, if D were linear, would cancel best."""
    change = error - old_error
    length = change.square().sum((1, 2, 3), keepdim=True).clamp(min=1e-20)
    back = ((error * change).sum((1, 2, 3), keepdim=True) / length).clamp(-2, 2)
    return target - back * (target - old_target)


@torch.no_grad()
def decode(denoise: Denoise, noise: Tensor, levels: Sequence[float]) -> Tensor:
    """Walk down the rising levels from unit noise: pictures, N×C×H×W."""
    x = noise * levels[-1]
    for above, below in itertools.pairwise(reversed(levels)):
        guess = denoise(x, above)
        x = guess + below / above * (x - guess)
    return x
