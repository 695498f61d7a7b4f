"""What a network makes of the same picture under more and more noise."""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from core.inspection.drawing import decibels
from core.inspection.specimens import Specimens
from core.inspection.subject import Subject

_HIGHEST = 20.0
"""Above this level pictures of values from -1 to 1 are all noise."""
_LOWEST = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class LevelGuesses:
    """Guesses by noise level, rising."""

    sigmas: tuple[float, ...]
    noisy: Tensor
    """L×C×H×W: the first picture."""
    guesses: Tensor
    """L×C×H×W: what the network takes it for."""
    first_db: tuple[float, ...]
    """How near the first picture's guess is to it."""
    mean_db: tuple[float, ...]
    """The same, mean over all pictures."""
    noisy_db: tuple[float, ...]
    """How near the noisy pictures are: what the network had to begin with, mean over all."""
    blind_db: float
    """How near the mean of all these pictures is to each: what nothing but the mean tells."""

    @property
    def gains_db(self) -> tuple[float, ...]:
        """By how much the network is nearer than what it was given."""
        return tuple(m - n for m, n in zip(self.mean_db, self.noisy_db, strict=True))


def spread_levels(subject: Subject, count: int = 8) -> tuple[float, ...]:
    """Noise levels evenly spread by their logarithm over what matters, rising."""
    low, high = max(_LOWEST, subject.sigma_min), min(_HIGHEST, subject.sigma_max)
    step = math.log(high / low) / (count - 1)
    return tuple(float(f"{low * math.exp(k * step):.3g}") for k in range(count))


@torch.no_grad()
def guesses_by_level(
    subject: Subject, specimens: Specimens, sigmas: Sequence[float], *, seed: int = 0
) -> LevelGuesses:
    """Guesses of all pictures at each level, with the same noise at each."""
    clean, noise = specimens.clean, specimens.noise(seed)
    noisy, guesses, guessed_db, noisy_db = [], [], [], []
    for sigma in sigmas:
        x = clean + sigma * noise
        guess = subject.guess(x, torch.full((len(x),), sigma, device=x.device), specimens.labels)
        noisy.append(x[0])
        guesses.append(guess[0])
        guessed_db.append(decibels(guess, clean))
        noisy_db.append(decibels(x, clean))
    return LevelGuesses(
        sigmas=tuple(sigmas),
        noisy=torch.stack(noisy),
        guesses=torch.stack(guesses),
        first_db=tuple(float(found[0]) for found in guessed_db),
        mean_db=tuple(float(found.mean()) for found in guessed_db),
        noisy_db=tuple(float(found.mean()) for found in noisy_db),
        blind_db=float(decibels(clean.mean(0, keepdim=True).expand_as(clean), clean).mean()),
    )
