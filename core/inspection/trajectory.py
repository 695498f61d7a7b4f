"""How pictures come out of noise: what the network is given and what it guesses, step by step."""

import dataclasses

import torch
from torch import Tensor

from core.diffusion.guidance import Denoise
from core.diffusion.pipeline import starting_noise
from core.diffusion.sampler import dpmpp_2m, noise_levels
from core.inspection.subject import Subject


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One walk from noise to pictures."""

    sigmas: tuple[float, ...]
    """Noise levels at which the network was asked, falling."""
    noisy: Tensor
    """T×N×C×H×W: what it was given."""
    guesses: Tensor
    """T×N×C×H×W: what it took for the clean pictures."""
    labels: Tensor
    """N class indices."""
    guidance: float
    """1 = none."""

    def settled(self) -> list[float]:
        """How far each guess is from the last one, RMS as a share of the first guess's distance."""
        away = (self.guesses - self.guesses[-1]).double().square().mean((1, 2, 3, 4)).sqrt()
        return (away / away[0].clamp(min=1e-12)).tolist()

    def decided_at(self, share: float = 0.5) -> float:
        """The highest noise level from which on guesses stay nearer to the end than this share."""
        away = self.settled()
        near = [k for k in range(len(away)) if max(away[k:]) <= share]
        return self.sigmas[near[0]]


@torch.no_grad()
def walk(subject: Subject, *, steps: int, seed: int, most: int = 4) -> Trajectory:
    """Draw one picture each of up to `most` classes with the model's own guidance, by DPM-Solver++.

    Pictures are those that `sample --guide label --solver dpmpp-2m` makes of these seeds with as
    many steps.
    """
    count = max(1, min(most, len(subject.label_names) or most))
    known = max(1, len(subject.label_names))
    labels = torch.tensor([k * known // count for k in range(count)], device=subject.device)
    denoise, guidance = subject.denoise_guided(labels)
    sigmas = noise_levels(steps, sigma_min=subject.sigma_min, sigma_max=subject.sigma_max)
    seeds = list(range(seed, seed + count))
    start = starting_noise(seeds, subject.shape_chw).to(subject.device) * sigmas[0]
    noisy: list[Tensor] = []
    guesses: list[Tensor] = []
    dpmpp_2m(_noting(denoise, noisy, guesses), start, sigmas, [])
    return Trajectory(
        sigmas=tuple(sigmas[:-1]),
        noisy=torch.stack(noisy),
        guesses=torch.stack(guesses),
        labels=labels,
        guidance=guidance,
    )


def _noting(denoise: Denoise, noisy: list[Tensor], guesses: list[Tensor]) -> Denoise:
    def noting(x: Tensor, sigma: float) -> Tensor:
        guess = denoise(x, sigma)
        noisy.append(x)
        guesses.append(guess)
        return guess

    return noting
