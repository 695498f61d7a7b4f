"""SVG text to pixels: the only importer of resvg."""

import io

import numpy as np
import resvg_py
from PIL import Image

from core.errors import UserError
from core.images import Picture


def render_svg(svg: str, size_px: int) -> Picture:
    """Render an SVG with a square viewBox: `size_px`×`size_px`×4, straight alpha, anti-aliased.

    Raises UserError when resvg cannot read the SVG.
    """
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=svg, width=size_px, height=size_px, skip_system_fonts=True
        )
    except ValueError as error:
        raise UserError(f"the SVG cannot be rendered: {error}") from None
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image.convert("RGBA"))
