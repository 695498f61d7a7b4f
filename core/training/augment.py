"""Changed pictures for small datasets, and what the network is told about each change.

Karras et al. 2020 (arXiv 2006.06676) and 2022 (EDM, appendix F.2): a network that is told how its
picture was changed learns from all of them, yet asked for an unchanged one it makes nothing else.
All geometric changes are one resampling, all changes of colour one linear function; both run where
the pictures are. The draws depend on the generator alone: any process can draw the whole batch's.
"""

import math

import torch
import torch.nn.functional as functional
from torch import Tensor

CHANGES = (
    *("mirror", "rotation", "shift_x", "shift_y", "scale"),
    *("brightness", "contrast", "saturation"),
)
"""What the numbers told of a picture stand for: mirror 0 or 1, the others in [-1, 1]; 0 = none."""

_GEOMETRIC = 5
"""The first of CHANGES move pixels, the others colour them."""
_CHANCES = [0, 1, 2, 2, 3, 4, 5, 6]
"""Which draw decides on each of CHANGES: a shift goes both ways at once."""

_ROTATION = math.radians(10)
_SHIFT = 0.125
"""Of the side."""
_SCALE = math.log(1.2)
_BRIGHTNESS = 0.15
"""Of the range from black to white."""
_CONTRAST = math.log(1.3)
_SATURATION = math.log(1.6)
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114
"""What each adds to luma (ITU-R BT.601)."""


def draw_changes(count: int, *, chance: float, mirror: bool, generator: torch.Generator) -> Tensor:
    """What is done to each of `count` pictures: N×8 on the CPU, see CHANGES.

    Each change comes with this chance (mirroring with half of it, and only if `mirror`), and its
    amount is uniform.
    """
    amount = torch.rand((count, len(CHANGES)), generator=generator) * 2 - 1
    applied = torch.rand((count, max(_CHANCES) + 1), generator=generator) < chance
    amount[:, 0] = (amount[:, 0] < 0).float() if mirror else 0.0
    return torch.where(applied[:, _CHANCES], amount, 0.0)


def changed(clean: Tensor, told: Tensor) -> Tensor:
    """The pictures, N×C×H×W premultiplied in [-1, 1], changed as `told`, N×8, says; same shape.

    What comes in at the border is transparent (C = 4) or the picture's reflection (C = 3). Colour
    never exceeds alpha. A picture that nothing is done to keeps its bits.
    """
    unit = _moved((clean + 1) / 2, told)
    unit = _coloured(unit, told)
    top = unit[:, 3:].clamp(0, 1) if unit.shape[1] == 4 else torch.ones_like(unit[:, :1])
    colour = torch.minimum(unit[:, :3].clamp(min=0), top)
    unit = torch.cat([colour, top], 1) if unit.shape[1] == 4 else colour
    return torch.where(_wide(told.any(1)), unit * 2 - 1, clean)


def _moved(unit: Tensor, told: Tensor) -> Tensor:
    """Mirror, rotate, scale and shift by one bicubic resampling of pictures in [0, 1]."""
    mirror, rotation, shift_x, shift_y, scale = told[:, :_GEOMETRIC].unbind(1)
    angle, shrink = rotation * _ROTATION, (-scale * _SCALE).exp()
    cos, sin, turned = angle.cos() * shrink, angle.sin() * shrink, 1 - 2 * mirror
    # From the place of a new pixel back to its old one, in units of half a side.
    back = torch.stack([cos * turned, sin * turned, -sin, cos], 1).view(-1, 2, 2)
    shift = 2 * _SHIFT * torch.stack([shift_x, shift_y], 1)[:, :, None]
    grid = functional.affine_grid(
        torch.cat([back, -back @ shift], 2), list(unit.shape), align_corners=False
    )
    moved = functional.grid_sample(
        unit,
        grid,
        mode="bicubic",
        padding_mode="zeros" if unit.shape[1] == 4 else "reflection",
        align_corners=False,
    )
    return torch.where(_wide(told[:, :_GEOMETRIC].any(1)), moved, unit)


def _coloured(unit: Tensor, told: Tensor) -> Tensor:
    """Brighten, then stretch contrast about grey, then saturation about luma.

    With k and s for contrast and saturation, straight colour c of luma y becomes
    k·(y + s·(c - y)) + offset; premultiplied colour does too, with the offset times alpha.
    """
    brightness, contrast, saturation = (_wide(one) for one in told[:, _GEOMETRIC:].unbind(1))
    k, s = (contrast * _CONTRAST).exp(), (saturation * _SATURATION).exp()
    offset = k * (brightness * _BRIGHTNESS - 0.5) + 0.5
    before, rest = unit[:, :3], unit[:, 3:]
    luma = _RED * before[:, :1] + _GREEN * before[:, 1:2] + _BLUE * before[:, 2:]
    alpha = rest if unit.shape[1] == 4 else 1.0
    colour = k * torch.lerp(luma, before, s) + offset * alpha
    return torch.where(_wide(told[:, _GEOMETRIC:].any(1)), torch.cat([colour, rest], 1), unit)


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
