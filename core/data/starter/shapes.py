"""Curves to draw animals with: ellipses, smooth blobs, rounded polygons, tapered limbs.

A curve is a chain of cubic Béziers, (1 + 3n)×2: a start point, then two handles and an end point
for each piece. Keeping everything in this one form makes moving, mirroring and measuring trivial.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]
Point = tuple[float, float]

_KAPPA = 0.5522847498  # handle length that makes four Béziers a circle to within 0.03 %


def ellipse(cx: float, cy: float, rx: float, ry: float | None = None, angle: float = 0.0) -> Curve:
    """An ellipse, turned by `angle` degrees (clockwise on screen)."""
    tall = rx if ry is None else ry
    k = _KAPPA
    unit = [
        *((1, 0), (1, k), (k, 1), (0, 1), (-k, 1), (-1, k), (-1, 0)),
        *((-1, -k), (-k, -1), (0, -1), (k, -1), (1, -k), (1, 0)),
    ]
    curve = np.array(unit, dtype=np.float64) * (rx, tall) + (cx, cy)
    return turn(curve, angle, cx, cy) if angle else curve


def smooth(points: Sequence[Point], *, corners: Sequence[int] = (), closed: bool = True) -> Curve:
    """A curve through the points (centripetal Catmull-Rom); sharp at the indices in `corners`.

    The centripetal form neither loops nor overshoots when points are unevenly spaced
    (Yuksel, Schaefer, Keyser 2011).
    """
    p1 = np.array(points, dtype=np.float64)
    if closed:
        p0, p2, p3 = np.roll(p1, 1, axis=0), np.roll(p1, -1, axis=0), np.roll(p1, -2, axis=0)
    else:
        first, last = 2 * p1[0] - p1[1], 2 * p1[-1] - p1[-2]
        whole = np.vstack([first, p1, last])
        p0, p1, p2, p3 = whole[:-3], whole[1:-2], whole[2:-1], whole[3:]
    d1, d2, d3 = _root_distance(p0, p1), _root_distance(p1, p2), _root_distance(p2, p3)
    b1 = (d1**2 * p2 - d2**2 * p0 + (2 * d1**2 + 3 * d1 * d2 + d2**2) * p1) / (3 * d1 * (d1 + d2))
    b2 = (d3**2 * p1 - d2**2 * p3 + (2 * d3**2 + 3 * d3 * d2 + d2**2) * p2) / (3 * d3 * (d3 + d2))
    for index in corners:
        b1[index] = p1[index] + (p2[index] - p1[index]) / 3
        b2[index - 1] = p2[index - 1] + (p1[index - 1] - p2[index - 1]) / 3
    pieces = np.stack([b1, b2, p2], axis=1).reshape(-1, 2)
    return np.vstack([p1[:1], pieces])


def polygon(points: Sequence[Point], radius: float) -> Curve:
    """A closed polygon whose corners are rounded by about `radius`."""
    corners = np.array(points, dtype=np.float64)
    chain: list[NDArray[np.float64]] = []
    for index, corner in enumerate(corners):
        before, after = corners[index - 1], corners[(index + 1) % len(corners)]
        entry, leave = _towards(corner, before, radius), _towards(corner, after, radius)
        if chain:
            chain += _straight(chain[-1], entry)
        else:
            chain.append(entry)
        chain += [entry + (corner - entry) * 0.62, leave + (corner - leave) * 0.62, leave]
    chain += _straight(chain[-1], chain[0])
    return np.array(chain)


def limb(spine: Sequence[Point], widths: Sequence[float]) -> Curve:
    """A tube with round ends along the Bézier curve that has `spine` as its control points.

    `widths` are its diameters at equal steps along the spine.
    """
    left, tip, right, root = _tube(spine, widths)
    return _through([*left, *tip, *right[::-1], *root])


def sleeve(spine: Sequence[Point], widths: Sequence[float], start: float) -> Curve:
    """The open outline of a limb's far end, from the fraction `start` of its length on.

    Stroking only this lets the near end melt into the body.
    """
    left, tip, right, _ = _tube(spine, widths)
    first = round(start * (len(left) - 1))
    return _through([*left[first:], *tip, *right[first:][::-1]], closed=False)


def symmetric(cx: float, half: Sequence[Point], *, corners: Sequence[int] = ()) -> Curve:
    """A blob symmetric about x = cx, from its right half: (offset from cx, y), top to bottom.

    Points with offset 0 lie on the axis and are used once.
    """
    right = [(cx + dx, y) for dx, y in half]
    left = [(cx - dx, y) for dx, y in reversed(half) if dx]
    return smooth([*right, *left], corners=corners)


def line(*points: Point) -> Curve:
    """An open smooth line, to be stroked."""
    return smooth(points, closed=False)


def arc(cx: float, y: float, width: float, depth: float) -> Curve:
    """An open bow from (cx - width/2, y) to (cx + width/2, y) that sags by `depth`."""
    half, handle = width / 2, depth * 4 / 3
    ends = [(cx - half, y), (cx - half * 0.6, y + handle), (cx + half * 0.6, y + handle)]
    return np.array([*ends, (cx + half, y)], dtype=np.float64)


def move(curve: Curve, dx: float, dy: float) -> Curve:
    """The curve shifted."""
    return np.add(curve, (dx, dy))


def turn(curve: Curve, degrees: float, cx: float, cy: float) -> Curve:
    """The curve rotated about a point (clockwise on screen, where y grows downwards)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = curve[:, 0] - cx, curve[:, 1] - cy
    return np.stack([cx + x * cosine - y * sine, cy + x * sine + y * cosine], axis=1)


def mirror(curve: Curve, cx: float) -> Curve:
    """The curve reflected about x = cx."""
    return curve * (-1.0, 1.0) + (2 * cx, 0.0)


def scale(curve: Curve, factor_x: float, factor_y: float, cx: float, cy: float) -> Curve:
    """The curve stretched about a point."""
    return (curve - (cx, cy)) * (factor_x, factor_y) + (cx, cy)


def sample(curve: Curve, steps: int) -> Curve:
    """Points on the curve: `steps` for each piece, and the end."""
    starts, first = curve[:-1:3], curve[1::3]
    second, ends = curve[2::3], curve[3::3]
    t = (np.arange(steps) / steps)[None, :, None]
    u = 1 - t
    a, b, c, d = (block[:, None, :] for block in (starts, first, second, ends))
    points = u**3 * a + 3 * u**2 * t * b + 3 * u * t**2 * c + t**3 * d
    return np.vstack([points.reshape(-1, 2), curve[-1:]])


def bounds(curve: Curve) -> tuple[float, float, float, float]:
    """The box around the curve: left, top, right, bottom."""
    points = sample(curve, 6)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _root_distance(a: Curve, b: Curve) -> Curve:
    distance = np.hypot(*(b - a).T)
    root: Curve = np.sqrt(np.maximum(distance, 1e-6))[:, None]
    return root


def _towards(corner: Curve, other: Curve, radius: float) -> Curve:
    length = float(np.hypot(*(other - corner)))
    toward: Curve = corner + (other - corner) * min(0.5, radius / max(length, 1e-6))
    return toward


def _straight(a: Curve, b: Curve) -> list[Curve]:
    return [a + (b - a) / 3, a + (b - a) * 2 / 3, b]


def _tube(spine: Sequence[Point], widths: Sequence[float]) -> tuple[Curve, Curve, Curve, Curve]:
    """Points around a limb: its left side, far end, right side and near end."""
    points = np.array(spine, dtype=np.float64)
    count = 5 if len(points) == 2 else 9
    t = np.linspace(0, 1, count)[:, None]
    centre, along = _bezier(points, t), _bezier(np.diff(points, axis=0), t)
    along = along / np.maximum(np.hypot(along[:, 0], along[:, 1])[:, None], 1e-6)
    radius = _lagrange(widths, t[:, 0]) / 2
    side = np.stack([-along[:, 1], along[:, 0]], axis=1) * radius[:, None]
    angles = (45, 90, 135)
    tip = np.array([centre[-1] + _spoke(along[-1], side[-1], radius[-1], a) for a in angles])
    root = np.array([centre[0] + _spoke(-along[0], -side[0], radius[0], a) for a in angles])
    return centre + side, tip, centre - side, root


def _bezier(points: Curve, t: Curve) -> Curve:
    """A Bézier curve of any degree at the parameters t (Bernstein form)."""
    degree = len(points) - 1
    terms = [
        math.comb(degree, k) * (1 - t) ** (degree - k) * t**k * point
        for k, point in enumerate(points)
    ]
    total: Curve = np.sum(terms, axis=0)
    return total


def _lagrange(values: Sequence[float], t: Curve) -> Curve:
    """The polynomial through values at equal steps of 0..1; unlike line pieces it has no kinks."""
    knots = [k / (len(values) - 1) for k in range(len(values))]
    total = np.zeros_like(t)
    for own, value in zip(knots, values, strict=True):
        term = np.full_like(t, value)
        for other in knots:
            if other != own:
                term = term * (t - other) / (own - other)
        total = total + term
    return np.maximum(total, 4.0)


def _through(points: Sequence[Curve], closed: bool = True) -> Curve:
    return smooth([(float(x), float(y)) for x, y in points], closed=closed)


def _spoke(along: Curve, side: Curve, radius: float, degrees: float) -> Curve:
    angle = math.radians(degrees)
    spoke: Curve = side * math.cos(angle) + along * (radius * math.sin(angle))
    return spoke
