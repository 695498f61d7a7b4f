"""The front: the animal large in a landscape of its own colours, its name below."""

import math

import numpy as np

from core.files import digest_bytes
from core.seeds import mixed_seed
from exporters.postcard.colours import Scheme
from exporters.postcard.geometry import Box, Path, Point, ellipse, polygon, rectangle, smooth
from exporters.postcard.lettering import fitting_size, lettering, width_of
from exporters.postcard.scene import PAPER, TRIM_MM, Fill, Item, Line, Scene
from exporters.postcard.subject import Figure, placed, scale_in

STAGE: Box = (20.0, 8.0, 108.0, 76.0)
"""Where the animal stands."""
_WET = ("fish", "whale", "shark", "seal", "dolphin", "octopus", "squid", "crab", "jellyfish")
_WIDE = TRIM_MM[0]


def draw_front(
    figure: Figure, scheme: Scheme, *, label: str, seed: int, name: str, line: str, alt: str
) -> Scene:
    """The front of a card: `name` large, `line` small above it."""
    number = int(digest_bytes(label.encode())[:8], 16)
    rng = np.random.default_rng(mixed_seed(number, seed, 1))
    wet = any(word in label.lower() for word in _WET)
    items: list[Item] = [*_sky(scheme), *(_sea(scheme, rng) if wet else _land(scheme, rng))]
    items += _photograph(figure, scheme) if figure.opaque else _standing(figure, scheme, wet=wet)
    items += _name(name, line, scheme)
    return Scene(title=alt, items=tuple(items))


def _sky(scheme: Scheme) -> list[Item]:
    """Bands that pass from the sky's colour into that of the horizon, and a disc of light."""
    steps = 7
    items: list[Item] = [Fill(rectangle(PAPER), scheme.sky)]
    items += [
        Fill(ellipse(_WIDE / 2, 88, 150 - 13 * step, 88 - 9 * step), scheme.sky_low, 0.16)
        for step in range(steps)
    ]
    light = [
        Fill(ellipse(_WIDE / 2, 47, r), scheme.halo, faint) for r, faint in ((43, 0.55), (38, 1))
    ]
    return [*items, *light]


def _land(scheme: Scheme, rng: np.random.Generator) -> list[Item]:
    """Two hills, clouds or stars, and grass."""
    items: list[Item] = [*_clouds(scheme, rng)]
    items.append(Fill(_hill(rng, 66, 5), scheme.far))
    items.append(Fill(_hill(rng, 75, 3), scheme.ground))
    items += [_tuft(scheme, rng, side) for side in (0, 1, 0, 1, 0, 1)]
    items += [flower for side in (0, 1, 0, 1, 1) for flower in _flower(scheme, rng, side)]
    return items


def _sea(scheme: Scheme, rng: np.random.Generator) -> list[Item]:
    """Bubbles, weed and a floor of sand."""
    items: list[Item] = []
    for _ in range(13):
        x, y, r = rng.uniform(6, 142), rng.uniform(5, 66), float(rng.uniform(0.8, 2.6))
        items.append(Line(ellipse(x, y, r), scheme.light, 0.45, 0.75))
        items.append(Fill(ellipse(x - r / 3, y - r / 3, r / 4), scheme.light, 0.8))
    weeds = (9, 14, 20, 129, 135, 140)
    items += [Line(_weed(rng, x), scheme.far, 2.0, 0.9) for x in weeds]
    items.append(Fill(_hill(rng, 80, 3), scheme.far))
    items.append(Fill(_hill(rng, 84, 2), scheme.ground))
    return items


def _hill(rng: np.random.Generator, height: float, swing: float) -> Path:
    phase, waves = rng.uniform(0, 2 * math.pi), rng.uniform(0.7, 1.3)
    points: list[Point] = [
        (x, height + swing * math.sin(phase + waves * 2 * math.pi * x / _WIDE))
        for x in np.linspace(-8, _WIDE + 8, 13).tolist()
    ]
    return (*smooth(points), ("L", ((_WIDE + 8, 120),)), ("L", ((-8.0, 120.0),)), ("Z", ()))


def _clouds(scheme: Scheme, rng: np.random.Generator) -> list[Item]:
    items: list[Item] = []
    for x in (float(rng.uniform(10, 32)), float(rng.uniform(116, 138))):
        y, size = float(rng.uniform(14, 40)), float(rng.uniform(0.8, 1.25))
        puffs = ((-6, 0.6, 3.2), (0, -1.6, 4.6), (6, 0.4, 3.6), (10, 1.4, 2.4))
        cloud = rectangle((x - 9 * size, y, 21.5 * size, 3.8 * size), 1.9 * size)
        for dx, dy, r in puffs:  # one path, so that it is equally thin everywhere
            cloud += ellipse(x + dx * size, y + dy * size, r * size)
        items.append(Fill(cloud, scheme.light, 0.75))
    return items


def _beside(rng: np.random.Generator, side: int) -> float:
    return float(rng.uniform(4, 32) if side == 0 else rng.uniform(116, 144))


def _tuft(scheme: Scheme, rng: np.random.Generator, side: int) -> Line:
    """Three blades of grass."""
    x, y, h = _beside(rng, side), float(rng.uniform(80, 87)), float(rng.uniform(3, 5.5))
    path: Path = ()
    for lean in (-0.45, 0.05, 0.5):
        tip = (x + lean * h, y - h * (1 - abs(lean) * 0.5))
        path += (("M", ((x, y),)), ("C", ((x, y - h / 2), (x + lean, y - h / 2), tip)))
    return Line(path, scheme.deep, 0.7)


def _flower(scheme: Scheme, rng: np.random.Generator, side: int) -> list[Item]:
    x, y, r = _beside(rng, side), float(rng.uniform(79, 85)), float(rng.uniform(0.75, 1.1))
    turn = float(rng.uniform(0, 1))
    petals = [
        Fill(ellipse(x + r * math.cos(angle), y + r * math.sin(angle), r * 0.72), scheme.light)
        for angle in (turn + k * 2 * math.pi / 5 for k in range(5))
    ]
    stem = Line((("M", ((x, y),)), ("L", ((x, y + 4.2),))), scheme.deep, 0.5)
    return [stem, *petals, Fill(ellipse(x, y, r * 0.6), scheme.accent)]


def _weed(rng: np.random.Generator, x: float) -> Path:
    top, phase = rng.uniform(50, 68), rng.uniform(0, 6)
    points = [(x + 1.8 * math.sin(phase + y / 5), y) for y in np.linspace(90, top, 8).tolist()]
    return smooth(points)


def _standing(figure: Figure, scheme: Scheme, *, wet: bool) -> list[Item]:
    """The animal with a white edge, on a soft shadow; above it, where it swims."""
    left, top, width, height = STAGE
    room = (left, top - 1, width, 70.0) if wet else STAGE
    wide = figure.box[2] * scale_in(figure, room)
    middle, foot = left + width / 2, top + height + (3.5 if wet else -1.0)
    shadow: list[Item] = [
        Fill(ellipse(middle, foot, wide * share, 5.4 * share / 0.5), scheme.deep, 0.13)
        for share in (0.58, 0.53, 0.48, 0.43, 0.38, 0.33)
    ]
    return [*shadow, *placed(figure, room, edge=1.1, colour=scheme.light)]


def _photograph(figure: Figure, scheme: Scheme) -> list[Item]:
    """A picture without a silhouette, in a white frame."""
    left, top, width, height = STAGE
    room = (left, top + 2, width, height - 5)
    scale = scale_in(figure, room)
    wide, high = figure.box[2] * scale, figure.box[3] * scale
    x, y = left + (width - wide) / 2, room[1] + room[3] - high
    shadows: list[Item] = [
        Fill(
            rectangle((x - 3 - k, y - 2 - k, wide + 6 + 2 * k, high + 6 + 2 * k), 2),
            scheme.deep,
            0.08,
        )
        for k in (0.5, 1.0, 1.5, 2.0)
    ]
    frame = Fill(rectangle((x - 3, y - 3, wide + 6, high + 6), 0.6), scheme.light)
    return [*shadows, frame, *placed(figure, room)]


def _name(name: str, line: str, scheme: Scheme) -> list[Item]:
    """The name in the middle of the ground, between two short rules."""
    size = fitting_size(name, "title", 8.6, 124)
    wide = width_of(name, "title", size)
    x, y = (_WIDE - wide) / 2, 95.5
    small = line.upper()
    size_small = fitting_size(small, "plain", 1.9, 90)
    track = 0.55
    under = width_of(small, "plain", size_small, track=track)
    left = (_WIDE - under) / 2
    rules: list[Item] = [
        Fill(polygon([(a, 99.2), (a + 9, 99.2), (a + 9, 99.45), (a, 99.45)]), scheme.light, 0.8)
        for a in (left - 12, left + under + 3)
    ]
    return [
        Fill(lettering(name, "title", size, x, y), scheme.light),
        Fill(lettering(small, "plain", size_small, left, 100.0, track=track), scheme.light),
        *rules,
    ]
