"""Ink lines of a cartoon: along the silhouette, and where colours differ much."""

import numpy as np

from core.images import Picture
from exporters.drawing.subject import Subject
from exporters.vision import Labels, Mask, depth, rgb_to_lab

LINE_SHARE = 0.014
"""Width of a line, as a share of the picture's."""
APART = 26.0
"""ΔE from which two colours are parted by a line."""
INK_DARKNESS = 0.28
"""The ink is the darkest colour times this."""


def ink_lines(labels: Labels, palette_rgb: Picture, subject: Subject) -> tuple[Labels, Picture]:
    """The map of labels with ink as one more label, and the palette with its colour.

    Lines inside lie on both sides of a border and are half as wide as the outline, which lies
    inside the silhouette, so that the sticker does not grow.
    """
    width_px = LINE_SHARE * subject.reference_hwc.shape[0]
    lines = subject.mask & (depth(_framed(subject.mask))[1:-1, 1:-1] <= width_px)
    borders = _strong_borders(labels, palette_rgb) & subject.mask
    if borders.any():
        lines |= subject.mask & (depth(~borders) <= width_px / 4)
    lab = rgb_to_lab(palette_rgb.astype(np.float32)[None])[0]
    ink = np.rint(palette_rgb[int(lab[:, 0].argmin())] * INK_DARKNESS).astype(np.uint8)
    inked = np.where(lines, len(palette_rgb), labels).astype(np.int32)
    return inked, np.concatenate([palette_rgb, ink[None]])


def _framed(mask: Mask) -> Mask:
    """With a clear border, so that a line runs along the frame too."""
    return np.pad(mask, 1)


def _strong_borders(labels: Labels, palette_rgb: Picture) -> Mask:
    lab = rgb_to_lab(palette_rgb.astype(np.float32)[None])[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) > APART
    found = np.zeros(labels.shape, dtype=np.bool_)
    for near, far in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        found[near] |= (labels[near] >= 0) & (labels[far] >= 0) & apart[labels[near], labels[far]]
    return found
