"""Super-resolution weights in tiles: the only importer of spandrel. Loads torch."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import spandrel  # type: ignore[import-untyped]
import torch
from safetensors.torch import load_file

from core.errors import UserError
from exporters.vision import Field

TILE_PX = 256
"""Side of a tile without its surroundings, in source pixels."""
CONTEXT_PX = 40
"""Surroundings that a tile sees and then discards: more than Real-ESRGAN's receptive field."""
FEATHER_PX = 8
"""Width over which neighbouring tiles fade into each other."""

Model = Callable[[torch.Tensor], torch.Tensor]
"""1×3×H×W in 0…1 to 1×3×(sH)×(sW)."""


def upscale_premultiplied(premultiplied_hwc: Field, weights: Path) -> Field:
    """Premultiplied RGBA (0…255) enlarged by the model's own factor.

    Colour goes through the model as it is and alpha as grey: premultiplied, so that the hidden
    colour of clear pixels cannot bleed in.
    """
    model, scale = load_upscaler(weights)
    alpha = np.repeat(premultiplied_hwc[..., 3:], 3, axis=2)
    colour = upscale_tiled(premultiplied_hwc[..., :3], model, scale)
    opacity = upscale_tiled(alpha, model, scale).mean(axis=2, keepdims=True)
    if premultiplied_hwc[..., 3].min() >= 255:
        opacity = np.full_like(opacity, 255)
    return np.concatenate([np.minimum(colour, opacity), opacity], axis=2)


@functools.lru_cache(maxsize=1)
def load_upscaler(weights: Path) -> tuple[Model, int]:
    """A 3-channel super-resolution model and its factor; UserError when the file is not one.

    Only tensors are read: a pickle with anything else in it is refused unopened.
    """
    state = _read_state(weights)
    try:
        descriptor = spandrel.ModelLoader().load_from_state_dict(
            spandrel.canonicalize_state_dict(state)
        )
    except (spandrel.UnsupportedModelError, RuntimeError, KeyError, AttributeError) as error:
        raise UserError(f"{weights} holds no architecture that spandrel knows: {error}") from None
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.scale < 2:
        raise UserError(f"{weights} does not enlarge pictures; give super-resolution weights")
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        channels = f"{descriptor.input_channels} to {descriptor.output_channels}"
        raise UserError(f"{weights} maps {channels} channels; wanted is a model from 3 to 3")
    descriptor.eval()
    torch.set_num_threads(1)  # pictures are spread over processes already

    def run(batch: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            output: torch.Tensor = descriptor(batch)
        return output

    return run, descriptor.scale


def upscale_tiled(
    colour_hwc: Field,
    model: Model,
    scale: int,
    *,
    tile_px: int = TILE_PX,
    context_px: int = CONTEXT_PX,
) -> Field:
    """Run `model` over a picture (H×W×3, 0…255) tile by tile, without seams.

    Each tile sees `context_px` beyond itself and fades into its neighbours. A tile that comes back
    in another size or with a value that is not finite fails the picture.
    """
    height, width = colour_hwc.shape[:2]
    total = np.zeros((height * scale, width * scale, 3), dtype=np.float64)
    weights = np.zeros((height * scale, width * scale, 1), dtype=np.float64)
    for top, bottom in _spans(height, tile_px):
        for left, right in _spans(width, tile_px):
            tile = _run_tile(colour_hwc, model, scale, (top, bottom, left, right), context_px)
            rows, columns, part = tile
            fade = np.minimum(
                _fade(rows, top, bottom, height, scale)[:, None],
                _fade(columns, left, right, width, scale)[None],
            )[..., None]
            total[rows, columns] += part * fade
            weights[rows, columns] += fade
    return np.clip(total / weights, 0, 255).astype(np.float32)


def _run_tile(
    colour_hwc: Field, model: Model, scale: int, box: tuple[int, int, int, int], context_px: int
) -> tuple[slice, slice, Field]:
    """The output of one tile with its feather, and where it belongs."""
    top, bottom, left, right = box
    height, width = colour_hwc.shape[:2]
    seen_top, seen_bottom = max(0, top - context_px), min(height, bottom + context_px)
    seen_left, seen_right = max(0, left - context_px), min(width, right + context_px)
    seen = colour_hwc[seen_top:seen_bottom, seen_left:seen_right]
    batch = torch.from_numpy(np.ascontiguousarray(seen.transpose(2, 0, 1)))[None] / 255
    output = model(batch)[0].numpy().transpose(1, 2, 0) * 255
    wanted = ((seen_bottom - seen_top) * scale, (seen_right - seen_left) * scale, 3)
    if output.shape != wanted or not np.isfinite(output).all():
        raise UserError(f"the upscaler failed on the tile at {left}, {top}: nothing is patched")
    feather = min(FEATHER_PX, context_px)
    rows = slice(max(0, top - feather) * scale, min(height, bottom + feather) * scale)
    columns = slice(max(0, left - feather) * scale, min(width, right + feather) * scale)
    kept = output[
        rows.start - seen_top * scale : rows.stop - seen_top * scale,
        columns.start - seen_left * scale : columns.stop - seen_left * scale,
    ]
    return rows, columns, np.asarray(kept, dtype=np.float32)


def _fade(span: slice, begin: int, end: int, size: int, scale: int) -> Field:
    """Weights that fall from 1 to almost 0 across the feather, except at the picture's border."""
    place = np.arange(span.start, span.stop) + 0.5
    ramp = 2 * FEATHER_PX * scale
    low = np.ones(len(place)) if begin == 0 else (place - span.start) / ramp
    high = np.ones(len(place)) if end == size else (span.stop - place) / ramp
    return np.clip(np.minimum(low, high), 1e-6, 1).astype(np.float32)


def _spans(size: int, tile_px: int) -> list[tuple[int, int]]:
    """Nearly equal spans of at most `tile_px`."""
    count = -(-size // tile_px)
    edges = [round(index * size / count) for index in range(count + 1)]
    return list(itertools.pairwise(edges))


def _read_state(weights: Path) -> dict[str, Any]:
    if not weights.is_file():
        raise UserError(f"{weights} does not exist; give lanczos or a file of weights")
    if weights.suffix not in (".safetensors", ".pth", ".pt", ".ckpt"):
        raise UserError(f"{weights} is no file of weights; known are .safetensors and .pth")
    try:
        if weights.suffix == ".safetensors":
            return dict(load_file(weights))
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception:  # what a broken or hostile pickle raises is up to its author
        raise UserError(
            f"{weights} is refused: it holds more than tensors or is broken; "
            "convert it to .safetensors where you trust it"
        ) from None
    if not isinstance(state, dict):
        raise UserError(f"{weights} holds a {type(state).__name__}, not named tensors")
    return state
