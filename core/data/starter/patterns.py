"""Coat patterns and shading, as marks that a part clips to its own shape."""

import math

from core.data.starter.dice import Dice
from core.data.starter.scene import Mark
from core.data.starter.shapes import Curve, bounds, ellipse, limb, move, scale, smooth


def shade(curve: Curve, colour: str, light: float, depth: float = 16.0) -> Mark:
    """A flat crescent of shadow along the side away from the light."""
    lit = move(curve, light * depth * 0.8, -depth)
    return Mark(curve, colour, hole=lit, opacity=0.13)


def resized(marks: list[Mark], size: float, cx: float, cy: float) -> list[Mark]:
    """Filled marks scaled about a point."""
    return [Mark(scale(mark.curve, size, size, cx, cy), mark.fill) for mark in marks]


def spots(curve: Curve, dice: Dice, colour: str, size: float, gap: float = 2.6) -> list[Mark]:
    """Round spots on a staggered grid over the curve's box."""
    left, top, right, bottom = bounds(curve)
    step = size * gap
    marks, row, y = [], 0, top + size * 0.7
    while y < bottom:
        x = left + size * 0.6 + (row % 2) * step / 2
        while x < right:
            cx, cy = x + dice.between(-0.2, 0.2) * step, y + dice.between(-0.2, 0.2) * step
            radius = size * dice.between(0.65, 1.05)
            marks.append(Mark(ellipse(cx, cy, radius, radius * dice.between(0.85, 1.0)), colour))
            x += step
        row, y = row + 1, y + step * 0.8
    return marks


def stripes(
    curve: Curve, dice: Dice, colour: str, count: int, reach: float = 0.55, width: float = 20.0
) -> list[Mark]:
    """Tiger stripes: tapering wedges hanging from the top edge."""
    left, top, right, bottom = bounds(curve)
    step = (right - left) / count
    marks = []
    for index in range(count):
        x = left + step * (index + 0.5)
        length = (bottom - top) * reach * dice.between(0.8, 1.1)
        bend = dice.between(4, 14)
        spine = [(x, top - 10), (x + bend, top + length * 0.55), (x + bend * 0.4, top + length)]
        marks.append(Mark(limb(spine, [width * 1.1, width, width * 0.35]), colour))
    return marks


def bands(
    curve: Curve, dice: Dice, colour: str, places: list[float], width: float, edge: str = ""
) -> list[Mark]:
    """Bands right across, at fractions of the width; with a border colour if `edge` is given."""
    left, top, right, bottom = bounds(curve)
    marks = []
    for place in places:
        x, bow = left + (right - left) * place, dice.between(10, 20)
        spine = [(x - bow, top - 20), (x + bow, (top + bottom) / 2), (x - bow, bottom + 20)]
        if edge:
            marks.append(Mark(limb(spine, [width + 22] * 3), edge))
        marks.append(Mark(limb(spine, [width] * 3), colour))
    return marks


def patch(
    cx: float, cy: float, rx: float, ry: float, dice: Dice, colour: str, wobble: float = 0.2
) -> Mark:
    """One soft irregular patch."""
    points = []
    for index in range(7):
        angle = 2 * math.pi * index / 7
        reach = 1 + dice.between(-wobble, wobble)
        points.append((cx + rx * reach * math.cos(angle), cy + ry * reach * math.sin(angle)))
    return Mark(smooth(points), colour)


def patches(curve: Curve, dice: Dice, colours: list[str], size: float = 0.3) -> list[Mark]:
    """A few large patches, one colour after another, that leave the middle half free."""
    left, top, right, bottom = bounds(curve)
    width, height = right - left, bottom - top
    places = [(0.12, 0.2), (0.6, 0.08), (0.92, 0.6), (0.35, 0.95)]
    marks = []
    for index, (px, py) in enumerate(places):
        cx = left + width * (px + dice.between(-0.06, 0.06))
        cy = top + height * (py + dice.between(-0.06, 0.06))
        reach = size * dice.between(0.8, 1.2)
        colour = colours[index % len(colours)]
        marks.append(patch(cx, cy, width * reach, height * reach * 1.15, dice, colour))
    return marks
