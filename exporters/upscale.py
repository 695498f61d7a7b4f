"""A sample enlarged: Lanczos, the project's own network, or anybody's; colour premultiplied."""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import UserError
from core.images import Picture, premultiply
from exporters.drawing.sharpen import soothe
from exporters.vision import Field, join_channels

LANCZOS = "lanczos"
STARTER = "starter"
BUILT_IN = (LANCZOS, STARTER)
"""Upscalers that need no file of weights."""
STARTER_WEIGHTS = Path(__file__).parent / "weights" / "starter_x4.safetensors"
"""Trained on the starter animals by `python jobs/train_upscaler.py`; MIT like them."""
TOLERANCE = 10.0
"""Grey levels of noise that the drawing's regions ignore."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Enlarged:
    """A square enlarged picture, premultiplied RGBA, 0…255."""

    picture_hwc: Field
    """The enlargement: what the sticker is measured against."""
    calm_hwc: Field
    """The same without the sample's noise: what the regions are found in."""
    ramp_px: float
    """Width of an edge's blur: one pixel of what was enlarged last by interpolation."""


def weights_of(upscaler: str) -> Path | None:
    """The file of an upscaler's weights; None for `lanczos`, which has none."""
    if upscaler == LANCZOS:
        return None
    return STARTER_WEIGHTS if upscaler == STARTER else Path(upscaler)


def enlarge(
    image_hwc: Picture, *, size_px: int, upscaler: str = LANCZOS, noise_levels: float = 0.0
) -> Enlarged:
    """Enlarge a sample (uint8, straight alpha, RGB or RGBA) to a `size_px` square.

    A picture that is not square is centred on a clear square. `upscaler` is `lanczos`, `starter`
    or the path of weights. Differences of up to about `noise_levels` grey levels are smoothed away
    first.
    """
    if image_hwc.ndim != 3 or image_hwc.shape[2] not in (3, 4) or 0 in image_hwc.shape:
        raise UserError(f"a picture has the shape {image_hwc.shape}; wanted are H×W×3 or H×W×4")
    source = _square(image_hwc)
    if noise_levels:
        source = soothe(source, noise_levels)
    larger = _through_network(source, upscaler, size_px)
    return Enlarged(
        picture_hwc=lanczos(larger, size_px),
        calm_hwc=lanczos(soothe(larger, TOLERANCE), size_px),
        ramp_px=size_px / source.shape[0],
    )


def _through_network(source_hwc: Field, upscaler: str, size_px: int) -> Field:
    """Enlarged by the network's factor, or as it was for Lanczos."""
    weights = weights_of(upscaler)
    if weights is None:
        return source_hwc
    from exporters.superres import upscale_premultiplied  # torch only when weights are asked for

    return upscale_premultiplied(source_hwc, weights)


def lanczos(premultiplied_hwc: Field, size_px: int) -> Field:
    """Lanczos (3 lobes) resize of each channel, brought back to 0 ≤ colour ≤ alpha ≤ 255.

    Where alpha swings over 255, colour is scaled down with it: clipped alone, it would leave a
    bright rim.
    """
    channels = [
        np.array(
            Image.fromarray(np.ascontiguousarray(premultiplied_hwc[..., channel])).resize(
                (size_px, size_px), Image.Resampling.LANCZOS
            )
        )
        for channel in range(4)
    ]
    alpha = channels[3]
    share = np.float32(255) / np.maximum(alpha, np.float32(255))
    np.clip(alpha, 0, 255, out=alpha)
    for channel in channels[:3]:  # whole planes: far faster than rows of four
        channel *= share
        np.clip(channel, 0, alpha, out=channel)
    return join_channels(channels)


def _square(image_hwc: Picture) -> Field:
    """Premultiplied RGBA on a square."""
    height, width = image_hwc.shape[:2]
    side = max(height, width)
    rgba: NDArray[np.uint8] = np.zeros((side, side, 4), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    inside = rgba[top : top + height, left : left + width]
    inside[..., 3] = 255
    inside[..., : image_hwc.shape[2]] = image_hwc
    return np.asarray(premultiply(rgba), dtype=np.float32)
