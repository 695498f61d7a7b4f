"""Plots as SVG, drawn by the server: no script, colours from the page's style sheet.

Each has a title and a description for screen readers; the numbers themselves stand in a table
beside it.
"""

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH, NARROW, HEIGHT = 640, 360, 200
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 26
_NAMES = 140
_ROW = 26


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
    axis = _Axis(width=WIDTH, places=len(labels), most=max(totals, default=0))
    parts = [axis.rules(), *axis.labels(labels)]
    heights = [0.0] * len(labels)
    for number, one in enumerate(series):
        for place, value in enumerate(one.values):
            if value > 0:
                hint = f"{labels[place]}: {value:g} {one.name}"
                parts.append(axis.bar(place, heights[place], value, f"series-{number}", hint))
                heights[place] += value
    return _svg(title, told, "over-time", WIDTH, HEIGHT, parts)


def histogram(title: str, told: str, centres: Sequence[float], counts: Sequence[float]) -> Markup:
    """Bars side by side over a scale of numbers."""
    axis = _Axis(width=NARROW, places=len(centres), most=max(counts, default=0))
    parts = [axis.rules(), *axis.labels([f"{centre:g}" for centre in centres])]
    for place, (centre, count) in enumerate(zip(centres, counts, strict=True)):
        if count > 0:
            parts.append(axis.bar(place, 0, count, "series-0", f"{centre:g}: {count:g}"))
    return _svg(title, told, "narrow", NARROW, HEIGHT, parts)


def intervals(title: str, told: str, rows: Sequence[Interval], mark: float | None = None) -> Markup:
    """Shares from 0 to 100 %, a dot and its interval in each row; a line at `mark`."""
    left, wide = _NAMES, 480
    height = TOP + _ROW * len(rows) + BOTTOM

    def x(share: float) -> float:
        return left + min(1.0, max(0.0, share)) * (wide - left - 2 * RIGHT)

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
    return _svg(title, told, "shares", wide, height, parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Axis:
    """Places side by side over a scale from 0."""

    width: int
    places: int
    most: float

    def rules(self) -> Markup:
        """Horizontal rules with their numbers."""
        top, step = _scale(self.most)
        rule = '<line class="rule" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
        parts = []
        for number in range(round(top / step) + 1):
            y = self._y(number * step)
            parts.append(Markup(rule).format(LEFT, self.width - RIGHT, y, y))
            parts.append(_text(LEFT - 6, y + 4, _number(number * step), "end"))
        return Markup("").join(parts)

    def labels(self, labels: Sequence[str]) -> list[Markup]:
        """As many of the labels as fit."""
        longest = max((len(label) for label in labels), default=1)
        fitting = max(1, int((self.width - LEFT - RIGHT) / (7 * longest + 12)))
        every = math.ceil(len(labels) / fitting)
        return [
            _text(LEFT + (place + 0.5) * self._wide, HEIGHT - 8, label, "middle")
            for place, label in enumerate(labels)
            if place % every == 0
        ]

    def bar(self, place: int, under: float, value: float, kind: str, hint: str) -> Markup:
        """One bar, on top of what is under it."""
        gap = min(2.0, self._wide / 5)
        rect = (
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{}</title></rect>"
        )
        x, y = LEFT + place * self._wide + gap / 2, self._y(under + value)
        return Markup(rect).format(kind, x, y, self._wide - gap, self._y(under) - y, hint)

    @property
    def _wide(self) -> float:
        return (self.width - LEFT - RIGHT) / max(1, self.places)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / _scale(self.most)[0]


def _svg(
    title: str, told: str, kind: str, width: float, height: float, parts: Sequence[Markup]
) -> Markup:
    # A label rather than ids: one page holds many plots.
    head = (
        '<svg class="plot {}" role="img" aria-label="{}. {}" viewBox="0 0 {} {}" '
        'xmlns="http://www.w3.org/2000/svg"><title>{}</title><desc>{}</desc>'
    )
    return (
        Markup(head).format(kind, title, told, width, height, title, told)
        + Markup("").join(parts)
        + Markup("</svg>")
    )


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
    return name if len(name) <= 20 else f"{name[:19]}…"
