"""Plots as SVG, drawn by the server: no script, colours from the page's style sheet.

Each has a title and a description for screen readers; the numbers themselves stand in a table
beside it.
"""

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26
_ROW = 26
_MOST_LABELS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One row of a stacked bar plot."""

    name: str
    values: Sequence[float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A share with its uncertainty, all from 0 to 1."""

    name: str
    value: float
    low: float
    high: float


def bars(title: str, told: str, labels: Sequence[str], series: Sequence[Series]) -> Markup:
    """Stacked bars, one for each label; `told` says in a sentence what is to be seen."""
    totals = [sum(values) for values in zip(*(one.values for one in series), strict=True)]
    top, step = _scale(max(totals, default=0))
    wide = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    parts = [_lines(top, step)]
    heights = [0.0] * len(labels)
    for number, one in enumerate(series):
        for place, value in enumerate(one.values):
            if value > 0:
                hint = f"{labels[place]}: {value:g} {one.name}"
                parts.append(
                    _bar(place, wide, heights[place], value, top, f"series-{number}", hint)
                )
                heights[place] += value
    every = math.ceil(len(labels) / _MOST_LABELS)
    for place, label in enumerate(labels):
        if place % every == 0:
            parts.append(_text(LEFT + (place + 0.5) * wide, HEIGHT - 8, label, "middle"))
    return _svg(title, told, HEIGHT, parts)


def histogram(title: str, told: str, centres: Sequence[float], counts: Sequence[float]) -> Markup:
    """Bars side by side over a scale of numbers."""
    top, step = _scale(max(counts, default=0))
    wide = (WIDTH - LEFT - RIGHT) / max(1, len(centres))
    parts = [_lines(top, step)]
    every = math.ceil(len(centres) / _MOST_LABELS)
    for place, (centre, count) in enumerate(zip(centres, counts, strict=True)):
        if count > 0:
            hint = f"{centre:g}: {count:g}"
            parts.append(_bar(place, wide, 0, count, top, "series-0", hint))
        if place % every == 0:
            parts.append(_text(LEFT + (place + 0.5) * wide, HEIGHT - 8, f"{centre:g}", "middle"))
    return _svg(title, told, HEIGHT, parts)


def intervals(title: str, told: str, rows: Sequence[Interval], mark: float | None = None) -> Markup:
    """Shares from 0 to 100 %, a dot and its interval in each row; a line at `mark`."""
    left = 170
    height = TOP + _ROW * len(rows) + BOTTOM

    def x(share: float) -> float:
        return left + min(1.0, max(0.0, share)) * (WIDTH - left - 2 * RIGHT)

    parts = []
    for tenths in range(0, 11, 2):
        line = '<line class="rule" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
        at = f"{x(tenths / 10):.1f}"
        parts.append(Markup(line).format(at, TOP, height - BOTTOM))
        parts.append(_text(x(tenths / 10), height - 8, f"{tenths * 10} %", "middle"))
    if mark is not None:
        line = '<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
        parts.append(Markup(line).format(f"{x(mark):.1f}", TOP, height - BOTTOM))
    for number, row in enumerate(rows):
        y = TOP + (number + 0.5) * _ROW
        parts.append(_text(left - 10, y + 4, _shortened(row.name), "end"))
        reach = '<line class="reach" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>'
        parts.append(Markup(reach).format(x(row.low), x(row.high), y, y))
        hint = f"{row.name}: {row.value:.0%} ({row.low:.0%} to {row.high:.0%})"
        dot = '<circle class="dot" cx="{:.1f}" cy="{}" r="5"><title>{}</title></circle>'
        parts.append(Markup(dot).format(x(row.value), y, hint))
    return _svg(title, told, height, parts)


def _svg(title: str, told: str, height: float, parts: Sequence[Markup]) -> Markup:
    # A label rather than ids: one page holds many plots.
    head = (
        '<svg class="plot" role="img" aria-label="{}. {}" viewBox="0 0 {} {}" '
        'xmlns="http://www.w3.org/2000/svg"><title>{}</title><desc>{}</desc>'
    )
    return (
        Markup(head).format(title, told, WIDTH, height, title, told)
        + Markup("").join(parts)
        + Markup("</svg>")
    )


def _bar(
    place: int, wide: float, under: float, value: float, top: float, kind: str, hint: str
) -> Markup:
    tall = (HEIGHT - TOP - BOTTOM) * value / top
    y = _y(under + value, top)
    gap = min(2.0, wide / 5)
    rect = (
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
        "<title>{}</title></rect>"
    )
    return Markup(rect).format(kind, LEFT + place * wide + gap / 2, y, wide - gap, tall, hint)


def _lines(top: float, step: float) -> Markup:
    """Horizontal rules with their numbers."""
    rule = '<line class="rule" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
    parts = []
    for number in range(round(top / step) + 1):
        y = _y(number * step, top)
        parts.append(Markup(rule).format(LEFT, WIDTH - RIGHT, y, y))
        parts.append(_text(LEFT - 6, y + 4, _number(number * step), "end"))
    return Markup("").join(parts)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )


def _scale(most: float) -> tuple[float, float]:
    """The top of an axis from 0 and the step of its rules: 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1.0, 1.0
    rough = most / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(1.0, next(power * one for one in (1, 2, 5, 10) if power * one >= rough))
    return step * math.ceil(most / step), step


def _number(value: float) -> str:
    """Short enough for an axis."""
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def _shortened(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
