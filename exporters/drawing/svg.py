"""Engine-safe SVG: solid filled paths and nothing else, in few bytes, with its origin inside."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from core.files import canonical_json
from exporters.drawing.vectorize import Shape

NAMESPACE = "http://www.w3.org/2000/svg"
_FILL = re.compile(r"#[0-9a-f]{3}(?:[0-9a-f]{3})?")
_PATH_ATTRIBUTES = {"d", "fill"}
_ROOT_ATTRIBUTES = {"viewBox", "width", "height", "role", "aria-label"}
STRAIGHT = 0.75
"""Units: a curve whose handles stay this close to its chord becomes a line."""

Point = tuple[int, int]


def build_svg(
    shapes: Sequence[Shape],
    *,
    size_px: int,
    scale: float,
    title: str,
    view_units: int | None = None,
) -> str:
    """A square SVG of `size_px` from shapes whose coordinates are `scale` times too small.

    The viewBox has `view_units` (unset: 10 per pixel) and every coordinate is a whole one, written
    relative to the point before, so that rounding never adds up: whole numbers are shorter than
    decimals, and a coarse grid is the cheapest loss there is.
    """
    view = view_units or 10 * size_px
    lines = [
        f'<svg xmlns="{NAMESPACE}" width="{size_px}" height="{size_px}" '
        f'viewBox="0 0 {view} {view}" role="img" aria-label={quoteattr(title)}>'
    ]
    for shape in shapes:
        data = _path_data(shape, scale * view / size_px)
        if data:
            lines.append(f'<path fill="{_short_colour(shape.fill)}" d="{data}"/>')
    return "\n".join([*lines, "</svg>", ""])


def name_svg(svg: str, title: str) -> str:
    """The SVG with another title for those who do not see it."""
    return re.sub(
        r' aria-label=("[^"]*"|\'[^\']*\')',
        lambda _: f" aria-label={quoteattr(title)}",
        svg,
        count=1,
    )


def add_metadata(svg: str, facts: Mapping[str, object]) -> str:
    """The SVG with its origin as JSON in `<metadata>`; last, because optimisers strip it."""
    head, end = svg.rsplit("</svg>", 1)
    return f"{head}<metadata>{escape(canonical_json(dict(facts)))}</metadata>\n</svg>{end}"


def lint_svg(svg: str) -> list[str]:
    """What keeps an SVG from being engine-safe, one line each; empty when it is safe.

    Godot's and Unity's importers draw paths with solid fills; they know no CSS, filters, masks,
    clips, text, links or scripts.
    """
    if "<!DOCTYPE" in svg or "<!ENTITY" in svg:
        return ["has a document type or entities"]
    try:
        root = ET.fromstring(svg)
    except ET.ParseError as error:
        return [f"is not XML: {error}"]
    problems = [] if root.tag == f"{{{NAMESPACE}}}svg" else [f"root is {root.tag}, not svg"]
    problems += [f"has no {name}" for name in ("viewBox", "width", "height") if not root.get(name)]
    problems += [f"svg has {name}" for name in sorted(set(root.attrib) - _ROOT_ATTRIBUTES)]
    paths = 0
    for child in root:
        name = child.tag.removeprefix(f"{{{NAMESPACE}}}")
        if len(child):
            problems.append(f"<{name}> has children")
        if name == "path":
            paths += 1
            problems += _lint_path(child)
        elif name != "metadata":
            problems.append(f"holds <{name}>")
    return problems if paths else [*problems, "has no path"]


def count_paths(svg: str) -> int:
    """How many paths the SVG holds."""
    return svg.count("<path ")


def fills(svg: str) -> list[str]:
    """The colours that the SVG paints with, sorted."""
    return sorted(set(re.findall(r'fill="([^"]+)"', svg)))


def _lint_path(path: ET.Element) -> list[str]:
    problems = [f"<path> has {name}" for name in sorted(set(path.attrib) - _PATH_ATTRIBUTES)]
    if not _FILL.fullmatch(path.get("fill", "")):
        problems.append(f"<path> is filled with {path.get('fill')!r}, not a solid #rrggbb")
    if not re.fullmatch(r"[MmLlCcHhVvZz0-9 .,\-]+", path.get("d", "")):
        problems.append("<path> has no plain path data")
    return problems


def _short_colour(colour: str) -> str:
    """`#aabbcc` as `#abc`."""
    if colour[1::2] == colour[2::2]:
        return "#" + colour[1::2]
    return colour


def _path_data(shape: Shape, units: float) -> str:
    """Relative path data; empty for a shape that rounds to nothing."""
    pieces: list[str] = []
    here = (0, 0)
    for curves in shape.outlines:
        # each curve begins where the one before ends, so only the ends are rounded
        corners = np.rint(curves * units).astype(np.int64).tolist()
        start = here_before = (corners[0][0][0], corners[0][0][1])
        drawn: list[str] = []
        for _, one, two, end in corners:
            points = [(x, y) for x, y in (one, two, end)]
            piece = _segment(here_before, points)
            here_before = points[-1]
            drawn.append(piece)
        body = "".join(drawn)
        if body:
            move = f"m{_numbers([start], here)}" if pieces else f"M{_numbers([start])}"
            pieces.append(f"{move}{body}z")
            here = start
    return "".join(pieces)


def _segment(here: Point, points: list[Point]) -> str:
    """One curve, or the line that it hardly differs from; nothing when it goes nowhere."""
    end = points[-1]
    if not _is_straight(here, points):
        return f"c{_numbers(points, here)}"
    if end == here:
        return ""
    if end[1] == here[1]:
        return f"h{end[0] - here[0]}"
    if end[0] == here[0]:
        return f"v{end[1] - here[1]}"
    return f"l{_numbers([end], here)}"


def _is_straight(here: Point, points: list[Point]) -> bool:
    """Whether a curve's handles lie on its chord, between its ends."""
    along_x, along_y = points[-1][0] - here[0], points[-1][1] - here[1]
    length = math.hypot(along_x, along_y)
    for x, y in points[:-1]:
        off_x, off_y = x - here[0], y - here[1]
        if length == 0:
            if math.hypot(off_x, off_y) > STRAIGHT:
                return False
            continue
        along = (off_x * along_x + off_y * along_y) / length
        if abs(off_x * along_y - off_y * along_x) / length > STRAIGHT:
            return False
        if not -STRAIGHT <= along <= length + STRAIGHT:
            return False
    return True


def _numbers(points: list[Point], origin: Point = (0, 0)) -> str:
    """Numbers with a separator only where two would run together."""
    text = ""
    for x, y in points:
        for value in (x - origin[0], y - origin[1]):
            text += str(value) if not text or value < 0 else f" {value}"
    return text
