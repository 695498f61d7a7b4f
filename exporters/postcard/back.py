"""The back: what the animal says and how it sounds, room for an address, a stamp, small print."""

import dataclasses
import math
import re
from collections.abc import Sequence

from exporters.postcard.colours import Scheme
from exporters.postcard.geometry import (
    Box,
    Command,
    Path,
    Point,
    ellipse,
    moved,
    polygon,
    rectangle,
    smooth,
)
from exporters.postcard.lettering import Face, balanced, fitting_size, lettering, width_of, wrapped
from exporters.postcard.scene import PAPER, Fill, Item, Line, Scene
from exporters.postcard.subject import Figure, placed
from exporters.postcard.waveform import bars_in

BARS = 52
"""Strokes of the waveform."""
_LEFT, _MIDDLE, _RIGHT = 9.0, 78.0, 139.0
_STAMP: Box = (113.5, 8.5, 25.5, 30.5)
_TOOTH = 1.5
"""Distance of the stamp's holes."""
_LARGEST_MM, _SMALLEST_MM = 8.2, 3.4
"""Of the phrase."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words:
    """What stands on the back."""

    name: str
    set_title: str
    phrase: str
    seed: int
    seconds: float
    """How long the call lasts."""
    small_print: Sequence[str]
    """Lines of provenance."""


def draw_back(figure: Figure, scheme: Scheme, words: Words, bars: Sequence[float]) -> Scene:
    """The back of a card; `bars` are the call's loudness, 0…1."""
    items: list[Item] = [Fill(rectangle(PAPER), scheme.paper)]
    items += _heading(words, scheme)
    items += _speech(words.phrase, scheme)
    items += _voice(figure, scheme, words, bars)
    items += _address(scheme)
    items += _stamp(figure, scheme, words)
    items += _postmark(scheme, words)
    items += _small_print(words.small_print, scheme)
    title = (
        f"Back of the card: {words.name} says “{words.phrase}”; room for a letter and an address"
    )
    return Scene(title=title, items=tuple(items))


def _text(
    text: str, face: Face, size: float, at: Point, colour: str, *, track: float = 0.0
) -> Fill:
    return Fill(lettering(text, face, size, *at, track=track), colour)


def _heading(words: Words, scheme: Scheme) -> list[Item]:
    size = fitting_size(words.name, "title", 4.6, _MIDDLE - _LEFT - 7)
    return [
        _text(words.name, "title", size, (_LEFT, 14.0), scheme.ink),
        _text("SAYS, IN ITS OWN TONGUE", "plain", 1.75, (_LEFT, 18.2), scheme.accent, track=0.4),
    ]


def _speech(phrase: str, scheme: Scheme) -> list[Item]:
    """The phrase in a bubble that points at the animal below."""
    box: Box = (_LEFT, 21.5, 63.0, 34.5)
    size, lines = _set_phrase(f"“{phrase}”", box[2] - 9, box[3] - 6)
    bubble = _bubble(box)
    items: list[Item] = [
        Fill(bubble, "#ffffff"),
        Line(bubble, scheme.ink, 0.45),
    ]
    step = size * 1.16
    y = box[1] + (box[3] - step * len(lines)) / 2 + size * 0.86
    for place, line in enumerate(lines):
        x = box[0] + (box[2] - width_of(line, "speech", size)) / 2
        items.append(_text(line, "speech", size, (x, y + place * step), scheme.ink))
    return items


def _set_phrase(phrase: str, room: float, high: float) -> tuple[float, list[str]]:
    """The largest size at which a phrase fits, and its lines; a long one ends in dots."""
    size = _LARGEST_MM
    while True:
        lines = balanced(phrase, "speech", size, room)
        most = int(high / (size * 1.16))
        words = max(width_of(word, "speech", size) for word in re.split(r"\s|(?<=-)", phrase))
        if len(lines) <= most and words <= room:
            return size, lines
        if size <= _SMALLEST_MM:
            return size, lines if len(lines) <= most else [*lines[: most - 1], "…”"]
        size = max(_SMALLEST_MM, size - 0.3)


def _bubble(box: Box) -> Path:
    """A rounded rectangle with a tail at the bottom left."""
    left, top, _, height = box
    outline = list(rectangle(box, 5))
    foot = top + height
    # The rectangle's bottom edge runs from right to left: the tail is a bend of it.
    bottom = next(
        i for i, (name, points) in enumerate(outline) if name == "L" and points[0][1] == foot
    )
    tail: list[Command] = [
        ("L", ((left + 25, foot),)),
        ("C", ((left + 24, foot + 3), (left + 21, foot + 5.5), (left + 17, foot + 6.5))),
        ("C", ((left + 18.5, foot + 4.5), (left + 18.8, foot + 2), (left + 18.5, foot))),
    ]
    return (*outline[:bottom], *tail, *outline[bottom:])


def _voice(figure: Figure, scheme: Scheme, words: Words, bars: Sequence[float]) -> list[Item]:
    """The animal, and its call beside it."""
    shadow = [
        Fill(ellipse(_LEFT + 12, 88.2, 11.5 * s, 1.3 * s), scheme.ink, 0.07) for s in (1, 0.8, 0.6)
    ]
    animal = placed(figure, (_LEFT, 63.5, 24.0, 25.0), edge=0.0)
    box: Box = (_LEFT + 28, 66.5, 35.0, 15.0)
    wave = Line(bars_in(bars, box), scheme.accent, 0.36)
    length = f"ITS CALL, {words.seconds:.1f} S"
    caption = _text(length, "plain", 1.75, (box[0], 86.8), scheme.ink, track=0.4)
    return [*shadow, *animal, wave, caption]


def _address(scheme: Scheme) -> list[Item]:
    """A rule down the middle, and four lines to write on."""
    items: list[Item] = [
        Line((("M", ((_MIDDLE, 9.0),)), ("L", ((_MIDDLE, 89.0),))), scheme.ink, 0.2, 0.5)
    ]
    for place in range(4):
        y = 55.0 + 10.0 * place
        items.append(Line((("M", ((85.0, y),)), ("L", ((_RIGHT, y),))), scheme.ink, 0.2, 0.55))
    return items


def _stamp(figure: Figure, scheme: Scheme, words: Words) -> list[Item]:
    """A stamp with holes along its edge, and the animal in it."""
    left, top, width, height = _STAMP
    inner: Box = (left + 2, top + 2, width - 4, height - 4)
    stamp = _perforated(_STAMP)
    room = (inner[0] + 1.5, inner[1] + 3.0, inner[2] - 3, inner[3] - 9.0)
    disc = ellipse(inner[0] + inner[2] / 2, room[1] + room[3] / 2, 9.2)
    size = fitting_size(words.set_title.upper(), "bold", 1.9, inner[2] - 3)
    wide = width_of(words.set_title.upper(), "bold", size)
    foot = inner[1] + inner[3] - 1.8
    worth = f"{1 + words.seed % 9}"
    return [
        *(Fill(moved(stamp, 1, k * 0.18, k * 0.22), scheme.ink, 0.07) for k in (1, 2, 3)),
        Fill(stamp, "#ffffff"),
        Fill(rectangle(inner), scheme.ground),
        Fill(disc, scheme.halo),
        *placed(figure, room, edge=0.35, colour=scheme.light),
        _text(
            words.set_title.upper(), "bold", size, (left + (width - wide) / 2, foot), scheme.light
        ),
        _text(worth, "bold", 3.2, (inner[0] + 1.2, inner[1] + 3.7), scheme.light),
    ]


def _perforated(box: Box) -> Path:
    """A rectangle with half circles bitten out of its sides."""
    left, top, width, height = box
    corners: list[Point] = [(left, top), (left + width, top)]
    corners += [(left + width, top + height), (left, top + height)]
    commands: list[Command] = [("M", (corners[0],))]
    for (x, y), (to_x, to_y) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = math.hypot(to_x - x, to_y - y)
        along = ((to_x - x) / length, (to_y - y) / length)
        count = round(length / _TOOTH)
        for tooth in range(count):
            commands += _tooth((x, y), along, length / count, tooth)
    return (*commands, ("Z", ()))


def _tooth(corner: Point, along: Point, step: float, number: int) -> list[Command]:
    """A straight bit, a bite inwards, a straight bit."""
    inwards = (-along[1], along[0])
    radius = step * 0.3

    def at(distance: float, depth: float) -> Point:
        far = number * step + distance
        x = corner[0] + along[0] * far + inwards[0] * depth
        return (x, corner[1] + along[1] * far + inwards[1] * depth)

    middle, handle = step / 2, radius * 4 / 3
    bite = (at(middle - radius, handle), at(middle + radius, handle), at(middle + radius, 0))
    return [("L", (at(middle - radius, 0),)), ("C", bite), ("L", (at(step, 0),))]


def _postmark(scheme: Scheme, words: Words) -> list[Item]:
    """Two rings with the set's name around, and waves over the stamp."""
    x, y = 101.5, 25.0
    items: list[Item] = [
        Line(ellipse(x, y, 10.5), scheme.ink, 0.4, 0.6),
        Line(ellipse(x, y, 6.6), scheme.ink, 0.25, 0.6),
    ]
    items += _around(f"{words.set_title.upper()} · BY ANIMAL POST ·", (x, y), 7.7, scheme)
    number = f"Nº {words.seed}"
    size = fitting_size(number, "bold", 2.5, 10.5)
    wide = width_of(number, "bold", size)
    items.append(Fill(lettering(number, "bold", size, x - wide / 2, y + 0.9), scheme.ink, 0.6))
    for row in range(4):
        base = y - 5.4 + 3.6 * row
        start = x + math.sqrt(10.5**2 - (base - y) ** 2) + 0.6
        points = [
            (px, base + 0.55 * math.sin((px - x) * 1.05))
            for px in [start + k * (122.5 - start) / 22 for k in range(23)]
        ]
        items.append(Line(smooth(points), scheme.ink, 0.3, 0.5))
    return items


def _around(text: str, centre: Point, radius: float, scheme: Scheme) -> list[Item]:
    """Letters along a circle, clockwise from the left."""
    size = 1.9
    total = sum(width_of(letter, "bold", size) or size * 0.35 for letter in text)
    room = 2 * math.pi * radius
    size, spare = (size, (room - total) / len(text)) if total < room else (size * room / total, 0.0)
    items: list[Item] = []
    along = 0.0
    for letter in text:
        wide = width_of(letter, "bold", size) or size * 0.35
        angle = -math.pi + (along + wide / 2) / radius
        glyph = lettering(letter, "bold", size, -wide / 2, 0.0)
        place = (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle))
        turned = moved(glyph, 1, place[0], place[1], angle + math.pi / 2)
        items.append(Fill(turned, scheme.ink, 0.6))
        along += wide + spare
    return items


def _small_print(lines: Sequence[str], scheme: Scheme) -> list[Item]:
    size, step, room = 1.7, 2.45, _RIGHT - _LEFT
    whole = [piece for line in lines for piece in wrapped(line, "plain", size, room)][:4]
    top = 100.0 - step * (len(whole) - 1)
    rule = polygon(
        [(_LEFT, top - 3.2), (_RIGHT, top - 3.2), (_RIGHT, top - 3.05), (_LEFT, top - 3.05)]
    )
    items: list[Item] = [Fill(rule, scheme.ink, 0.4)]
    for place, line in enumerate(whole):
        items.append(_text(line, "plain", size, (_LEFT, top + place * step), scheme.ink))
    return items
