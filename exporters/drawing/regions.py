"""Flat regions with smooth borders: no specks, no halos, no thin ribbons along the edges."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from exporters.drawing.adjacency import OUTSIDE
from exporters.drawing.palette import Colours
from exporters.vision import (
    Labels,
    Mask,
    blur_levels,
    depth,
    dilate,
    nearest_outside,
    resize_levels,
)

RIBBON_SOURCE_PX = 0.45
"""Half the width of an in-between ribbon, in source pixels: thinner ones are halos."""
HAIR_SOURCE_PX = 0.2
"""Half the width under which even a colour of its own is no line but noise."""

LARGE_SOURCE_PX = 160.0
"""An area, in source pixels, from which a region is surely meant."""


def smooth_labels(labels: Labels, count: int, sigma_px: float) -> Labels:
    """Majority vote in a Gaussian window: borders become smooth curves."""
    return _vote(labels, count, sigma_px, 1)


def enlarge_labels(labels: Labels, count: int, sigma_px: float, scale: int) -> Labels:
    """Labels at `scale` times the resolution, their borders placed between the pixels."""
    return _vote(labels, count, sigma_px, scale)


def absorb_small(
    labels: Labels, regions: Labels, palette: Colours, *, speckle_px: float, source_px: float
) -> Labels:
    """Give specks and halo ribbons to the regions around them.

    `regions` are the labels' connected areas, as `split_regions` numbers them.
    `speckle_px` is an area: a region smaller than it goes, and up to eight times that where its
    colour hardly differs from its surroundings. A ribbon goes when its colour lies between its two
    neighbours' (a halo), or when it is too thin to be a line.
    """
    # a border of two pixels, so that every region has surroundings to look at
    wide_labels = np.pad(labels, 2, mode="edge")
    wide_regions = np.pad(regions, 2, constant_values=OUTSIDE)
    unknown = np.zeros(wide_regions.shape, dtype=np.bool_)
    areas = np.bincount(regions.ravel() + 1)[1:]
    boxes = find_objects(wide_regions + 1)
    for index in np.flatnonzero(areas < LARGE_SOURCE_PX * source_px**2).tolist():
        down, across = boxes[index]
        place = slice(down.start - 2, down.stop + 2), slice(across.start - 2, across.stop + 2)
        here = wide_regions[place]
        piece = here == index
        around = dilate(piece, 2) & ~piece & (here != OUTSIDE)
        label = int(wide_labels[place][piece][0])
        neighbours = wide_labels[place][around]
        area = int(areas[index])
        if _is_clutter(piece, area, label, neighbours, palette, speckle_px, source_px):
            unknown[place] |= piece
    unknown = unknown[2:-2, 2:-2]
    known = (regions != OUTSIDE) & ~unknown
    if not unknown.any() or not known.any():
        return labels
    rows, columns = nearest_outside(~known)
    return np.where(unknown, labels[rows, columns], labels).astype(np.int32)


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


def _vote(labels: Labels, count: int, sigma_px: float, scale: int) -> Labels:
    """Blur each label's indicator, enlarge it, and let the strongest win."""
    height, width = labels.shape
    # whole levels of 255 place a border to a hundredth of a pixel, in a third of the time
    best = np.zeros((height * scale, width * scale), dtype=np.uint8)
    winner = np.zeros(best.shape, dtype=np.uint8 if count < 256 else np.int32)
    labels = labels.astype(winner.dtype)
    margin = int(np.ceil(4 * sigma_px)) + 1
    for label in range(count):
        own = labels == label
        rows, columns = bounds(own, margin)
        if rows.stop == 0:
            continue
        share = blur_levels(own[rows, columns].view(np.uint8) * np.uint8(255), sigma_px)
        if scale > 1:
            wide, high = columns.stop - columns.start, rows.stop - rows.start
            share = resize_levels(share, wide * scale, high * scale)
        place = (
            slice(rows.start * scale, rows.stop * scale),
            slice(columns.start * scale, columns.stop * scale),
        )
        np.copyto(winner[place], label, where=share > best[place])
        np.maximum(best[place], share, out=best[place])
    return winner.astype(np.int32)


def bounds(mask: Mask, margin_px: int) -> tuple[slice, slice]:
    """Rows and columns that hold the mask, with a margin; empty slices for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    height, width = mask.shape
    return (
        slice(max(0, int(rows[0]) - margin_px), min(height, int(rows[-1]) + 1 + margin_px)),
        slice(max(0, int(columns[0]) - margin_px), min(width, int(columns[-1]) + 1 + margin_px)),
    )
