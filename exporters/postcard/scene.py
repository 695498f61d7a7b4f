"""One side of a card: paths, letters and pictures in millimetres, painted in order.

The same scene becomes SVG (for the screen, and rendered for print) and a page of PDF.
"""

import base64
import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import quoteattr

from exporters.drawing.svg import NAMESPACE
from exporters.postcard.geometry import Box, Path, moved, parse_path

TRIM_MM = (148.0, 105.0)
"""Width and height of a card when it is cut: ISO 216's A6."""
BLEED_MM = 3.0
"""What is printed around it and cut away."""
PAPER: Box = (-BLEED_MM - 1, -BLEED_MM - 1, TRIM_MM[0] + 2 * BLEED_MM + 2, TRIM_MM[1] + 8)
"""More than all of a side, so that its edges are painted fully."""


@dataclasses.dataclass(frozen=True)
class Fill:
    """A path painted in one colour."""

    path: Path
    colour: str
    """#rrggbb."""
    opacity: float = 1.0
    even_odd: bool = False


@dataclasses.dataclass(frozen=True)
class Line:
    """A path drawn with a pen of round ends."""

    path: Path
    colour: str
    width: float
    opacity: float = 1.0


@dataclasses.dataclass(frozen=True)
class Image:
    """A picture of pixels, in a box."""

    png: bytes
    box: Box


Item = Fill | Line | Image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """One side with its bleed; the origin is the top left corner after cutting."""

    title: str
    """A sentence for those who do not see it."""
    items: tuple[Item, ...]


def shifted(items: Iterable[Item], scale: float, x: float, y: float) -> list[Item]:
    """Items scaled about the origin, then shifted."""
    return [_shift(item, scale, x, y) for item in items]


def _shift(item: Item, scale: float, x: float, y: float) -> Item:
    if isinstance(item, Image):
        left, top, width, height = item.box
        box = (left * scale + x, top * scale + y, width * scale, height * scale)
        return dataclasses.replace(item, box=box)
    path = moved(item.path, scale, x, y)
    if isinstance(item, Line):
        return dataclasses.replace(item, path=path, width=item.width * scale)
    return dataclasses.replace(item, path=path)


def to_svg(scene: Scene, *, bleed: bool = True, size_px: tuple[int, int] | None = None) -> str:
    """The side as SVG in millimetres, with its bleed or cut.

    With `size_px`, it fills so many pixels exactly, which are never quite in proportion.
    """
    margin = BLEED_MM if bleed else 0.0
    wide, high = (_number(side + 2 * margin) for side in TRIM_MM)
    size = f'width="{wide}mm" height="{high}mm"'
    if size_px is not None:
        size = f'width="{size_px[0]}" height="{size_px[1]}" preserveAspectRatio="none"'
    head = (
        f'<svg xmlns="{NAMESPACE}" {size} viewBox="{_number(-margin)} {_number(-margin)} '
        f'{wide} {high}" role="img" aria-label={quoteattr(scene.title)}>'
    )
    return "\n".join([head, *map(_element, scene.items), "</svg>", ""])


def from_svg(svg: str) -> Scene:
    """The scene that `to_svg` wrote."""
    root = ET.fromstring(svg)
    return Scene(title=root.get("aria-label", ""), items=tuple(map(_item, root)))


def _item(element: ET.Element) -> Item:
    attributes = element.attrib
    if "href" in attributes:
        x, y, width, height = (float(attributes[key]) for key in ("x", "y", "width", "height"))
        return Image(base64.b64decode(attributes["href"].split(",", 1)[1]), (x, y, width, height))
    path = parse_path(attributes["d"])
    if "stroke" in attributes:
        opacity = float(attributes.get("stroke-opacity", "1"))
        return Line(path, attributes["stroke"], float(attributes["stroke-width"]), opacity)
    opacity = float(attributes.get("fill-opacity", "1"))
    return Fill(path, attributes["fill"], opacity, even_odd="fill-rule" in attributes)


def _element(item: Item) -> str:
    if isinstance(item, Image):
        x, y, width, height = map(_number, item.box)
        data = base64.b64encode(item.png).decode()
        return (
            f'<image x="{x}" y="{y}" width="{width}" height="{height}" '
            f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
        )
    paint = "stroke" if isinstance(item, Line) else "fill"
    # Not `opacity`, for which renderers make a layer of the whole side.
    faint = f' {paint}-opacity="{_number(item.opacity)}"' if item.opacity < 1 else ""
    if isinstance(item, Line):
        pen = f'stroke="{item.colour}" stroke-width="{_number(item.width)}"'
        ends = 'stroke-linecap="round" stroke-linejoin="round"'
        return f'<path fill="none" {pen} {ends}{faint} d="{path_data(item.path)}"/>'
    rule = ' fill-rule="evenodd"' if item.even_odd else ""
    return f'<path fill="{item.colour}"{rule}{faint} d="{path_data(item.path)}"/>'


def path_data(path: Path) -> str:
    """A path as SVG's `d`, to a thousandth of a millimetre."""
    return "".join(name + _coordinates(points) for name, points in path)


def _coordinates(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: float) -> str:
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
