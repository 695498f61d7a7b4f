"""A clean silhouette: threshold alpha, drop islands, fill pinholes, carry colour past the edge."""

import dataclasses

import numpy as np

from core.errors import UserError
from exporters.vision import Field, Mask, blur, components

ISLAND_SHARE = 0.02
"""An alpha island smaller than this share of the largest is dropped."""
PINHOLE_SOURCE_PX = 3.0
"""A hole of fewer source pixels than this is filled."""
MIN_SHARE = 0.002
"""A picture with less than this share of opaque pixels holds nothing worth tracing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cutout:
    """What is traced: colour everywhere, and where the picture is."""

    colour_hwc: Field
    """Straight RGB, 0…255, carried on smoothly outside the silhouette."""
    level: Field
    """H×W, at least 0 inside the silhouette: its zero line is the smooth contour."""

    @property
    def mask(self) -> Mask:
        """True inside the silhouette."""
        return np.asarray(self.level >= 0)


def cut_out(premultiplied_hwc: Field, *, threshold: float, source_px: float) -> Cutout:
    """Cut an enlarged picture (premultiplied RGBA, 0…255) along alpha = `threshold` (0…1).

    `source_px` is the width of one source pixel in the enlargement. UserError when (almost)
    nothing is opaque.
    """
    alpha = np.clip(premultiplied_hwc[..., 3], 0, 255)
    # a quarter of a source pixel: hides the staircase of a noisy alpha and moves no edge
    soft = blur(alpha, 0.25 * source_px) if source_px >= 1.5 else alpha
    level = np.asarray(soft / 255 - threshold, dtype=np.float32)
    level = _clean(level, source_px)
    share = float(np.mean(level >= 0))
    if share < MIN_SHARE:
        raise UserError(f"only {share:.2%} of the picture is opaque: there is nothing to trace")
    return Cutout(colour_hwc=_carry_outwards(premultiplied_hwc, alpha, source_px), level=level)


def _clean(level: Field, source_px: float) -> Field:
    """Without small islands and pinholes."""
    level = level.copy()
    islands, stats = components(level >= 0, diagonal=True)
    areas = stats[1:, 4]
    if areas.size:
        small = np.flatnonzero(areas < ISLAND_SHARE * areas.max()) + 1
        level[np.isin(islands, small)] = -1
    holes, stats = components(level < 0, diagonal=False)
    height, width = level.shape
    for index in range(1, len(stats)):
        x, y, wide, high, area = stats[index]
        inside = x > 0 and y > 0 and x + wide < width and y + high < height
        if inside and area < PINHOLE_SOURCE_PX * source_px**2:
            level[holes == index] = 1
    return level


def _carry_outwards(premultiplied_hwc: Field, alpha: Field, source_px: float) -> Field:
    """Straight colour; where alpha is too thin to tell, the average of the colours nearby.

    Dividing by a small alpha turns rounding into a rim of false colours.
    """
    straight = premultiplied_hwc[..., :3] * (255 / np.maximum(alpha, 64))[..., None]
    straight = np.clip(straight, 0, 255).astype(np.float32)
    if alpha.min() >= 254:
        return straight
    sure = (alpha >= 160).astype(np.float32)
    sigma = max(1.0, 0.75 * source_px)
    nearby = blur(straight * sure[..., None], sigma) / (blur(sure, sigma) + 1e-6)[..., None]
    trust = np.clip((alpha - 128) / 96, 0, 1)[..., None]
    return np.asarray(straight * trust + nearby * (1 - trust), dtype=np.float32)
