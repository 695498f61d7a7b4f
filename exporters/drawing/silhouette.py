"""A clean silhouette: threshold alpha, drop islands, fill pinholes, carry colour past the edge."""

import numpy as np

from core.errors import UserError
from exporters.vision import (
    Field,
    Mask,
    blur,
    colour_of,
    components,
    for_each_colour,
    resize_linear,
)

ISLAND_SHARE = 0.02
"""An alpha island smaller than this share of the largest is dropped."""
PINHOLE_SOURCE_PX = 3.0
"""A hole of fewer source pixels than this is filled."""
MIN_SHARE = 0.002
"""A picture with less than this share of opaque pixels holds nothing worth tracing."""


def find_silhouette(premultiplied_hwc: Field, *, threshold: float, ramp_px: float) -> Field:
    """H×W, at least 0 where alpha reaches `threshold` (0…1): its zero line is a smooth contour.

    The picture is premultiplied RGBA, 0…255; `ramp_px` is the width of one source pixel in it.
    UserError when (almost) nothing is opaque.
    """
    alpha = np.ascontiguousarray(premultiplied_hwc[..., 3])
    # a quarter of a source pixel: hides the staircase of a noisy alpha and moves no edge
    soft = blur(alpha, 0.25 * ramp_px) if ramp_px >= 1.5 else alpha
    level = _clean(np.asarray(soft / 255 - threshold, dtype=np.float32), ramp_px)
    share = float(np.mean(level >= 0))
    if share < MIN_SHARE:
        raise UserError(f"only {share:.2%} of the picture is opaque: there is nothing to trace")
    return level


def carry_outwards(premultiplied_hwc: Field, ramp_px: float) -> Field:
    """Straight colour; where alpha is too thin to tell, the average of the colours nearby.

    Dividing by a small alpha turns rounding into a rim of false colours.
    """
    alpha = np.ascontiguousarray(premultiplied_hwc[..., 3])
    share = np.asarray(255 / np.maximum(alpha, 64), dtype=np.float32)
    straight: Field = colour_of(premultiplied_hwc) * for_each_colour(share)
    np.minimum(straight, 255, out=straight)
    if alpha.min() >= 254:
        return straight
    nearby = _nearby(straight, alpha >= 160, max(1.0, 0.75 * ramp_px))
    trust = np.clip((alpha - 128) * np.float32(1 / 96), 0, 1)
    straight -= nearby
    straight *= for_each_colour(trust)
    straight += nearby
    return np.asarray(straight, dtype=np.float32)


def _nearby(colour_hwc: Field, sure: Mask, sigma_px: float) -> Field:
    """Each pixel's average of the sure colours in a Gaussian window."""
    height, width = sure.shape
    shrink = 2 if sigma_px >= 3 and min(height, width) > 8 else 1  # so wide a blur needs few pixels
    weight = sure.astype(np.float32)
    seen = colour_hwc * for_each_colour(weight)
    if shrink > 1:
        size = -(-width // shrink), -(-height // shrink)
        seen, weight = resize_linear(seen, *size), resize_linear(weight, *size)
    total = blur(weight, sigma_px / shrink) + np.float32(1e-6)
    nearby = blur(seen, sigma_px / shrink) / for_each_colour(total)
    return resize_linear(nearby, width, height) if shrink > 1 else nearby


def _clean(level: Field, ramp_px: float) -> Field:
    """Without small islands and pinholes."""
    islands, stats = components(level >= 0, diagonal=True)
    areas = stats[1:, 4]
    if areas.size:
        small = np.flatnonzero(areas < ISLAND_SHARE * areas.max()) + 1
        if small.size:
            level[np.isin(islands, small)] = -1
    holes, stats = components(level < 0, diagonal=False)
    height, width = level.shape
    for index in range(1, len(stats)):
        x, y, wide, high, area = stats[index]
        inside = x > 0 and y > 0 and x + wide < width and y + high < height
        if inside and area < PINHOLE_SOURCE_PX * ramp_px**2:
            level[holes == index] = 1
    return level
