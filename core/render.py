"""SVG text to pixels: the only importer of resvg."""

import io

import numpy as np
import resvg_py
from PIL import Image

from core.data.transform import shrink
from core.errors import UserError
from core.images import Picture

_CSS_DPI = 96
"""What a millimetre is in pixels before it is scaled; resvg refuses units without it."""


def render_svg(svg: str, size_px: int, height_px: int | None = None) -> Picture:
    """Render an SVG with a square viewBox: `size_px`×`size_px`×4, straight alpha, anti-aliased.

    With `height_px`, one of that shape: `height_px`×`size_px`×4. Raises UserError when resvg cannot
    read the SVG.
    """
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg,
            width=size_px,
            height=size_px if height_px is None else height_px,
            dpi=_CSS_DPI,
            skip_system_fonts=True,
        )
    except ValueError as error:
        raise UserError(f"the SVG cannot be rendered: {error}") from None
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert("RGBA"))


def render_smaller(svg: str, size_px: int, large_hwc: Picture) -> Picture:
    """`render_svg(svg, size_px)`, from a square rendering that is there already where that serves.

    The average of 2×2 pixels or more is both quicker and closer to the true coverage of each pixel
    than what resvg draws at that size; a rendering that is less than twice as large would blur.
    """
    side_px = large_hwc.shape[0]
    if size_px != side_px and 2 * size_px > side_px:
        return render_svg(svg, size_px)
    return shrink(large_hwc, (size_px, size_px), straight=True)
