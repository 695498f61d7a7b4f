"""What the ways to cut out share: grow, shrink and mend masks, and carry values past a mask."""

import numpy as np

from core.data.transform import opencv as cv
from core.images import Picture
from exporters.vision import Field, Mask, blur, components, dilate

ISLAND_SHARE = 0.05
"""A piece smaller than this share of the largest is no animal."""
HOLE_SHARE = 0.04
"""A hole smaller than this share of the animal is none."""


def erode(mask: Mask, radius_px: int) -> Mask:
    """Shrink a mask by a disc; the picture's border does not eat into it."""
    return ~dilate(~mask, radius_px)


def ring(shape: tuple[int, ...], width_px: int) -> Mask:
    """The pixels within `width_px` of the picture's border."""
    inside = np.ones(shape[:2], dtype=bool)
    inside[width_px:-width_px, width_px:-width_px] = False
    return inside


def spread(values: Field, known: Mask, sigma_px: float) -> tuple[Field, Field]:
    """Gaussian average of the known values around each pixel, and how much it rests on (0…1)."""
    weight = known.astype(np.float32)
    sums = blur(np.asarray(values * weight[..., None], dtype=np.float32), sigma_px)
    total = blur(weight, sigma_px)
    mean = sums / np.maximum(total, 1e-6)[..., None]
    return np.asarray(mean, dtype=np.float32), total


def keep_pieces(inside: Mask, *, largest: bool, hole_share: float = HOLE_SHARE) -> Mask:
    """A mask without small islands (or with its largest piece alone) and without small holes.

    Holes of up to `hole_share` of the animal are filled.
    """
    pieces, stats = components(inside, diagonal=True)
    areas = stats[1:, 4]
    if areas.size == 0:
        return inside
    least = areas.max() if largest else ISLAND_SHARE * areas.max()
    kept = np.flatnonzero(areas >= least) + 1
    whole = np.isin(pieces, kept[:1] if largest else kept)
    return fill_holes(whole, hole_share * float(whole.sum()))


def fill_holes(inside: Mask, most_px: float) -> Mask:
    """A mask whose holes of up to `most_px` pixels are filled."""
    holes, stats = components(~inside, diagonal=False)
    height, width = inside.shape
    x, y, wide, high, area = stats.T
    closed = (x > 0) & (y > 0) & (x + wide < width) & (y + high < height) & (area <= most_px)
    closed[0] = False
    return np.asarray(inside | closed[holes], dtype=bool)


def touching_border(mask: Mask) -> Mask:
    """The parts of a mask that are connected (by sides) with the picture's border."""
    parts, stats = components(mask, diagonal=False)
    edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    reached = np.zeros(len(stats), dtype=bool)
    reached[edge] = True
    reached[0] = False
    return np.asarray(reached[parts], dtype=bool)


def calm(image_hwc: Picture) -> Picture:
    """A 3×3 median: without single noisy pixels, edges kept."""
    return np.asarray(cv().medianBlur(np.ascontiguousarray(image_hwc), 3), dtype=np.uint8)
