"""A picture cut into regions, and which of them touch along how many pixels."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from exporters.vision import Labels, Mask

OUTSIDE = -1
"""The region number of what is clear."""

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Borders:
    """Pairs of touching regions, each once, the smaller number first."""

    one: Indices
    other: Indices
    length_px: NDArray[np.float64]
    """How many pixel edges they share."""


def sums_of(owner: NDArray[np.integer[Any]], values: NDArray[Any], count: int) -> Floats:
    """The sum of each owner's values."""
    return np.asarray(np.bincount(owner, values, count), dtype=np.float64)


def split_regions(labels: Labels, mask: Mask) -> Labels:
    """Number the connected areas of one label (pixels that touch at a side) from 0.

    What the mask leaves out becomes `OUTSIDE`. Numbers follow the reading order of first pixels.
    """
    height, width = labels.shape
    # runs along the rows are joined, not pixels: a hundredth of the nodes
    starts = np.ones((height, width), dtype=np.bool_)
    seen = np.where(mask, labels, OUTSIDE)
    starts[:, 1:] = seen[:, 1:] != seen[:, :-1]
    run = np.cumsum(starts.ravel(), dtype=np.int32) - 1
    above, below = (slice(None, -1), slice(None)), (slice(1, None), slice(None))
    same = (seen[above] == seen[below]) & (starts[above] | starts[below])
    place = np.flatnonzero(same)
    ends = run[place], run[place + width]
    size = int(run[-1]) + 1
    joined = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(size, size))
    _, runs_owner = connected_components(joined, directed=False)
    inside = mask.ravel()[starts.ravel()]  # of each run
    _, first, numbers = np.unique(runs_owner[inside], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int32)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first), dtype=np.int32)
    regions = np.full(size, OUTSIDE, dtype=np.int32)
    regions[inside] = rank[numbers]
    return relabel(regions, run.reshape(height, width))


def relabel(names: NDArray[np.integer[Any]], regions: Labels) -> Labels:
    """Each pixel's entry of `names`; -1 is the last one. Twice as fast as an index, in 32 bits."""
    return np.take(names.astype(np.int32), regions)


def values_of(regions: Labels, values: Labels) -> Indices:
    """What `values` has in each region, where it is the same all over a region."""
    found = np.zeros(int(regions.max(initial=-1)) + 2, dtype=np.int64)
    found[regions.ravel()] = values.ravel()  # what is clear goes to the last, as index -1
    return found[:-1]


def find_borders(regions: Labels) -> Borders:
    """Which regions touch; `OUTSIDE` counts as one, the picture's frame as none."""
    count = int(regions.max(initial=0)) + 2
    flat, width = regions.ravel(), regions.shape[1]
    codes = []
    for gap in (1, width):  # each pixel and the one right of it, then the one below it
        place = np.flatnonzero(flat[gap:] != flat[:-gap])
        if gap == 1:
            place = place[(place + 1) % width != 0]
        one, other = flat[place].astype(np.int64) + 1, flat[place + gap].astype(np.int64) + 1
        codes.append(np.minimum(one, other) * count + np.maximum(one, other))
    pairs, lengths = np.unique(np.concatenate(codes), return_counts=True)
    return Borders(
        one=pairs // count - 1, other=pairs % count - 1, length_px=lengths.astype(np.float64)
    )


def gather(borders: Borders, owner: Indices) -> Borders:
    """The borders after regions became parts of others; `owner` maps old numbers to new ones."""
    shifted = np.append(owner, OUTSIDE)  # index -1 is the last: what is clear stays clear
    one, other = shifted[borders.one], shifted[borders.other]
    kept = one != other
    low = np.minimum(one[kept], other[kept]) + 1
    high = np.maximum(one[kept], other[kept]) + 1
    base = int(high.max(initial=0)) + 1
    pairs, place = np.unique(low * base + high, return_inverse=True)
    return Borders(
        one=pairs // base - 1,
        other=pairs % base - 1,
        length_px=sums_of(place.ravel(), borders.length_px[kept], len(pairs)),
    )
