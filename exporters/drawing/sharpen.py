"""Crisp edges from a blurred enlargement: each pixel takes the colour at the foot of its edge.

An enlarged 64 px picture turns each edge into a ramp as wide as two source pixels. Along the ramp
the gradient's magnitude is a ridge, highest where the eye puts the edge. Walking downhill from that
ridge, every pixel ends on its own side, where the colour is pure; thin lines survive because their
middle is a valley too. It is the shock filter of Osher and Rudin (1990) written as a warp, so no
new colour is made and nothing rings.
"""

import dataclasses

import numpy as np

from exporters.vision import Field, blur, gradient, sample_at

FLAT = 0.05
"""Slope (grey levels per pixel²) under which a place counts as flat and a pixel stays put."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Walk:
    """Where each pixel of a picture fetches its colour."""

    x_px: Field
    y_px: Field

    def apply(self, colour_hwc: Field) -> Field:
        """The picture with its edges drawn up to steps."""
        return sample_at(colour_hwc, self.x_px, self.y_px)


def walk_off_edges(colour_hwc: Field, ramp_px: float) -> Walk:
    """Send each pixel of an enlarged picture downhill on the gradient's magnitude.

    `ramp_px` is the width of one source pixel in the enlargement; under 1.5 nothing is blurred and
    every pixel stays.
    """
    height, width = colour_hwc.shape[:2]
    rows, columns = np.indices((height, width), dtype=np.float32)
    if ramp_px < 1.5:
        return Walk(x_px=columns, y_px=rows)
    steepness = np.zeros((height, width), dtype=np.float32)
    smooth = blur(colour_hwc, 0.375 * ramp_px)
    for channel in range(3):
        across, down = gradient(np.ascontiguousarray(smooth[..., channel]))
        steepness += across * across + down * down
    uphill = _directions(blur(np.sqrt(steepness), max(0.6, 0.125 * ramp_px)))
    moved = _walked(uphill, ramp_px)
    columns -= moved[..., 0]
    rows -= moved[..., 1]
    return Walk(x_px=columns, y_px=rows)


def soothe(premultiplied_hwc: Field, tolerance: float) -> Field:
    """Bilateral filter (Tomasi and Manduchi, 1998) on a small picture: noise goes, edges stay.

    Runs on the source pixels, where it costs next to nothing. `tolerance` is in grey levels: what
    differs by much more is another colour and is left alone; 0 changes nothing.
    """
    if tolerance <= 0:
        return premultiplied_hwc
    height, width = premultiplied_hwc.shape[:2]
    padded = np.pad(premultiplied_hwc, ((2, 2), (2, 2), (0, 0)), mode="edge")
    total = np.zeros_like(premultiplied_hwc)
    weights = np.zeros((height, width, 1), dtype=np.float32)
    for down in range(5):
        for across in range(5):
            shifted = padded[down : down + height, across : across + width]
            unlike = np.square(shifted - premultiplied_hwc).sum(axis=2, keepdims=True)
            far = (down - 2) ** 2 + (across - 2) ** 2
            weight = np.exp(-unlike / (6 * tolerance**2) - np.float32(far / 4.5))
            total += shifted * weight
            weights += weight
    return np.asarray(total / weights, dtype=np.float32)


def _walked(uphill: Field, ramp_px: float) -> Field:
    """How far each pixel has come uphill after all steps; H×W×2.

    A walk of twice as many steps is one walk after another, so few look-ups make many steps.
    """
    height, width = uphill.shape[:2]
    rows, columns = np.indices((height, width), dtype=np.float32)
    steps = max(1, round(1.5 * ramp_px))
    moved = uphill
    for digit in f"{steps:b}"[1:]:
        moved = moved + sample_at(moved, columns - moved[..., 0], rows - moved[..., 1])
        if digit == "1":
            moved = moved + sample_at(uphill, columns - moved[..., 0], rows - moved[..., 1])
    return moved


def _directions(steepness: Field) -> Field:
    """Uphill unit steps in x and y, fading to nothing where it is flat; H×W×2."""
    across, down = gradient(steepness)
    length = np.sqrt(across * across + down * down) + np.float32(FLAT)
    return np.stack([across / length, down / length], axis=2)
