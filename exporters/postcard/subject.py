"""The animal of a card, as drawn shapes or as a picture of pixels, ready to be placed."""

import dataclasses
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage

from core.errors import UserError
from core.images import Picture, png_bytes
from exporters.drawing.svg import NAMESPACE
from exporters.postcard.geometry import Box, bounds, parse_path
from exporters.postcard.scene import Fill, Image, Item, Line, shifted

EMPTY = "empty: nothing of it can be seen"
_SEEN_ALPHA = 8
"""Of 255; what has no more is not seen."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture to be placed, in units of its own."""

    items: tuple[Fill | Image, ...]
    box: Box
    """What is seen of it."""
    opaque: bool = False
    """Whether it fills its box, as a photograph does."""

    @property
    def vector(self) -> bool:
        """Whether it is drawn in shapes."""
        return all(isinstance(item, Fill) for item in self.items)


def figure_of_svg(svg: str) -> Figure:
    """The shapes of a sticker's SVG; UserError when it holds more than filled paths."""
    try:
        root = ET.fromstring(svg)
        paths = [element for element in root if element.tag == f"{{{NAMESPACE}}}path"]
        fills = [
            Fill(parse_path(path.get("d", "")), _long_colour(path.get("fill", "")))
            for path in paths
        ]
    except (ET.ParseError, ValueError) as error:
        raise UserError(f"the SVG is not one of our stickers: {error}") from None
    if not fills:
        raise UserError("the SVG is not one of our stickers: it holds no filled path")
    return Figure(items=tuple(fills), box=bounds([fill.path for fill in fills]))


def figure_of_pixels(image_hwc: Picture) -> Figure:
    """A picture (H×W×4 straight alpha, or H×W×3) as pixels, cropped to what is seen."""
    opaque = image_hwc.shape[2] == 3 or bool((image_hwc[..., 3] > 250).all())
    if image_hwc.shape[2] == 4 and not opaque:
        if is_empty(image_hwc):
            raise UserError(f"the picture is {EMPTY}")
        rows, columns = np.nonzero(image_hwc[..., 3] > _SEEN_ALPHA)
        image_hwc = image_hwc[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    data = png_bytes(enlarged(image_hwc, 1024))
    height, width = image_hwc.shape[:2]
    box = (0.0, 0.0, float(width), float(height))
    return Figure(items=(Image(data, box),), box=box, opaque=opaque)


def is_empty(image_hwc: Picture) -> bool:
    """Whether nothing of a picture (H×W×4 straight alpha, or H×W×3) can be seen."""
    return image_hwc.shape[2] == 4 and not (image_hwc[..., 3] > _SEEN_ALPHA).any()


def enlarged(image_hwc: Picture, side_px: int) -> Picture:
    """A small picture at up to `side_px`, softly; a large one as it is."""
    height, width = image_hwc.shape[:2]
    if max(height, width) >= side_px:
        return image_hwc
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    mode = PillowImage.Resampling.LANCZOS
    with PillowImage.open(io.BytesIO(png_bytes(image_hwc))) as image:
        return np.asarray(image.resize(size, mode))


def placed(figure: Figure, room: Box, *, edge: float = 0.0, colour: str = "#ffffff") -> list[Item]:
    """The figure as large as `room` allows, at its bottom and in its middle.

    `edge` is the width of a border in `colour` around it, as around a sticker.
    """
    scale = scale_in(figure, room)
    left, top, width, height = figure.box
    x = room[0] + room[2] / 2 - (left + width / 2) * scale
    y = room[1] + room[3] - (top + height) * scale
    items = shifted(figure.items, scale, x, y)
    pen = 2 * edge
    border = [Line(i.path, colour, pen) for i in items if isinstance(i, Fill)] if edge else []
    return [*_silhouettes(border), *items]


def scale_in(figure: Figure, room: Box) -> float:
    """How much a figure grows or shrinks to fill `room`."""
    return min(room[2] / max(figure.box[2], 1e-6), room[3] / max(figure.box[3], 1e-6))


def _silhouettes(lines: Sequence[Line]) -> list[Line]:
    """Those that matter for the border: what lies well inside of another needs none."""
    boxes = [bounds([line.path]) for line in lines]
    return [
        line
        for line, box in zip(lines, boxes, strict=True)
        if not any(_well_inside(box, other) for other in boxes)
    ]


def _well_inside(box: Box, other: Box) -> bool:
    # A box in a box is no shape in a shape; in the middle third it nearly always is.
    third_x, third_y = other[2] / 3, other[3] / 3
    return (
        box[0] > other[0] + third_x
        and box[1] > other[1] + third_y
        and box[0] + box[2] < other[0] + other[2] - third_x
        and box[1] + box[3] < other[1] + other[3] - third_y
    )


def _long_colour(colour: str) -> str:
    if len(colour) == 4:
        colour = "#" + "".join(2 * digit for digit in colour[1:])
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise ValueError(f"a path is filled with {colour!r}")
    return colour
