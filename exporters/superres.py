"""Super-resolution weights in tiles: the only importer of spandrel. Loads torch."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
BATCH = 4
"""Tiles that go through the network at once."""

Model = Callable[[torch.Tensor], torch.Tensor]
"""N×C×H×W in 0…1 to N×C×(sH)×(sW)."""
Precision = Literal["fp32", "bf16"]


class Upscaler(NamedTuple):
    """A loaded network."""

    model: Model
    scale: int
    """Its factor, 2 or more."""
    channels: int
    """3: RGB; 4: premultiplied RGBA."""


def upscale_premultiplied(
    premultiplied_hwc: Field, weights: Path, *, precision: Precision = "fp32"
) -> Field:
    """Premultiplied RGBA (0…255) enlarged by the model's own factor.

    A model of 4 channels takes the picture as it is. For one of 3, colour goes through as it is and
    alpha as grey: premultiplied, so that the hidden colour of clear pixels cannot bleed in.
    """
    model, scale, channels = load_upscaler(weights, precision)
    if channels == 4:
        large = upscale_tiled(premultiplied_hwc, model, scale)
        colour, opacity = large[..., :3], large[..., 3:]
    else:
        alpha = np.repeat(premultiplied_hwc[..., 3:], 3, axis=2)
        colour = upscale_tiled(premultiplied_hwc[..., :3], model, scale)
        opacity = upscale_tiled(alpha, model, scale).mean(axis=2, keepdims=True)
    if premultiplied_hwc[..., 3].min() >= 255:
        opacity = np.full_like(opacity, 255)
    return np.concatenate([np.minimum(colour, opacity), opacity], axis=2)


@functools.lru_cache(maxsize=1)
def load_upscaler(weights: Path, precision: Precision = "fp32") -> Upscaler:
    """A super-resolution model of 3 or 4 channels; UserError when the file is not one.

    Only tensors are read: a pickle with anything else in it is refused unopened. With bf16 the
    products are rounded to 8 bits, which is about twice as fast where processors have them.
    """
    state = _read_state(weights)
    try:
        descriptor = spandrel.ModelLoader().load_from_state_dict(
            spandrel.canonicalize_state_dict(state)
        )
    except Exception as error:  # what strange weights make a detector raise is up to them
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{weights} holds no architecture that spandrel knows ({reason}); give lanczos, "
            "starter, or super-resolution weights such as Real-ESRGAN's"
        ) from None
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or descriptor.scale < 2:
        raise UserError(f"{weights} does not enlarge pictures; give super-resolution weights")
    taken, given = descriptor.input_channels, descriptor.output_channels
    if (taken, given) not in ((3, 3), (4, 4)):
        raise UserError(
            f"{weights} maps {taken} to {given} channels; wanted is a model from 3 to 3 (RGB) or "
            "from 4 to 4 (premultiplied RGBA)"
        )
    descriptor.eval()
    torch.set_num_threads(1)  # pictures are spread over processes already

    def run(batch: torch.Tensor) -> torch.Tensor:
        rounded = precision == "bf16"
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            output: torch.Tensor = descriptor(batch)
        return output.float()

    return Upscaler(run, descriptor.scale, taken)


class _Tile(NamedTuple):
    """What a tile fills, in source pixels, and the window that it sees."""

    top: int
    bottom: int
    left: int
    right: int
    seen_top: int
    seen_left: int


def upscale_tiled(
    picture_hwc: Field,
    model: Model,
    scale: int,
    *,
    tile_px: int = TILE_PX,
    context_px: int = CONTEXT_PX,
) -> Field:
    """Run `model` over a picture (H×W×C, 0…255) tile by tile, without seams.

    Each tile sees `context_px` beyond itself and fades into its neighbours. A tile that comes back
    in another size or with a value that is not finite fails the picture.
    """
    height, width, channels = picture_hwc.shape
    total = np.zeros((height * scale, width * scale, channels), dtype=np.float64)
    weights = np.zeros((height * scale, width * scale, 1), dtype=np.float64)
    for tile, large in _outputs(picture_hwc, model, scale, tile_px, context_px):
        feather = min(FEATHER_PX, context_px)
        rows = slice(max(0, tile.top - feather), min(height, tile.bottom + feather))
        columns = slice(max(0, tile.left - feather), min(width, tile.right + feather))
        kept = large[
            (rows.start - tile.seen_top) * scale : (rows.stop - tile.seen_top) * scale,
            (columns.start - tile.seen_left) * scale : (columns.stop - tile.seen_left) * scale,
        ]
        down, across = _times(rows, scale), _times(columns, scale)
        fade = np.minimum(
            _fade(down, tile.top, tile.bottom, height, scale)[:, None],
            _fade(across, tile.left, tile.right, width, scale)[None],
        )[..., None]
        total[down, across] += kept * fade
        weights[down, across] += fade
    return np.clip(total / weights, 0, 255).astype(np.float32)


def _outputs(
    picture_hwc: Field, model: Model, scale: int, tile_px: int, context_px: int
) -> Iterator[tuple[_Tile, Field]]:
    """Each tile with what the model makes of its window; windows have one size, for batches."""
    height, width = picture_hwc.shape[:2]
    rows, columns = _spans(height, tile_px), _spans(width, tile_px)
    high = min(height, max(end - begin for begin, end in rows) + 2 * context_px)
    wide = min(width, max(end - begin for begin, end in columns) + 2 * context_px)
    tiles = [
        _Tile(
            top, bottom, left, right,
            min(max(0, top - context_px), height - high),
            min(max(0, left - context_px), width - wide),
        )
        for top, bottom in rows
        for left, right in columns
    ]  # fmt: skip
    for start in range(0, len(tiles), BATCH):
        some = tiles[start : start + BATCH]
        windows = [picture_hwc[t.seen_top :, t.seen_left :][:high, :wide] for t in some]
        yield from zip(some, _run_batch(some, windows, model, scale), strict=True)


def _run_batch(
    tiles: Sequence[_Tile], windows: Sequence[Field], model: Model, scale: int
) -> Iterator[Field]:
    """The outputs, H×W×C, 0…255 and a little beyond; UserError for a tile that failed."""
    high, wide, channels = windows[0].shape
    stacked = np.stack(windows).transpose(0, 3, 1, 2) / np.float32(255)
    try:
        output = model(torch.from_numpy(np.ascontiguousarray(stacked, dtype=np.float32))).numpy()
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the upscaler's weights cannot be run ({reason}): give others") from None
    right_shape = output.shape == (len(tiles), channels, high * scale, wide * scale)
    for place, tile in enumerate(tiles):
        if not right_shape or not np.isfinite(output[place]).all():
            raise UserError(
                f"the upscaler failed on the tile at {tile.left}, {tile.top}: nothing is patched"
            )
        yield output[place].transpose(1, 2, 0) * 255


def _times(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)


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
        raise UserError(f"{weights} does not exist; give lanczos, starter or a file of weights")
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
