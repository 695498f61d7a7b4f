"""Regions merged by rate and distortion: what costs least error per byte saved goes first.

The piecewise constant model of Mumford and Shah, solved by region merging (Koepfler, Lopez, Morel,
"A multiscale algorithm for image segmentation by variational method", 1994): for a price λ, two
regions become one when the squared error that this adds is less than λ times the bytes that it
saves. Raising λ step by step gives one hierarchy per picture, from which any size can be cut
without looking at a pixel again.
"""

import dataclasses

import numpy as np

from exporters.drawing.adjacency import Borders, Floats, Indices, gather, sums_of
from exporters.vision import Field, Labels

SHAPE_BYTES = 24.0
"""What a shape costs beside its outline: its element, colour and starting point."""
EDGE_BYTES = 0.6
"""What a pixel of border costs; measured on photographs and on drawings at 512 px."""
PRICES = tuple(float(price) for price in 2.0 ** np.arange(2, 19, 0.45))
"""λ in squared grey levels per byte, low to high."""
ROUNDS = 6
"""Merging rounds per price; what is left over is merged at the next one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
    """The picture at one price."""

    price: float
    owner: Indices
    """For each region of the first level, the number of the one it became part of."""
    squared_error: float
    """Sum over pixels and channels, in grey levels."""
    bytes: float
    """Estimated size of the SVG."""
    colours: Floats
    """K×3, RGB: one colour per region."""
    labels: Indices
    """K: the palette entry of each region; its own number where colours are free."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Parts:
    """Moments of regions: what their errors can be computed from."""

    area: Floats
    sums: Floats
    squares: Floats
    label: Indices

    def error(self, colour: Floats, of: Indices | slice = slice(None)) -> Floats:
        """Squared error of painting regions in the given colours."""
        cross = (self.sums[of] * colour).sum(axis=1)
        plain = np.square(colour).sum(axis=1)
        return np.asarray(self.squares[of] - 2 * cross + self.area[of] * plain)


def merge_regions(
    regions: Labels,
    colour_hwc: Field,
    borders: Borders,
    weights: Field,
    *,
    labels: Indices | None = None,
    palette_rgb: Floats | None = None,
    most_error: float = np.inf,
) -> list[Level]:
    """Levels from fine to coarse, one per price; the first is the picture as it came.

    `weights` (H×W) say how much a pixel's error counts. With `labels` (one per region) and
    `palette_rgb` regions take palette colours, and the larger one's when they merge; else each has
    the mean of its pixels. A picture whose error is above `most_error` as it comes is left at that.
    """
    count = int(regions.max()) + 1
    label = np.arange(count) if labels is None else labels
    felt = _moments(regions, colour_hwc, weights, label)
    plain = _moments(regions, colour_hwc, None, label)
    owner = np.arange(count)
    levels = [_level(0.0, owner, plain, borders, palette_rgb)]
    if levels[0].squared_error > most_error:
        return levels
    for price in PRICES:
        for _ in range(ROUNDS):
            step = _merge_once(felt, borders, price, palette_rgb)
            if step is None:
                break
            felt, plain = _joined(felt, step), _joined(plain, step)
            borders, owner = gather(borders, step), step[owner]
        levels.append(_level(price, owner, plain, borders, palette_rgb))
        if len(felt.area) == 1:
            break
    return levels


def _moments(regions: Labels, colour_hwc: Field, weights: Field | None, label: Indices) -> _Parts:
    """Of each region; without weights every pixel counts the same."""
    owner = regions.ravel() + np.int64(1)  # what is clear is summed up too, and left out
    count = len(label) + 1
    planes = [colour_hwc[..., axis].ravel() for axis in range(3)]
    square = planes[0] ** 2 + planes[1] ** 2 + planes[2] ** 2
    if weights is None:
        area = np.bincount(owner, minlength=count).astype(np.float64)
    else:
        weight = weights.ravel()
        planes, square = [weight * plane for plane in planes], weight * square
        area = sums_of(owner, weight, count)
    return _Parts(
        area=area[1:],
        sums=np.stack([sums_of(owner, plane, count)[1:] for plane in planes], axis=1),
        squares=sums_of(owner, square, count)[1:],
        label=label,
    )


def _colours(parts: _Parts, palette_rgb: Floats | None) -> Floats:
    if palette_rgb is not None:
        return np.asarray(palette_rgb[parts.label])
    return np.asarray(parts.sums / np.maximum(parts.area, 1e-9)[:, None])


def _merge_once(
    parts: _Parts, borders: Borders, price: float, palette_rgb: Floats | None
) -> Indices | None:
    """New numbers after one round, or None when no merge is worth its price.

    Every region looks at its best neighbour. It joins that one unless the neighbour itself joins
    another in this round: then it waits.
    """
    real = borders.one >= 0
    one, other, length = borders.one[real], borders.other[real], borders.length_px[real]
    if one.size == 0:
        return None
    # the smaller of two regions takes the larger one's colour
    swap = parts.area[one] > parts.area[other]
    small, large = np.where(swap, other, one), np.where(swap, one, other)
    ratio = _added_error(parts, small, large, palette_rgb) / (SHAPE_BYTES + EDGE_BYTES * length)
    worth = ratio < price
    if not worth.any():
        return None
    small, large, ratio = small[worth], large[worth], ratio[worth]
    count = len(parts.area)
    order = np.lexsort((large, ratio, small))
    first = np.unique(small[order], return_index=True)[1]
    target = np.arange(count)
    target[small[order][first]] = large[order][first]
    settled = target[target] == target  # the neighbour stays where it is
    target = np.where(settled, target, np.arange(count))
    _, numbers = np.unique(target, return_inverse=True)
    return np.asarray(numbers.ravel(), dtype=np.int64)


def _added_error(
    parts: _Parts, small: Indices, large: Indices, palette_rgb: Floats | None
) -> Floats:
    colours = _colours(parts, palette_rgb)
    if palette_rgb is None:
        a, b = parts.area[small], parts.area[large]
        gap = np.square(colours[small] - colours[large]).sum(axis=1)
        return np.asarray(a * b / np.maximum(a + b, 1e-9) * gap)
    return parts.error(colours[large], small) - parts.error(colours[small], small)


def _joined(parts: _Parts, numbers: Indices) -> _Parts:
    """Moments after a round of merging; the label of the largest part wins."""
    count = int(numbers.max()) + 1
    order = np.lexsort((np.arange(len(numbers)), -parts.area, numbers))
    first = np.unique(numbers[order], return_index=True)[1]
    sums = [sums_of(numbers, parts.sums[:, axis], count) for axis in range(3)]
    return _Parts(
        area=sums_of(numbers, parts.area, count),
        sums=np.stack(sums, axis=1),
        squares=sums_of(numbers, parts.squares, count),
        label=parts.label[order[first]],
    )


def _level(
    price: float, owner: Indices, parts: _Parts, borders: Borders, palette_rgb: Floats | None
) -> Level:
    colours = _colours(parts, palette_rgb)
    return Level(
        price=price,
        owner=owner,
        squared_error=float(np.maximum(parts.error(colours), 0).sum()),
        bytes=float(SHAPE_BYTES * len(parts.area) + EDGE_BYTES * borders.length_px.sum()),
        colours=colours,
        labels=parts.label,
    )
