"""Flat regions with smooth borders: no specks, no halos, no thin ribbons along the edges."""

import numpy as np
from numpy.typing import NDArray

from exporters.palette import Colours
from exporters.vision import Field, Labels, Mask, blur, components, depth, dilate, nearest_outside
from exporters.vision import resize_linear

RIBBON_SOURCE_PX = 0.45
"""Half the width of an in-between ribbon, in source pixels: thinner ones are halos."""
HAIR_SOURCE_PX = 0.2
"""Half the width under which even a colour of its own is no line but noise."""


def smooth_labels(labels: Labels, count: int, sigma_px: float) -> Labels:
    """Majority vote in a Gaussian window: borders become smooth curves."""
    return _vote(labels, count, sigma_px, labels.shape[0])


def enlarge_labels(labels: Labels, count: int, sigma_px: float, size_px: int) -> Labels:
    """Labels at a higher resolution, their borders placed between the pixels."""
    return _vote(labels, count, sigma_px, size_px)


def absorb_small(
    labels: Labels, mask: Mask, palette: Colours, *, speckle_px: float, source_px: float
) -> Labels:
    """Give specks and halo ribbons to the regions around them.

    `speckle_px` is an area: a region smaller than it goes, and up to eight times that where its
    colour hardly differs from its surroundings. A ribbon goes when its colour lies between its two
    neighbours' (a halo), or when it is too thin to be a line.
    """
    unknown = np.zeros(labels.shape, dtype=np.bool_)
    for label in range(len(palette)):
        islands, stats = components((labels == label) & mask, diagonal=False)
        for index in range(1, len(stats)):
            area = int(stats[index, 4])
            if area >= 160 * source_px**2:
                continue
            x, y, wide, high = (int(value) for value in stats[index, :4])
            rows = slice(max(0, y - 2), y + high + 2)
            columns = slice(max(0, x - 2), x + wide + 2)
            piece = islands[rows, columns] == index
            around = dilate(piece, 2) & ~piece & mask[rows, columns]
            neighbours = labels[rows, columns][around]
            if _is_clutter(piece, area, label, neighbours, palette, speckle_px, source_px):
                unknown[rows, columns] |= piece
    if not unknown.any() or not (mask & ~unknown).any():
        return labels
    rows_of, columns_of = nearest_outside(unknown | ~mask)
    return np.where(unknown, labels[rows_of, columns_of], labels).astype(np.int32)


def _is_clutter(
    piece: Mask,
    area: int,
    label: int,
    neighbours: Labels,
    palette: Colours,
    speckle_px: float,
    source_px: float,
) -> bool:
    if neighbours.size == 0:
        return False
    if area < speckle_px:
        return True
    counts = np.bincount(neighbours, minlength=len(palette))
    counts[label] = 0
    first, second = np.argsort(-counts, kind="stable")[:2] if len(palette) > 1 else (0, 0)
    contrast = float(np.linalg.norm(palette[label] - palette[first]))
    if area < 8 * speckle_px and contrast < 16:
        return True
    half_width = float(depth(np.pad(piece, 1)).max())
    if half_width < HAIR_SOURCE_PX * source_px:
        return True
    if half_width >= RIBBON_SOURCE_PX * source_px or counts[second] < 0.15 * counts[first]:
        return False
    return _is_between(palette[label], palette[first], palette[second])


def _is_between(
    colour: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]
) -> bool:
    """Whether a colour lies near the line between two others in Lab, and not at its ends."""
    line = other - one
    length = float(np.linalg.norm(line))
    if length < 1:
        return False
    along = float(np.dot(colour - one, line)) / length**2
    off = float(np.linalg.norm(colour - one - along * line))
    return 0.1 < along < 0.9 and off < max(10.0, 0.25 * length)


def _vote(labels: Labels, count: int, sigma_px: float, size_px: int) -> Labels:
    """Blur each label's indicator, enlarge it, and let the strongest win."""
    scale = size_px / labels.shape[0]
    best = np.full((size_px, size_px), -1, dtype=np.float32)
    winner = np.zeros((size_px, size_px), dtype=np.int32)
    margin = int(np.ceil(4 * sigma_px)) + 1
    for label in range(count):
        rows, columns = _bounds(labels == label, margin)
        if rows.stop == 0:
            continue
        share: Field = (labels[rows, columns] == label).astype(np.float32)
        share = blur(share, sigma_px)
        high = slice(round(rows.start * scale), round(rows.stop * scale))
        wide = slice(round(columns.start * scale), round(columns.stop * scale))
        if scale != 1:
            share = resize_linear(share, wide.stop - wide.start, high.stop - high.start)
        stronger = share > best[high, wide]
        winner[high, wide][stronger] = label
        np.maximum(best[high, wide], share, out=best[high, wide])
    return winner


def _bounds(mask: Mask, margin_px: int) -> tuple[slice, slice]:
    """Rows and columns that hold the mask, with a margin; empty slices for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    height, width = mask.shape
    return (
        slice(max(0, int(rows[0]) - margin_px), min(height, int(rows[-1]) + 1 + margin_px)),
        slice(max(0, int(columns[0]) - margin_px), min(width, int(columns[-1]) + 1 + margin_px)),
    )
