"""Which of several sounds is kept as an animal's call: a rule of three measures.

A silent sound loses to every other, and one that clips to every one that does not. Among the rest
the lowest cost wins:

    cost = distance + 4 × silent share

distance: root mean square distance, in standard deviations, between the sound's features
(`core.pretrained.calls.features`) and those of the embedded synthesiser's calls of its class;
silent share: the part of the sound (0…1) that is a pause.
"""

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from core.pretrained.calls.features import features, silent_share
from core.pretrained.calls.levels import is_silent
from core.pretrained.calls.syllables import RATE_HZ, Wave
from core.pretrained.calls.synthesis import synthesise

_CLIPPED = 0.999
_MOST_CLIPPED = 1e-3
_REFERENCES = 6
_WEIGHT_OF_SILENCE = 4.0
_SPREAD = 0.5
"""Least deviation of a feature: no class is so alike that a smaller difference would tell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """What the rule goes by."""

    clipped: float
    """Share of samples at full scale."""
    silent: float
    """Share of the sound that is a pause; 1 for one without any sound."""
    distance: float
    """From the class's recipe, in standard deviations."""

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Lower is better."""
        cost = self.distance + _WEIGHT_OF_SILENCE * self.silent
        return not self.usable, self.clipped > _MOST_CLIPPED, cost

    @property
    def usable(self) -> bool:
        """Whether there is anything to hear."""
        return self.silent < 1


def judge(wave: Wave, rate_hz: int, label: str) -> Quality:
    """Measure a raw sound, before it is levelled."""
    if not np.isfinite(wave).all() or is_silent(wave, rate_hz):
        return Quality(clipped=0.0, silent=1.0, distance=99.0)
    middle, spread = _reference(label)
    away = (features(wave, rate_hz) - middle) / spread
    return Quality(
        clipped=round(float((np.abs(wave) >= _CLIPPED).mean()), 6),
        silent=round(silent_share(wave, rate_hz), 4),
        distance=round(float(np.sqrt(np.mean(away**2))), 4),
    )


@functools.lru_cache(maxsize=32)
def _reference(label: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of the features of a class's synthesised calls."""
    heard = [features(synthesise(label, seed), RATE_HZ) for seed in range(_REFERENCES)]
    return np.mean(heard, axis=0), np.std(heard, axis=0) + _SPREAD
