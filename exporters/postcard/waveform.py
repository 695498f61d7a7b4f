"""A call as bars: how loud it is, from its beginning to its end."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.postcard.geometry import Box, Command, Path

_FLOOR = 0.04
"""Silence is a dot, not nothing."""


def loudness_bars(samples: NDArray[Any], count: int) -> list[float]:
    """How loud (0…1) each of `count` equal spans of N samples is, the loudest at 1."""
    edges = np.linspace(0, len(samples), count + 1).round().astype(int).tolist()
    spans = itertools.pairwise(edges)
    means = [
        float(np.square(samples[a:b], dtype=np.float64).mean()) if b > a else 0.0 for a, b in spans
    ]
    loudest = max(means, default=0.0) or 1.0
    # Power to the third: about what the ear makes of it (Stevens's law).
    return [round(max(_FLOOR, (mean / loudest) ** 0.33), 3) for mean in means]


def bars_in(bars: Sequence[float], box: Box) -> Path:
    """Upright strokes in a box, both ways from its middle; to be drawn with a pen of round ends."""
    left, top, width, height = box
    step, middle = width / len(bars), top + height / 2
    commands: list[Command] = []
    for place, bar in enumerate(bars):
        x, half = left + (place + 0.5) * step, bar * height / 2
        commands += [("M", ((x, middle - half),)), ("L", ((x, middle + half),))]
    return tuple(commands)
