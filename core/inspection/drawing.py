"""Small pictures for reports: what a network makes, maps of numbers, marks and animations."""

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from core.diffusion.pipeline import to_pictures
from core.images import Picture, over

_WHITE = (255, 255, 255)
_SCALE = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float64
)
"""Points of the colour scale that the reports' heat maps have, from low to high."""
Array = NDArray[np.float64]


def shown(batch_nchw: Tensor) -> list[Picture]:
    """Pictures of what a network reads or makes, on white: N arrays H×W×3.

    One channel is grey; of two, or more than four (latents), the first is shown.
    """
    if batch_nchw.shape[1] not in (3, 4):
        batch_nchw = batch_nchw[:, :1].expand(-1, 3, -1, -1)
    return [over(picture, _WHITE) for picture in to_pictures(batch_nchw)]


def noisy_shown(x: Tensor, sigma: float) -> Tensor:
    """A noisy batch brought back to the range of pictures: x/√(1 + sigma²)."""
    return x / math.sqrt(1 + sigma**2)


def enlarged(picture: Picture, side_px: int) -> Picture:
    """Pixel by pixel, so that its longer side has about `side_px`; larger ones shrink smoothly."""
    height, width = picture.shape[:2]
    factor = side_px / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize(size, how))


def coloured(values: Array, *, low: float | None = None, high: float | None = None) -> Picture:
    """A map of numbers, H×W, from dark blue (low) to yellow (high): H×W×3."""
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * (len(_SCALE) - 1)
    below = np.minimum(share.astype(int), len(_SCALE) - 2)
    part = (share - below)[..., None]
    colours: Picture = np.rint(_SCALE[below] * (1 - part) + _SCALE[below + 1] * part).astype(
        np.uint8
    )
    return colours


def overlaid(
    picture: Picture, values: Array, *, side_px: int, marks: Sequence[tuple[float, float]] = ()
) -> Picture:
    """A heat map over a picture, H×W×3, with rings at places given as shares of height and width.

    The map is smoothed to the picture's size: each of its cells stands for many pixels.
    """
    large = enlarged(picture, side_px)
    size = (large.shape[1], large.shape[0])
    smooth = Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = coloured(np.asarray(smooth, np.float64), low=0.0, high=max(values.max(), 1e-12))
    grey = large.mean(2, keepdims=True).repeat(3, 2)
    image = Image.fromarray(np.rint(0.4 * grey + 0.6 * heat).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for row, column in marks:
        y, x = row * size[1], column * size[0]
        for radius, colour in ((6, "black"), (5, "white"), (4, "red")):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour)
    return np.asarray(image)


def row_of(pictures: Sequence[Picture], *, side_px: int, gap_px: int = 4) -> Picture:
    """Pictures side by side on white, each `side_px` long."""
    cells = [enlarged(picture, side_px) for picture in pictures]
    height = max(cell.shape[0] for cell in cells)
    width = sum(cell.shape[1] for cell in cells) + gap_px * (len(cells) - 1)
    row = np.full((height, width, 3), 255, np.uint8)
    at = 0
    for cell in cells:
        row[: cell.shape[0], at : at + cell.shape[1]] = cell
        at += cell.shape[1] + gap_px
    return row


def stacked(rows: Sequence[Picture], *, gap_px: int = 4) -> Picture:
    """Rows one below the other on white."""
    width = max(row.shape[1] for row in rows)
    height = sum(row.shape[0] for row in rows) + gap_px * (len(rows) - 1)
    sheet = np.full((height, width, 3), 255, np.uint8)
    at = 0
    for row in rows:
        sheet[at : at + row.shape[0], : row.shape[1]] = row
        at += row.shape[0] + gap_px
    return sheet


def gif_bytes(frames: Sequence[Picture], *, frame_ms: int, hold_ms: int = 1500) -> bytes:
    """An endless animation that rests on its last frame; the same bytes for the same frames."""
    images = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]
    times = [frame_ms] * (len(images) - 1) + [hold_ms]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=times,
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()


def decibels(guess: Tensor, clean: Tensor) -> Tensor:
    """Peak signal to noise ratio of each picture, N, for values from -1 to 1; at most 99."""
    error = (guess - clean).double().square().flatten(1).mean(1)
    return (10 * torch.log10(4 / error.clamp(min=1e-30))).clamp(max=99.0)
