"""How good a picture is to train on, in numbers: sharpness, exposure, contrast, background.

All is measured at 128 px and less, as small models see it: what is soft in a large photograph may
well be sharp then. The thresholds of the flags were chosen on 1,070 photographs of eight animals,
120 of a fish market and 60 of rabbits; beside each stands what it marks of the animals.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.transform import opencv
from core.images import Picture
from curation_app.thumbnails import fit

SIDE_PX = 128
"""Longest side at which pictures are measured."""
FLAGS = ("blurred", "dark", "bright", "low-contrast", "small", "extreme-aspect", "plain-background")
"""What a curator should look at."""

BLURRED = 0.6
"""Sharpness. Marks 0.2 % of the photographs, and 99 % of them after a blur of 1.5 px (at 128)."""
DARK, BRIGHT = 0.2, 0.9
"""Brightness of what is not background. Mark 1.1 % (night and deep water) and none."""
FLAT = 0.25
"""Contrast. Marks 0.3 %: haze and murky water."""
SMALL_PX = 64
"""Shorter side."""
STRETCHED = 2.0
"""Aspect."""
PLAIN = 0.8
"""Share of the border that has one colour. Marks 90 % of the frogs, which stand on white, and 3 to
6 % of each other class."""

_TILE_PX = 16
_LEAST_VARIANCE = 25.0
"""Of grey levels: what is plainer than this counts as this plain, for its detail is noise."""
_BORDER = 0.05
_LIKE_BORDER = 16
"""Grey levels, in each channel, by which a colour may differ from the border's and be the same."""
_LEAST_SUBJECT = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What was measured of a picture; shares and amounts of light from 0 to 1."""

    width_px: int
    height_px: int
    sharpness: float
    """Variance of the Laplacian by variance of grey, in the sharpest tenth of its tiles."""
    brightness: float
    """Mean luma of what is not background."""
    clipped_dark: float
    """Share of pixels that are black or nearly so."""
    clipped_bright: float
    contrast: float
    """Luma of the 98th percentile less that of the 2nd."""
    border_plain: float
    """Share of the border that has the border's own colour."""
    border_clear: float
    """Share of the border that is transparent."""
    border_rgb: tuple[int, int, int]
    """The border's own colour."""

    @property
    def aspect(self) -> float:
        """Longer side by shorter side."""
        return max(self.width_px, self.height_px) / min(self.width_px, self.height_px)

    @property
    def is_plain(self) -> bool:
        """Whether it stands on a background of one colour, or on none."""
        return self.border_plain >= PLAIN

    @property
    def is_cut_out(self) -> bool:
        """Whether its background is transparent."""
        return self.border_clear >= PLAIN


def quality_of(measures: Mapping[str, Any]) -> Quality:
    """From the JSON that `dataclasses.asdict` makes of it; other keys are left out."""
    known = {field.name: measures[field.name] for field in dataclasses.fields(Quality)}
    red, green, blue = known["border_rgb"]
    return Quality(**known | {"border_rgb": (red, green, blue)})


def flags(quality: Quality) -> tuple[str, ...]:
    """Those of FLAGS that hold. A cut-out has no background that could be too plain."""
    found = {
        "blurred": quality.sharpness < BLURRED,
        "dark": quality.brightness < DARK,
        "bright": quality.brightness > BRIGHT,
        "low-contrast": quality.contrast < FLAT,
        "small": min(quality.width_px, quality.height_px) < SMALL_PX,
        "extreme-aspect": quality.aspect > STRETCHED,
        "plain-background": quality.is_plain and not quality.is_cut_out,
    }
    return tuple(name for name in FLAGS if found[name])


def measure(image_hwc: Picture, size_wh: tuple[int, int]) -> Quality:
    """Measure a picture (straight alpha) whose original has the size `size_wh`."""
    small = fit(image_hwc, SIDE_PX)
    colours, seen = np.ascontiguousarray(small[..., :3]), np.ones(small.shape[:2], np.bool_)
    if small.shape[-1] == 4:
        seen = small[..., 3] >= 128
        colours[~seen] = 128
    grey = opencv().cvtColor(colours, opencv().COLOR_RGB2GRAY)
    plain, clear, border_rgb = _border(colours, seen)
    levels = np.bincount(grey[seen], minlength=256) / max(1, int(seen.sum()))
    low, high = np.searchsorted(np.cumsum(levels), (0.02, 0.98))
    return Quality(
        width_px=size_wh[0],
        height_px=size_wh[1],
        sharpness=_rounded(_sharpness(grey, seen)),
        brightness=_rounded(_brightness(colours, grey, seen, plain, border_rgb)),
        clipped_dark=_rounded(levels[:9].sum()),
        clipped_bright=_rounded(levels[247:].sum()),
        contrast=_rounded(max(0, int(high) - int(low)) / 255),
        border_plain=_rounded(plain),
        border_clear=_rounded(clear),
        border_rgb=border_rgb,
    )


def _border(colours: Picture, seen: NDArray[np.bool_]) -> tuple[float, float, tuple[int, int, int]]:
    """The share of the border that has its median colour, the clear share, and that colour."""
    height, width = seen.shape
    wide = max(1, round(min(height, width) * _BORDER))
    ring = np.ones((height, width), np.bool_)
    ring[wide:-wide, wide:-wide] = False
    there = colours[ring & seen].astype(np.int16)
    clear = float(1 - seen[ring].mean())
    if not len(there):
        return 1.0, 1.0, (128, 128, 128)
    middle = len(there) // 2
    median = np.partition(np.ascontiguousarray(there.T), middle)[:, middle]
    own = (np.abs(there - median) <= _LIKE_BORDER).all(axis=1)
    red, green, blue = (there[own] if own.any() else there).mean(axis=0).round().astype(int)
    plain = max(clear, (1 - clear) * float(own.mean()))
    return plain, clear, (int(red), int(green), int(blue))


def _sharpness(grey: Picture, seen: NDArray[np.bool_]) -> float:
    """Tile by tile, so that a sharp animal before a soft background counts as sharp.

    By the variance of grey, since a blur takes fine detail and leaves coarse: of faint pictures as
    of strong ones.
    """
    detail = np.square(opencv().Laplacian(grey, opencv().CV_32F, ksize=1))
    variance, energy = _tiles(grey).var(axis=1), _tiles(detail).mean(axis=1)
    # The outline of a cut-out is always sharp.
    inside = _tiles(seen).all(axis=1)
    ratio = energy / np.maximum(variance, _LEAST_VARIANCE)
    return float(np.percentile(ratio[inside] if inside.any() else ratio, 90))


def _tiles(plane: NDArray[Any]) -> NDArray[Any]:
    """N×256 without what juts out; one tile of all where the plane is smaller than a tile."""
    height, width = plane.shape
    rows, columns = height // _TILE_PX, width // _TILE_PX
    if not rows or not columns:
        tile: NDArray[Any] = plane.reshape(1, -1)
    else:
        whole = plane[: rows * _TILE_PX, : columns * _TILE_PX]
        blocks = whole.reshape(rows, _TILE_PX, columns, _TILE_PX).swapaxes(1, 2)
        tile = blocks.reshape(rows * columns, -1)
    return tile.astype(np.float32) if tile.dtype != np.bool_ else tile


def _brightness(
    colours: Picture,
    grey: Picture,
    seen: NDArray[np.bool_],
    plain: float,
    border_rgb: tuple[int, int, int],
) -> float:
    """Of the animal, where it stands on white or black: such a picture is not badly exposed."""
    subject = seen
    if plain >= PLAIN and seen.any():
        low, high = (
            [value + step for value in border_rgb] for step in (-_LIKE_BORDER, _LIKE_BORDER)
        )
        other = seen & (opencv().inRange(colours, np.array(low), np.array(high)) == 0)
        subject = other if other.mean() >= _LEAST_SUBJECT else seen
    return float(grey[subject].mean() / 255) if subject.any() else 0.5


def _rounded(value: float) -> float:
    return round(float(value), 4)
