"""Flat colours to filled outlines: the only importer of vtracer."""

import dataclasses
import io
import re
from typing import Literal, get_args

import numpy as np
import vtracer
from PIL import Image

from core.errors import UserError
from core.images import Picture
from exporters.drawing.curves import Curves, Points, fit_outlines

Hierarchy = Literal["stacked", "cutout"]
MARGIN_PX = 4
"""Clear border added around the picture: vtracer ignores transparency without one."""

_PATH = re.compile(r'<path d="([^"]*)" fill="(#[0-9A-Fa-f]{6})" transform="translate\(([^)]*)\)"')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """One filled shape, in the pixels of the traced picture."""

    fill: str
    """`#rrggbb`."""
    outlines: tuple[Curves, ...]
    """Closed outlines: the shape's border, then its holes."""


def trace(
    image_hwc: Picture,
    *,
    speckle_px: int,
    tolerance_px: float,
    origin_xy: tuple[int, int],
    frame_px: int,
    hierarchy: Hierarchy = "stacked",
) -> list[Shape]:
    """Trace a flat RGBA picture whose alpha is 0 or 255; shapes in painting order.

    The picture is a window at `origin_xy` of a `frame_px` square, and the shapes are in the
    square's coordinates. `speckle_px` is the side of the smallest square kept, `tolerance_px` how
    far a curve may stray from its pixels. UserError when vtracer gives up on the picture.
    """
    if hierarchy not in get_args(Hierarchy):  # vtracer would silently use its default
        known = ", ".join(get_args(Hierarchy))
        raise UserError(f"no hierarchy {hierarchy!r}; known are {known}")
    bordered = np.pad(image_hwc, ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0)))
    svg = _run_vtracer(bordered, speckle_px, hierarchy)
    found = _PATH.findall(svg)
    if len(found) != svg.count("<path"):
        raise RuntimeError("vtracer writes paths in a form that this version does not know")
    fills = [fill.lower() for _, fill, _ in found]
    origin = np.array(origin_xy, dtype=np.float64) - MARGIN_PX
    outlines = [_outlines(path, translate, origin) for path, _, translate in found]
    if not outlines:
        return []
    every = [outline for group in outlines for outline in group]
    curves = iter(fit_outlines(every, tolerance_px=tolerance_px, frame_px=float(frame_px)))
    return [
        Shape(fill=fill, outlines=tuple(next(curves) for _ in group))
        for fill, group in zip(fills, outlines, strict=True)
    ]


def _outlines(path: str, translate: str, origin: Points) -> list[Points]:
    """The pixel-exact outlines of one path."""
    offset = np.array([float(value) for value in translate.split(",")]) + origin
    parts = re.sub(r"[LZ,]", " ", path).split("M")
    points = [np.array(part.split(), dtype=np.float64).reshape(-1, 2) for part in parts[1:]]
    return [outline + offset for outline in points if len(outline) >= 4]


def _run_vtracer(image_hwc: Picture, speckle_px: int, hierarchy: Hierarchy) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image_hwc).save(buffer, format="PNG", compress_level=1)
    try:
        svg: str = vtracer.convert_raw_image_to_svg(
            buffer.getvalue(),
            img_format="png",
            colormode="color",
            hierarchical=hierarchy,
            mode="none",  # pixel-exact; the curves are fitted by exporters.drawing.curves
            filter_speckle=speckle_px,
            color_precision=8,
            layer_difference=0,  # the palette has chosen the colours: merge none
            path_precision=0,
        )
    except BaseException as error:
        # a Rust panic arrives as a BaseException that `except Exception` lets through
        if type(error).__name__ != "PanicException" and not isinstance(error, Exception):
            raise
        raise UserError(f"vtracer could not trace the picture: {error}") from None
    return svg
