"""Numbers of a call drawn from its seed, and the curves that recipes are written in."""

import numpy as np

from core.pretrained.calls.syllables import Curve, Resonance

_SPACING_HZ = 1300
_HIGHEST_HZ = 9000


class Draws:
    """A generator with the few ways in which recipes ask it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def around(self, value: float, spread: float = 0.08) -> float:
        """Near a value: log-normal, at most two spreads away."""
        return float(value * np.exp(spread * np.clip(self.rng.standard_normal(), -2, 2)))

    def between(self, low: float, high: float) -> float:
        """Evenly between two values."""
        return float(self.rng.uniform(low, high))

    def count(self, fewest: int, most: int) -> int:
        """A whole number, both ends included."""
        return int(self.rng.integers(fewest, most + 1))

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return bool(self.rng.random() < share)


def curve(*values: float, times: float = 1.0) -> Curve:
    """Values at even distances, all multiplied."""
    last = max(1, len(values) - 1)
    return tuple((place / last, value * times) for place, value in enumerate(values))


def swell(attack: float, hold: float = 0.4, *, end: float = 0.0) -> Curve:
    """Loudness that rises within `attack` of the length, holds and fades to `end`."""
    return ((0.0, 0.0), (attack, 1.0), (max(attack, hold), 0.85), (1.0, end))


def strike(ring: float = 0.25) -> Curve:
    """Loudness of something struck: there at once, then dying away exponentially."""
    fall = np.linspace(0, 1, 12)[:-1]
    dying = ((0.02 + 0.98 * float(x), float(np.exp(-x / ring))) for x in fall)
    return ((0.0, 0.0), *dying, (1.0, 0.0))


def tract(
    *resonances: tuple[float | tuple[float, ...], float], size: float = 1.0, bright: bool = True
) -> tuple[Resonance, ...]:
    """Resonances of (Hz or a path of Hz, width in Hz) for an animal `size` times as large.

    bright: above them come the broad ones that every tube has, without which a call is muffled
    (Fant's correction for the higher poles).
    """
    made = []
    for middle, width in resonances:
        path = middle if isinstance(middle, tuple) else (middle,)
        made.append(Resonance(hz=curve(*path, times=1 / size), width_hz=width / size))
    last = resonances[-1][0] if resonances else 0.0
    highest = max(last) if isinstance(last, tuple) else last
    for middle in np.arange(highest + _SPACING_HZ, _HIGHEST_HZ, _SPACING_HZ) if bright else ():
        width = 0.14 * float(middle) / size
        made.append(Resonance(hz=curve(float(middle) / size), width_hz=width))
    return tuple(made)
