"""Paths of lines and cubic curves: made, moved, and read from SVG path data."""

import math
import re
from collections.abc import Iterator, Sequence

Point = tuple[float, float]
Command = tuple[str, tuple[Point, ...]]
"""M, L, C (two handles and the end) or Z, in absolute coordinates."""
Path = tuple[Command, ...]
Box = tuple[float, float, float, float]
"""Left, top, width and height."""

_KAPPA = 4 / 3 * (math.sqrt(2) - 1)
"""Handles of a quarter of a circle, in radii."""
_TOKEN = re.compile(r"([MmLlCcHhVvZz])|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


def polygon(points: Sequence[Point]) -> Path:
    """A closed path of straight lines."""
    lines: list[Command] = [("L", (point,)) for point in points[1:]]
    return (("M", (points[0],)), *lines, ("Z", ()))


def rectangle(box: Box, radius: float = 0.0) -> Path:
    """A rectangle, its corners rounded by `radius`."""
    left, top, width, height = box
    right, bottom = left + width, top + height
    if radius <= 0:
        return polygon([(left, top), (right, top), (right, bottom), (left, bottom)])
    r, k = min(radius, width / 2, height / 2), min(radius, width / 2, height / 2) * (1 - _KAPPA)
    return (
        ("M", ((left + r, top),)),
        ("L", ((right - r, top),)),
        ("C", ((right - k, top), (right, top + k), (right, top + r))),
        ("L", ((right, bottom - r),)),
        ("C", ((right, bottom - k), (right - k, bottom), (right - r, bottom))),
        ("L", ((left + r, bottom),)),
        ("C", ((left + k, bottom), (left, bottom - k), (left, bottom - r))),
        ("L", ((left, top + r),)),
        ("C", ((left, top + k), (left + k, top), (left + r, top))),
        ("Z", ()),
    )


def ellipse(x: float, y: float, radius_x: float, radius_y: float | None = None) -> Path:
    """An ellipse around a point; a circle without the second radius."""
    rx, ry = radius_x, radius_x if radius_y is None else radius_y
    kx, ky = rx * _KAPPA, ry * _KAPPA
    return (
        ("M", ((x + rx, y),)),
        ("C", ((x + rx, y + ky), (x + kx, y + ry), (x, y + ry))),
        ("C", ((x - kx, y + ry), (x - rx, y + ky), (x - rx, y))),
        ("C", ((x - rx, y - ky), (x - kx, y - ry), (x, y - ry))),
        ("C", ((x + kx, y - ry), (x + rx, y - ky), (x + rx, y))),
        ("Z", ()),
    )


def smooth(points: Sequence[Point]) -> Path:
    """An open curve through points (Catmull-Rom)."""
    ends = [points[0], *points, points[-1]]
    commands: list[Command] = [("M", (points[0],))]
    for before, here, there, after in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        one = (here[0] + (there[0] - before[0]) / 6, here[1] + (there[1] - before[1]) / 6)
        two = (there[0] - (after[0] - here[0]) / 6, there[1] - (after[1] - here[1]) / 6)
        commands.append(("C", (one, two, there)))
    return tuple(commands)


def moved(path: Path, scale: float, x: float, y: float, turn: float = 0.0) -> Path:
    """The path scaled, turned (radians, clockwise on paper), then shifted."""
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    return tuple(
        (name, tuple((a * cosine - b * sine + x, a * sine + b * cosine + y) for a, b in points))
        for name, points in path
    )


def bounds(paths: Sequence[Path]) -> Box:
    """The box of all points and handles; of no width where there are none."""
    points = [point for path in paths for _, some in path for point in some]
    if not points:
        return (0.0, 0.0, 0.0, 0.0)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def parse_path(data: str) -> Path:
    """SVG path data (M L C H V Z, absolute or relative) as a path; ValueError for what is none."""
    return tuple(_commands(data))


def _commands(data: str) -> Iterator[Command]:
    tokens = _tokens(data)
    here, start, name, place = (0.0, 0.0), (0.0, 0.0), "", 0
    while place < len(tokens):
        if isinstance(tokens[place], str):
            name, place = str(tokens[place]), place + 1
        elif name in ("", "Z", "z"):
            raise ValueError("a number stands where a command should")
        kind = name.upper()
        if kind == "Z":
            yield ("Z", ())
            here = start
            continue
        wanted = {"M": 2, "L": 2, "C": 6, "H": 1, "V": 1}[kind]
        numbers = tokens[place : place + wanted]
        place += wanted
        if len(numbers) < wanted or any(isinstance(number, str) for number in numbers):
            raise ValueError(f"{name} has too few numbers")
        points = _points(kind, [float(n) for n in numbers], here, relative=name.islower())
        here = points[-1]
        if kind == "M":
            start, name = here, "l" if name == "m" else "L"
        yield (kind if kind in "MC" else "L", points)


def _tokens(data: str) -> list[str | float]:
    if _TOKEN.sub("", data).strip(" ,\t\r\n"):
        raise ValueError("it holds more than M, L, C, H, V, Z and numbers")
    return [found[1] or float(found[2]) for found in _TOKEN.finditer(data)]


def _points(kind: str, numbers: list[float], here: Point, *, relative: bool) -> tuple[Point, ...]:
    x, y = here if relative else (0.0, 0.0)
    if kind == "H":
        return ((x + numbers[0], here[1]),)
    if kind == "V":
        return ((here[0], y + numbers[0]),)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple((x + a, y + b) for a, b in pairs)
