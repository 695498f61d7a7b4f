"""The border that a sticker is cut along, and its shadow: real closed paths under the picture."""

import re

import numpy as np

from core.images import Picture
from exporters.config import ExportConfig
from exporters.drawing.curves import fit_outlines
from exporters.drawing.layers import outlines_of
from exporters.drawing.svg import build_svg
from exporters.drawing.vectorize import Shape
from exporters.vision import Mask, blur, components, depth

SMOOTH_SHARE = 0.012
"""How far the border's outline is smoothed, as a share of the picture: no scissors follow hair."""
TOLERANCE_PX = 0.75

_VIEW = re.compile(r'viewBox="0 0 (\d+) \d+"')
_PATH = re.compile(r"<path [^>]*/>")


def add_die_cut(svg: str, alpha_hw: Picture, config: ExportConfig) -> str:
    """The SVG with border and shadow painted under it; unchanged when neither is asked for.

    `alpha_hw` is the picture's alpha at the SVG's size. The viewBox grows so that nothing is cut
    off, and the sticker stays as large as it was asked to be.
    """
    border_px, shadow_px = config.border_px, config.shadow_px
    if border_px <= 0 and shadow_px <= 0:
        return svg
    margin_px = int(np.ceil(border_px + shadow_px)) + 1
    grown = _grown(np.pad(alpha_hw >= 128, margin_px), border_px, SMOOTH_SHARE * config.size_px)
    side_px = config.size_px + 2 * margin_px
    found = _VIEW.search(svg)
    assert found is not None  # build_svg wrote it
    units = int(found[1]) / config.size_px
    shadow = _shape(grown, config.shadow_colour, side_px, shift_px=shadow_px)
    border = _shape(grown, config.border_colour, side_px, shift_px=0)
    wanted = [*([shadow] if shadow_px else []), *([border] if border_px else [])]
    under = build_svg(wanted, size_px=side_px, scale=1, title="", view_units=round(units * side_px))
    offset = round(units * margin_px)
    paths = [_moved(path, -offset) for path in _PATH.findall(under)]
    view = f'viewBox="{-offset} {-offset} {round(units * side_px)} {round(units * side_px)}"'
    head, body = _VIEW.sub(view, svg, count=1).split("\n", 1)
    return "\n".join([head, *paths, body])


def _grown(mask: Mask, width_px: float, smooth_px: float) -> Mask:
    """The mask, holes filled, grown by a width and with a smooth outline."""
    distance = depth(~mask) - depth(mask)
    level = blur(np.asarray(distance - width_px, dtype=np.float32), smooth_px)
    grown = (level < 0) | mask if width_px <= 0 else level < 0
    return _without_holes(np.asarray(grown))


def _without_holes(mask: Mask) -> Mask:

    outside, _ = components(~mask, diagonal=False)
    frame = np.unique(np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]]))
    return np.asarray(mask | ~np.isin(outside, frame[frame > 0]))


def _shape(mask: Mask, colour: str, side_px: int, *, shift_px: float) -> Shape:
    outlines = outlines_of(np.where(mask, 0, -1).astype(np.int32), np.array([-1]))
    curves = fit_outlines(
        [item.points + shift_px for item in outlines],
        tolerance_px=TOLERANCE_PX,
        frame_px=float(side_px),
        stepped=True,
    )
    return Shape(fill=colour.lower(), outlines=tuple(curves))


def _moved(path: str, by: int) -> str:
    """A path whose first, absolute point is moved; all others are relative."""

    def move(found: "re.Match[str]") -> str:
        return f'd="M{int(found[1]) + by} {int(found[2]) + by}'

    return re.sub(r'd="M(-?\d+) ?(-?\d+)', move, path, count=1)
