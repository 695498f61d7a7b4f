"""A picture ready to be cut into regions: enlarged, cut out, its edges drawn up to steps."""

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray

from core.data.transform import shrink
from core.images import Picture
from exporters.config import ExportConfig
from exporters.drawing.regions import bounds
from exporters.drawing.sharpen import walk_off_edges
from exporters.drawing.silhouette import carry_outwards, find_silhouette
from exporters.upscale import enlarge
from exporters.vision import Field, Mask, blur, nearest_outside, resize_linear, rgb_to_lab

TRACE_SCALE = 2
"""Flat outlines are taken at this many times the SVG's size: half a pixel is coarse for hair."""
SALIENCE = 3.0
"""How much more a pixel counts that stands out from what is around it, such as an eye."""
STAND_OUT = 30.0
"""Lab units of difference to the surroundings from which a pixel stands out fully."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """What all attempts at one picture share; all but the reference is the picture's window."""

    reference_hwc: Picture
    """The enlarged cut-out picture, straight RGBA: what the sticker is measured against."""
    window: tuple[slice, slice]
    """Rows and columns of the reference that hold the silhouette."""
    colour_hwc: Field
    lab_hwc: Field
    """Colours without noise, in Lab."""
    mask: Mask
    fine_mask: Mask
    """The silhouette at `TRACE_SCALE` times the resolution."""
    weights: Field
    """How much each pixel counts, from 1; H×W."""
    source_px: float
    """Pixels of the SVG per pixel of the sample."""
    crisp: bool

    @functools.cached_property
    def inwards(self) -> NDArray[np.int64]:
        """For each pixel of the window the flat index of the nearest one in the mask; H×W."""
        rows, columns = nearest_outside(~self.mask)
        return np.asarray(rows * self.mask.shape[1] + columns)


def prepare(image_hwc: Picture, config: ExportConfig) -> Subject:
    """Enlarge, cut out and sharpen; UserError when there is nothing to trace."""
    enlarged = enlarge(
        _not_too_large(image_hwc, config.size_px),
        size_px=config.size_px,
        upscaler=config.upscaler,
        noise_levels=config.noise_levels,
    )
    ramp_px = enlarged.ramp_px
    level = find_silhouette(enlarged.picture_hwc, threshold=config.alpha_threshold, ramp_px=ramp_px)
    crisp = config.edges == "crisp" or (
        config.edges == "auto" and config.style != "photo" and bool((level < 0).any())
    )
    window = bounds(level >= 0, math.ceil(2 * ramp_px))
    mask, fine_mask, alpha = _supersample(level[window])
    calm = carry_outwards(enlarged.calm_hwc[window], ramp_px)
    walk = walk_off_edges(calm, ramp_px if crisp else 0)
    colour = walk.apply(carry_outwards(enlarged.picture_hwc[window], ramp_px))
    reference = np.zeros((config.size_px, config.size_px, 4), dtype=np.uint8)
    reference[window][..., :3] = np.rint(colour)
    reference[window][..., 3] = alpha
    source_px = config.size_px / max(image_hwc.shape[:2])
    lab = rgb_to_lab(walk.apply(calm))
    return Subject(
        reference_hwc=reference,
        window=window,
        colour_hwc=colour,
        lab_hwc=lab,
        mask=mask,
        fine_mask=fine_mask,
        weights=salience(lab, source_px),
        source_px=source_px,
        crisp=crisp,
    )


def _not_too_large(image_hwc: Picture, size_px: int) -> Picture:
    """A picture of more than twice the SVG's size, averaged: smoothing all of it takes minutes."""
    height, width = image_hwc.shape[:2]
    if image_hwc.ndim != 3 or max(height, width) <= 2 * size_px:
        return image_hwc
    share = size_px / max(height, width)
    size_wh = max(1, round(width * share)), max(1, round(height * share))
    return shrink(image_hwc, size_wh, straight=True)


def salience(lab_hwc: Field, source_px: float) -> Field:
    """1 for what looks like its surroundings, up to `1 + SALIENCE` for what stands out; H×W.

    Surroundings are four source pixels wide, so that an eye of two or three stands out and a large
    patch does not.
    """
    height, width = lab_hwc.shape[:2]
    sigma_px = max(2.0, 4 * min(source_px, 16.0))
    shrink = max(1, min(int(sigma_px / 4), height, width))  # so wide a blur needs few pixels
    small = resize_linear(lab_hwc, -(-width // shrink), -(-height // shrink))
    around = resize_linear(blur(small, sigma_px / shrink), width, height)
    apart = np.square(lab_hwc - around) @ np.full(3, STAND_OUT**-2, dtype=np.float32)
    return np.asarray(1 + SALIENCE * np.minimum(apart, 1), dtype=np.float32)


def _supersample(level: Field) -> tuple[Mask, Mask, Picture]:
    """The silhouette, the same at `TRACE_SCALE` times the resolution, and its share of each pixel.

    The alpha is thresholded on the fine grid: a hard staircase would count the renderer's smooth
    edges as errors.
    """
    height, width = level.shape
    fine = resize_linear(level, width * TRACE_SCALE, height * TRACE_SCALE) >= 0
    parts = np.zeros(level.shape, dtype=np.uint8)
    for row in range(TRACE_SCALE):
        for column in range(TRACE_SCALE):
            parts += fine[row::TRACE_SCALE, column::TRACE_SCALE]
    shares = [(part * 255 + TRACE_SCALE) // TRACE_SCALE**2 for part in range(TRACE_SCALE**2 + 1)]
    return level >= 0, fine, np.array(shares, dtype=np.uint8)[parts]
