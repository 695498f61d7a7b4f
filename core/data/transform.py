"""A picture to a square of a given size, in premultiplied linear light: the only importer of cv2.

Averaging pixels is right only for amounts of light (not for gamma-coded values, which darkens fine
detail) and only when weighted by alpha (else the invisible colour of clear pixels bleeds in). See
Smith, "Alpha and the History of Digital Compositing" (1995), and Porter and Duff (1984).
"""

import dataclasses
import functools
import os
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.images import Picture

Policy = Literal["pad", "crop", "cover"]
Resample = Literal["area", "lanczos"]
ColourSpace = Literal["linear", "srgb"]
Floats = NDArray[np.float32]

_SUBJECT_MARGIN = 0.04
_STEPS = 65535
_MANY_BYTES = 2**24


@dataclasses.dataclass(frozen=True, kw_only=True)
class SquareTransform:
    """How any picture becomes a `size_px`×`size_px` square."""

    size_px: int
    policy: Policy = "crop"
    resample: Resample = "area"
    colour_space: ColourSpace = "linear"
    channels: Literal[3, 4] | None = 4
    """None: 4 where the picture or its bars are clear somewhere, else 3."""
    background_rgb: tuple[int, int, int] = (255, 255, 255)
    """What shows through where `channels` is 3."""

    def __call__(self, image_hwc: Picture) -> Picture:
        """Straight RGB or RGBA of any size to premultiplied `size_px`×`size_px`×C."""
        top, left, side = self._square(image_hwc)
        y, x = max(0, top), max(0, left)
        piece = image_hwc[y : top + side, x : left + side]
        scale = self.size_px / side
        height, width = (max(1, round(length * scale)) for length in piece.shape[:2])
        small = resize(
            piece, (width, height), resample=self.resample, colour_space=self.colour_space
        )
        if self.channels == 3:
            small = self._over_background(small)
        # Scaled before it is padded: a thin strip's square would not fit into memory.
        row = min(round((y - top) * scale), self.size_px - height)
        column = min(round((x - left) * scale), self.size_px - width)
        return self._padded(small, row, column)

    def _square(self, image_hwc: Picture) -> tuple[int, int, int]:
        """Top, left and side of what is kept; it may reach beyond the picture."""
        height, width = image_hwc.shape[:2]
        if self.policy == "pad":
            side = max(height, width)
            return -((side - height) // 2), -((side - width) // 2), side
        if self.policy == "cover" and image_hwc.shape[-1] == 4:
            return _subject_square(image_hwc)
        return _square_of_short_side(image_hwc, seek_detail=self.policy == "cover")

    def _over_background(self, image_hwc: Picture) -> Picture:
        if image_hwc.shape[-1] == 3:
            return image_hwc
        ground = np.broadcast_to(np.array(self.background_rgb, np.uint8), (1, 1, 3))
        clear = 1 - image_hwc[..., 3:].astype(np.float32) / 255
        if self.colour_space == "srgb":
            return np.rint(image_hwc[..., :3] + clear * ground).astype(np.uint8)
        light = _decode(image_hwc, premultiplied=True)[..., :3] + clear * _decode(ground)
        return _encode(light.astype(np.float32))

    def _padded(self, image_hwc: Picture, row: int, column: int) -> Picture:
        height, width = image_hwc.shape[:2]
        full = height == width == self.size_px
        if self.channels == 4 or (self.channels is None and not full):
            image_hwc = with_alpha(image_hwc)
        if full:
            return np.ascontiguousarray(image_hwc)
        ground = self.background_rgb if image_hwc.shape[-1] == 3 else (0, 0, 0, 0)
        square = np.empty((self.size_px, self.size_px, image_hwc.shape[-1]), np.uint8)
        square[...] = ground
        square[row : row + height, column : column + width] = image_hwc
        return square


def with_alpha(image_hwc: Picture) -> Picture:
    """RGB as opaque RGBA; RGBA passes unchanged."""
    if image_hwc.shape[-1] == 4:
        return image_hwc
    opaque: Picture = opencv().cvtColor(image_hwc, opencv().COLOR_RGB2RGBA)
    return opaque


def resize(
    image_hwc: Picture,
    size_wh: tuple[int, int],
    *,
    resample: Resample = "area",
    colour_space: ColourSpace = "linear",
    premultiplied: bool = False,
) -> Picture:
    """Resize RGB or RGBA; RGBA comes back **premultiplied** (see `core.images.unpremultiply`).

    `size_wh` is (width, height). Shrinking averages the covered area (or takes Lanczos-3 stretched
    to the scale); enlarging is bicubic (or Lanczos-3), clamped. Input alpha is straight unless
    `premultiplied`.
    """
    if (image_hwc.shape[1], image_hwc.shape[0]) == size_wh:
        if image_hwc.shape[-1] == 3 or premultiplied:
            return image_hwc
        return _encode(_decode(image_hwc, srgb=True), srgb=True)
    srgb = colour_space == "srgb"
    if image_hwc.shape[-1] == 3 and resample == "area":
        if srgb:
            return _scale_integers(image_hwc, size_wh)
        if _shrinks(image_hwc, size_wh):
            # 16 bits of light tell all of 8 coded bits apart, at a quarter of the floats' time.
            light16 = opencv().LUT(np.ascontiguousarray(image_hwc), _to_light16())
            return np.take(_from_light(), _scale_integers(light16, size_wh))
    piece = _shrunk_in_strips(image_hwc, size_wh, srgb=srgb, premultiplied=premultiplied)
    light = _decode(image_hwc, srgb=srgb, premultiplied=premultiplied) if piece is None else piece
    return _encode(_scale(light, size_wh, resample), srgb=srgb)


def shrink(image_hwc: Picture, size_wh: tuple[int, int], *, straight: bool = False) -> Picture:
    """Straight RGB or RGBA averaged in coded values, quickly: for previews and comparisons.

    RGBA comes back premultiplied unless `straight`; within a level of what `resize` makes of it.
    """
    if (image_hwc.shape[1], image_hwc.shape[0]) == size_wh and straight:
        return image_hwc
    cv2 = opencv()
    if image_hwc.shape[-1] == 3:
        return resize(image_hwc, size_wh, colour_space="srgb")
    if image_hwc.size >= _MANY_BYTES or not _shrinks(image_hwc, size_wh):
        small = resize(image_hwc, size_wh, colour_space="srgb")
    else:
        light = cv2.cvtColor(np.ascontiguousarray(image_hwc), cv2.COLOR_RGBA2mRGBA)
        small = cv2.resize(light, size_wh, interpolation=cv2.INTER_AREA)
    back: Picture = cv2.cvtColor(small, cv2.COLOR_mRGBA2RGBA) if straight else small
    return back


@functools.cache
def use_one_thread() -> None:
    """Keep OpenCV and numpy's products to the calling thread: worker processes fill the cores.

    For products of the size of a picture's, OpenBLAS's threads mostly wait for each other: drawing
    takes a third more of the processors with two of them.
    """
    from threadpoolctl import ThreadpoolController

    opencv().setNumThreads(0)
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)


def core_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def opencv() -> Any:
    """OpenCV, untyped: the one door to it, opened when first needed."""
    import cv2

    return cv2


def _square_of_short_side(image_hwc: Picture, *, seek_detail: bool) -> tuple[int, int, int]:
    """The centred square as large as fits or, seeking detail, the one with most edges in it."""
    height, width = image_hwc.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    if seek_detail and height != width:
        step = max(1, side // 512)  # a thumbnail's worth of edges says as much
        green = image_hwc[::step, ::step, 1].astype(np.float32)
        edges = np.zeros_like(green)
        edges[:, 1:] += np.abs(np.diff(green, axis=1))
        edges[1:] += np.abs(np.diff(green, axis=0))
        profile = edges.sum(axis=0 if width > height else 1, dtype=np.float64)
        sums = np.concatenate([[0.0], np.cumsum(profile)])
        window = min(green.shape)
        held = sums[window:] - sums[:-window]
        # Of equally good places the most central one, so that a plain picture is centre-cropped.
        best = np.flatnonzero(held >= held.max() * (1 - 1e-9))
        place = int(best[np.argmin(np.abs(best - (len(held) - 1) / 2))])
        start = min(place * step, max(height, width) - side)
        top, left = (0, start) if width > height else (start, 0)
    return top, left, side


def _subject_square(image_hwc: Picture) -> tuple[int, int, int]:
    """The square around all that is not clear, with a margin; clear where it leaves the picture."""
    seen = image_hwc[..., 3] > 8
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return _square_of_short_side(image_hwc, seek_detail=False)
    height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
    side = max(1, round(max(height, width) * (1 + 2 * _SUBJECT_MARGIN)))
    top = int(rows[0]) - (side - height) // 2
    left = int(columns[0]) - (side - width) // 2
    return top, left, side


def _shrunk_in_strips(
    image_hwc: Picture, size_wh: tuple[int, int], *, srgb: bool, premultiplied: bool
) -> Floats | None:
    """A large picture averaged over k×k blocks strip by strip, so that floats stay few.

    None when it is small or would keep less than four times the size asked for.
    """
    height, width = image_hwc.shape[:2]
    factor = min(width // (4 * size_wh[0]), height // (4 * size_wh[1]))
    if factor < 2 or height * width < 2**22:
        return None
    cv2 = opencv()
    # Whole blocks only: less than a quarter of a target pixel falls away at the far edges.
    out_h, out_w = height // factor, width // factor
    small = np.empty((out_h, out_w, image_hwc.shape[-1]), np.float32)
    for start in range(0, out_h, 64):
        stop = min(start + 64, out_h)
        strip = image_hwc[start * factor : stop * factor, : out_w * factor]
        light = _decode(strip, srgb=srgb, premultiplied=premultiplied)
        cv2.resize(light, (out_w, stop - start), small[start:stop], interpolation=cv2.INTER_AREA)
    return small


def _scale(light: Floats, size_wh: tuple[int, int], resample: Resample) -> Floats:
    if resample == "lanczos":
        # Pillow stretches the kernel when it shrinks; OpenCV's Lanczos does not, and aliases.
        planes = [Image.fromarray(plane) for plane in np.moveaxis(light, -1, 0)]
        scaled_planes = [plane.resize(size_wh, Image.Resampling.LANCZOS) for plane in planes]
        return np.stack([np.asarray(plane, np.float32) for plane in scaled_planes], axis=-1)
    scaled: Floats = opencv().resize(light, size_wh, interpolation=_method(light, size_wh))
    return scaled


def _scale_integers(image_hwc: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[Any]:
    """Opaque values need no floats: OpenCV rounds and clamps as we would."""
    method = _method(image_hwc, size_wh)
    scaled: NDArray[Any] = opencv().resize(
        np.ascontiguousarray(image_hwc), size_wh, interpolation=method
    )
    return scaled


def _method(image_hwc: NDArray[Any], size_wh: tuple[int, int]) -> int:
    method: int = opencv().INTER_AREA if _shrinks(image_hwc, size_wh) else opencv().INTER_CUBIC
    return method


def _shrinks(image_hwc: NDArray[Any], size_wh: tuple[int, int]) -> bool:
    height, width = image_hwc.shape[:2]
    return bool(size_wh[0] <= width and size_wh[1] <= height)


def _decode(image_hwc: Picture, *, srgb: bool = False, premultiplied: bool = False) -> Floats:
    """uint8 to floats in 0…1, premultiplied: amounts of light, or coded values when `srgb`."""
    table = _to_unit() if srgb else _to_light()
    if image_hwc.shape[-1] == 3:
        # OpenCV looks up eight times as fast as numpy, and this is half of all the work.
        opaque: Floats = opencv().LUT(np.ascontiguousarray(image_hwc), table)
        return opaque
    alpha = image_hwc[..., 3:].astype(np.float32) / 255
    if premultiplied:
        straight = image_hwc[..., :3] / np.maximum(alpha, 1 / 255)
        colour = table[np.rint(np.minimum(straight, 255)).astype(np.uint8)]
    else:
        colour = np.take(table, image_hwc[..., :3])
    light: Floats = np.concatenate([colour * alpha, alpha], axis=-1)
    return light


def _encode(light: Floats, *, srgb: bool = False) -> Picture:
    """Premultiplied floats to uint8, where RGBA is premultiplied in coded values."""
    if light.shape[-1] == 3:
        return _coded(light, srgb=srgb)
    alpha = np.clip(light[..., 3:], 0, 1)
    straight = (light[..., :3] / np.maximum(alpha, 1e-6)).astype(np.float32, copy=False)
    coded = _coded(straight, srgb=srgb).astype(np.uint32)
    alpha8 = np.rint(alpha * 255).astype(np.uint32)
    colour = (coded * alpha8 + 127) // 255
    return np.concatenate([colour, alpha8], axis=-1).astype(np.uint8)


def _coded(light: Floats, *, srgb: bool) -> Picture:
    table = _from_unit() if srgb else _from_light()
    index = np.clip(light * np.float32(_STEPS) + np.float32(0.5), 0, _STEPS).astype(np.uint16)
    coded: Picture = np.take(table, index)
    return coded


@functools.cache
def _to_unit() -> Floats:
    return (np.arange(256) / 255).astype(np.float32)


@functools.cache
def _to_light() -> Floats:
    """IEC 61966-2-1."""
    coded = np.arange(256) / 255
    light = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    table: Floats = light.astype(np.float32)
    return table


@functools.cache
def _to_light16() -> NDArray[np.uint16]:
    return np.rint(_to_light().astype(np.float64) * _STEPS).astype(np.uint16)


@functools.cache
def _from_unit() -> Picture:
    return np.rint(np.arange(_STEPS + 1) / _STEPS * 255).astype(np.uint8)


@functools.cache
def _from_light() -> Picture:
    light = np.arange(_STEPS + 1) / _STEPS
    coded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    table: Picture = np.rint(coded * 255).astype(np.uint8)
    return table


def grab_cut(image_hwc: Picture, seeds_hw: Picture, *, rounds: int) -> Picture:
    """OpenCV's GrabCut of an RGB picture from seeds (0 and 2 background, 1 and 3 foreground).

    0 and 1 are sure, 2 and 3 likely. The mask comes back in the same code; equal input gives equal
    masks.
    """
    cv2 = opencv()
    cv2.setRNGSeed(0)  # k-means begins anywhere
    mask = np.ascontiguousarray(seeds_hw).copy()
    models = np.zeros((2, 1, 65), np.float64)
    colour = cv2.cvtColor(np.ascontiguousarray(image_hwc), cv2.COLOR_RGB2BGR)
    cv2.grabCut(colour, mask, None, models[0], models[1], rounds, cv2.GC_INIT_WITH_MASK)
    return mask
