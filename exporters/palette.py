"""A few colours that stand for all: weighted k-means in Lab, the same for the same picture."""

import numpy as np
from numpy.typing import NDArray

from exporters.vision import Field, Labels

Colours = NDArray[np.float64]
"""K×3, in Lab."""

BIN = 3.0
"""Lab units: pixels closer than this are counted together."""
RARITY = 0.6
"""A colour's weight is its pixel count to this power, so that an eye's white keeps its place."""
ROUNDS = 24


def find_palette(lab_nx3: Field, colours: int, *, gap: float) -> Colours:
    """At most `colours` colours; fewer when the colour worst served is within `gap` (ΔE) of one.

    Starts from the weightiest colour and adds the one worst served, so nothing is random. What is
    worst served counts its weight too: the thin tail of a noisy flat area earns no colour.
    """
    points, weights = _bins(lab_nx3)
    centres = points[np.argmax(weights)][None]
    nearest = ((points - centres[0]) ** 2).sum(axis=1)
    while len(centres) < colours:
        worst = int(np.argmax(nearest * weights))
        if nearest[worst] < gap**2:
            break
        centres = np.concatenate([centres, points[worst][None]])
        nearest = np.minimum(nearest, ((points - points[worst]) ** 2).sum(axis=1))
    for _ in range(ROUNDS):
        moved = _means(points, weights, _nearest(points, centres), centres)
        if np.abs(moved - centres).max() < 0.05:
            break
        centres = moved
    return np.asarray(centres)


def assign(lab_hwc: Field, palette: Colours) -> Labels:
    """Index of the nearest palette colour for each pixel."""
    colours = palette.astype(np.float32)
    # |x − p|² is least where 2 p·x − |p|² is most
    scores = (2 * colours) @ lab_hwc.reshape(-1, 3).T
    scores -= np.square(colours).sum(axis=1, keepdims=True)
    return np.asarray(scores.argmax(axis=0).reshape(lab_hwc.shape[:2]), dtype=np.int32)


def _bins(lab_nx3: Field) -> tuple[Colours, NDArray[np.float64]]:
    """The mean colour of each occupied bin, and its weight."""
    codes = np.rint(lab_nx3 / BIN).astype(np.int64) + 64
    keys = (codes[:, 0] << 20) | (codes[:, 1] << 10) | codes[:, 2]
    _, where, counts = np.unique(keys, return_inverse=True, return_counts=True)
    sums = [np.bincount(where.ravel(), weights=lab_nx3[:, axis]) for axis in range(3)]
    return np.stack(sums, axis=1) / counts[:, None], counts.astype(np.float64) ** RARITY


def _nearest(points: Colours, centres: Colours) -> NDArray[np.int64]:
    return np.asarray(((points[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1))


def _means(
    points: Colours, weights: NDArray[np.float64], owner: NDArray[np.int64], centres: Colours
) -> Colours:
    """Weighted means of each centre's points; a centre without points stays."""
    count = len(centres)
    total = np.bincount(owner, weights=weights, minlength=count)
    sums = [np.bincount(owner, weights=weights * points[:, i], minlength=count) for i in range(3)]
    means = np.stack(sums, axis=1) / np.maximum(total, 1e-9)[:, None]
    return np.asarray(np.where(total[:, None] > 0, means, centres))
