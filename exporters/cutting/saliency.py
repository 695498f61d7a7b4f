"""What stands out from the picture's border: a guess where the animal is, without any model.

The minimum barrier distance (Zhang et al., "Minimum Barrier Salient Object Detection at 80 FPS",
2015): how far colours must at least range on a way from the border to a pixel. Within the
background they hardly range; into an animal every way crosses its outline.
"""

import numpy as np
from numpy.typing import NDArray

from exporters.cutting.operators import ring
from exporters.vision import Field, blur, resize_linear

WORK_PX = 72
"""Longer side of the copy that is looked at."""
_STEPS = 110
"""Steps that a way may have; relaxed over all pixels at once."""
_BINS = 10
"""Bins of the colour histograms, per axis of Lab."""


def guess_animal(lab: Field) -> Field:
    """H×W, 0…1: how much each pixel stands out from the border by its colour, near the middle."""
    height, width = lab.shape[:2]
    scale = min(1.0, WORK_PX / max(height, width))
    small = resize_linear(
        blur(lab, 1.0), max(3, round(width * scale)), max(3, round(height * scale))
    )
    centred = _centred(*small.shape[:2])
    guess = _stretched(barrier_distance(small) * centred)
    for _ in range(2):
        guess = _stretched((0.5 * guess + 0.5 * _by_colour(small, guess)) * centred)
    return resize_linear(guess, width, height)


def barrier_distance(lab: Field) -> Field:
    """The smallest range of values on any way from the border, summed over the channels."""
    total = np.zeros(lab.shape[:2], dtype=np.float32)
    for channel in range(lab.shape[2]):
        total += _barrier(np.ascontiguousarray(lab[..., channel]))
    return total


def _barrier(values: Field) -> Field:
    """One channel's barrier distance, by relaxing all pixels at once."""
    far = np.full(values.shape, np.inf, dtype=np.float32)
    far[ring(values.shape, 1)] = 0
    high, low = values.copy(), values.copy()
    for _ in range(_STEPS):
        changed = False
        for axis, back in ((0, 1), (0, -1), (1, 1), (1, -1)):
            here, there = _neighbours(values.ndim, axis, back)
            top = np.maximum(high[there], values[here])
            bottom = np.minimum(low[there], values[here])
            range_ = np.where(np.isfinite(far[there]), top - bottom, np.inf)
            better = range_ < far[here]
            changed = changed or bool(better.any())
            far[here] = np.where(better, range_, far[here])
            high[here] = np.where(better, top, high[here])
            low[here] = np.where(better, bottom, low[here])
        if not changed:
            break
    return far


def _neighbours(count: int, axis: int, back: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of all pixels that have a neighbour on one side, and of those neighbours."""
    here, there = [slice(None)] * count, [slice(None)] * count
    here[axis] = slice(1, None) if back == 1 else slice(None, -1)
    there[axis] = slice(None, -1) if back == 1 else slice(1, None)
    return tuple(here), tuple(there)


def _by_colour(lab: Field, guess: Field) -> Field:
    """The share of each colour that is animal, if the guess is right."""
    place = _bins(lab)
    border = ring(lab.shape, max(1, round(0.05 * min(lab.shape[:2])))).astype(np.float32)
    limits = [(0, _BINS)] * 3
    inner = np.histogramdd(place, _BINS, limits, weights=guess.ravel().astype(float))[0]
    outer = np.histogramdd(place, _BINS, limits, weights=(border + 0.5 * (1 - guess)).ravel())[0]
    inner, outer = _smooth(inner / (inner.sum() + 1e-9)), _smooth(outer / (outer.sum() + 1e-9))
    share = (inner + 1e-5) / (inner + outer + 2e-5)
    found = share[tuple(place.astype(np.int64).T)].reshape(lab.shape[:2])
    return blur(found.astype(np.float32), 1.0)


def _centred(height: int, width: int) -> Field:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    return np.asarray(0.3 + 0.7 * np.exp(-(x * x + y * y) / 0.6), dtype=np.float32)


def _stretched(guess: Field) -> Field:
    """From 0 to 1, with a steep middle between the two kinds of pixels (Otsu's threshold)."""
    top = float(np.quantile(guess, 0.98))
    scaled = np.clip(guess / max(top, 1e-6), 0, 1)
    middle = _otsu(scaled)
    return np.asarray(1 / (1 + np.exp(-8 * (scaled - middle))), dtype=np.float32)


def _otsu(values: Field) -> float:
    """The threshold (0…1) that parts values best into two classes."""
    counts, edges = np.histogram(values, bins=64, range=(0, 1))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * np.square(sums / below - (sums[-1] - sums) / above)
    return float(middles[int(np.argmax(np.nan_to_num(between)))])


def _bins(lab: Field) -> NDArray[np.float64]:
    """Place of each pixel in the histogram: N×3."""
    scaled = (lab.reshape(-1, 3) + np.array([0, 64, 64])) / np.array([100.01, 128, 128]) * _BINS
    return np.asarray(np.clip(scaled, 0, _BINS - 1e-3), dtype=np.float64)


def _smooth(histogram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Neighbouring bins share what they hold."""
    for axis in range(3):
        before, after = np.roll(histogram, 1, axis), np.roll(histogram, -1, axis)
        histogram = 0.5 * histogram + 0.25 * (before + after)
    return histogram
