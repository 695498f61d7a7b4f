"""Chance for one animal, from nothing but its label and seed."""

import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """Random choices built on uniform doubles alone.

    Bit streams are stable between numpy versions, its higher-level distributions are not
    (numpy NEP 19); the same seed must draw the same animal everywhere.
    """

    def __init__(self, label: str, seed: int) -> None:
        sequence = np.random.SeedSequence([zlib.crc32(label.encode()), seed])
        self._generator = np.random.Generator(np.random.PCG64(sequence))

    def between(self, low: float, high: float) -> float:
        """A uniform number."""
        return low + (high - low) * float(self._generator.random())

    def chance(self, probability: float) -> bool:
        """True that often."""
        return float(self._generator.random()) < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all alike; repeat one to make it likelier."""
        return options[min(int(self.between(0, len(options))), len(options) - 1)]

    def count(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return self.pick(range(low, high + 1))
