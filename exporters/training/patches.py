"""Pairs of patches: a piece of a large picture, and what a sample of it would look like.

A batch is a function of (seed, step): training resumes without any random state.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.data.transform import ColourSpace, resize
from core.images import Picture
from core.seeds import mixed_seed
from exporters.training.config import SCALE, UpscalerConfig

Batch = NDArray[np.float32]
_TRIES = 3
"""Places looked at for each patch; the liveliest is taken, as most of a sticker is flat."""
_OPAQUE = 0.15
"""Share of RGBA patches put on a plain background: pictures without alpha come too."""


def draw_batch(pictures: list[Picture], config: UpscalerConfig, step: int) -> tuple[Batch, Batch]:
    """Small and large patches of a step: N×C×h×w and N×C×4h×4w, premultiplied, 0…1."""
    dice = np.random.default_rng(mixed_seed(config.seed, 2, step))
    pairs = [_draw_pair(pictures, config, dice) for _ in range(config.batch_size)]
    small = np.stack([pair[0] for pair in pairs]).transpose(0, 3, 1, 2)
    large = np.stack([pair[1] for pair in pairs]).transpose(0, 3, 1, 2)
    return _unit(small), _unit(large)


def shrink(large_hwc: Picture, *, shrinking: str, in_light: bool = False) -> Picture:
    """A quarter of each side, cut to whole pixels; premultiplied, like the input."""
    height, width = (side // SCALE for side in large_hwc.shape[:2])
    whole = large_hwc[: height * SCALE, : width * SCALE]
    if shrinking == "area":
        space: ColourSpace = "linear" if in_light else "srgb"
        return resize(whole, (width, height), colour_space=space, premultiplied=True)
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(whole[..., channel])).resize(
            (width, height), Image.Resampling.BICUBIC
        ))
        for channel in range(whole.shape[2])
    ]  # fmt: skip
    return _possible(np.stack(planes, axis=2).astype(np.float32))


def spoil(small_hwc: Picture, config: UpscalerConfig, dice: np.random.Generator) -> Picture:
    """Blurred, mottled and noisy, each by a random part of what the config allows."""
    picture = small_hwc.astype(np.float32)
    share = dice.uniform(0, config.blur)
    for axis in (0, 1):
        padded = np.pad(picture, [(1, 1) if side == axis else (0, 0) for side in range(3)], "edge")
        middle = np.take(padded, range(1, padded.shape[axis] - 1), axis)
        before = np.take(padded, range(padded.shape[axis] - 2), axis)
        after = np.take(padded, range(2, padded.shape[axis]), axis)
        picture = (1 - 2 * share) * middle + share * (before + after)
    covered = 1.0 if picture.shape[2] == 3 else picture[..., 3:] / 255
    picture[..., :3] += (
        covered * _slow(picture.shape[:2], dice) * dice.uniform(0, config.mottle_levels)
    )
    deviation = dice.uniform(0, config.noise_levels)
    picture += dice.standard_normal(picture.shape, dtype=np.float32) * deviation
    return _possible(picture)


def _draw_pair(
    pictures: list[Picture], config: UpscalerConfig, dice: np.random.Generator
) -> tuple[Picture, Picture]:
    large = _turned(_crop(pictures, config.patch_px * SCALE, dice), dice)
    if config.recolour:
        order = dice.permutation(3)
        large = large[..., [*order, *range(3, large.shape[2])]]
    if large.shape[2] == 4 and dice.random() < _OPAQUE:
        ground = np.append(dice.integers(0, 256, 3), 255)
        clear = 255 - large[..., 3:].astype(np.int32)
        large = (large + (clear * ground + 127) // 255).clip(0, 255).astype(np.uint8)
    in_light = bool(dice.random() < 0.5)
    small = shrink(np.ascontiguousarray(large), shrinking=config.shrinking, in_light=in_light)
    if dice.random() < config.spoilt:
        small = spoil(small, config, dice)
    return small, large


def _crop(pictures: list[Picture], side_px: int, dice: np.random.Generator) -> Picture:
    picture = pictures[dice.integers(len(pictures))]
    height, width = picture.shape[:2]
    crops = []
    for _ in range(_TRIES):
        top = dice.integers(height - side_px + 1)
        left = dice.integers(width - side_px + 1)
        crops.append(picture[top : top + side_px, left : left + side_px])
    return max(crops, key=lambda crop: float(crop[::SCALE, ::SCALE].std()))


def _turned(patch_hwc: Picture, dice: np.random.Generator) -> Picture:
    turned = np.rot90(patch_hwc, int(dice.integers(4)))
    return turned[:, ::-1] if dice.random() < 0.5 else turned


def _slow(shape: tuple[int, ...], dice: np.random.Generator) -> Batch:
    """A smooth random field of three colours, of deviation near 1."""
    coarse = dice.standard_normal((*(-(-side // 6) + 1 for side in shape), 3), dtype=np.float32)
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(coarse[..., colour])).resize(
            (shape[1], shape[0]), Image.Resampling.BICUBIC
        ))
        for colour in range(3)
    ]  # fmt: skip
    return np.stack(planes, axis=2)


def _possible(picture_hwc: Batch) -> Picture:
    """Levels that a premultiplied picture can have."""
    levels = np.rint(picture_hwc).clip(0, 255).astype(np.uint8)
    if levels.shape[2] == 4:
        np.minimum(levels[..., :3], levels[..., 3:], out=levels[..., :3])
    return levels


def _unit(batch_nchw: NDArray[np.uint8]) -> Batch:
    return np.ascontiguousarray(batch_nchw, dtype=np.float32) / np.float32(255)
