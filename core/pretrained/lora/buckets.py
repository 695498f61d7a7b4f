"""Shapes of about one area, so that pictures of any shape train in batches of one."""

import math

import numpy as np

from core.data.transform import resize
from core.errors import UserError
from core.images import Picture
from core.pretrained.lora.config import LoraConfig
from core.pretrained.text_to_image.source import PipelineSource

_SIZES_PX = (8, 4096)
MAX_ASPECT = 2.0
"""Pictures longer than this many times their width are cut to it."""

Size = tuple[int, int]
"""Width and height, in pixels."""


def bucket_sizes(side_px: int, step_px: int) -> list[Size]:
    """Shapes whose sides are multiples of `step_px` and whose area is at most `side_px`²'s.

    The square first, then by aspect, from wide to tall.
    """
    area = side_px * side_px
    square = max(step_px, side_px // step_px * step_px)
    sizes = {(square, square)}
    short = step_px
    while short <= side_px:
        long = area // short // step_px * step_px
        if long >= short and long <= MAX_ASPECT * short:
            sizes |= {(long, short), (short, long)}
        short += step_px
    return sorted(sizes, key=lambda size: (size != (square, square), -_aspect(size), size))


def nearest_size(sizes: list[Size], width: int, height: int) -> int:
    """Place of the shape that is closest to a picture's; of equally close ones, the first."""
    aspect = math.log(width / height)
    return min(range(len(sizes)), key=lambda place: abs(_aspect(sizes[place]) - aspect))


def sizes_of(config: LoraConfig, source: PipelineSource) -> list[Size]:
    """Shapes that pictures are brought to, the square first; UserError when none fits."""
    side = config.resolution_px or source.size_px
    step = min(config.bucket_step_px, side)
    if not _SIZES_PX[0] <= side <= _SIZES_PX[1]:
        raise UserError(f"--resolution-px is {side}; it must be from 8 to 4096")
    if side % source.scale or step % source.scale:
        raise UserError(
            f"--resolution-px {side} and --bucket-step-px {step} must be multiples of "
            f"{source.scale}, the pixels of one of the pipeline's latents"
        )
    return bucket_sizes(side, step) if config.buckets else [(side, side)]


def brought_to(image_hwc: Picture, size_wh: Size) -> tuple[Picture, tuple[int, int]]:
    """A picture scaled until it covers a shape, and its middle; where that begins (x, y)."""
    height, width = image_hwc.shape[:2]
    scale = max(size_wh[0] / width, size_wh[1] / height)
    large = (max(size_wh[0], round(width * scale)), max(size_wh[1], round(height * scale)))
    x, y = (large[0] - size_wh[0]) // 2, (large[1] - size_wh[1]) // 2
    scaled = resize(image_hwc, large)
    return np.ascontiguousarray(scaled[y : y + size_wh[1], x : x + size_wh[0]]), (x, y)


def _aspect(size: Size) -> float:
    return math.log(size[0] / size[1])
