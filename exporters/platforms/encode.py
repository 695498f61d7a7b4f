"""One drawing as the files that messengers take: framed, then squeezed until it fits.

The SVG's viewBox is set around the drawing, so that it fills the sticker sharply at any size.
"""

import dataclasses
import io
import re
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

from core.data.transform import shrink
from core.errors import UserError
from core.images import Picture, png_bytes
from core.render import render_svg
from exporters.platforms.limits import Limits
from exporters.webp import webp_candidates

_COLOURS = (256, 128, 64, 32, 16)
"""Palette sizes tried when a PNG is too large."""
_LARGE = 512, 16
"""Side and margin of the rendering that emoji are averaged from: truer than to render them."""
_EMOJI_PX = 240
"""A drawing of at most so many pixels, half of the large one, is averaged from it."""
_VIEW_BOX = re.compile(r'viewBox="([^"]*)"')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """A file for one platform."""

    data: bytes
    how: str
    """Such as `lossless, 512 px`."""


class Artist:
    """Draws one SVG for any number of platforms; what they share is rendered and encoded once."""

    def __init__(self, svg: str, seen_hwc: Picture, text: Mapping[str, str]) -> None:
        """`seen_hwc` is the SVG rendered at any size: it tells where the drawing is."""
        self._svg, self._text = svg, text
        self._bounds = _bounds(svg, seen_hwc)
        self._rendered: dict[tuple[int, int], Picture] = {}
        self._ladders: dict[tuple[int, int, str], _Ladder] = {}

    def draw(self, limits: Limits) -> Drawn:
        """The best file within the limits; UserError when there is none."""
        for side_px in (limits.side_px, *limits.smaller_px):
            for drawn in self._ladder(side_px, limits):
                if len(drawn.data) <= limits.max_bytes:
                    return drawn
        raise UserError(f"no encoding fits into {limits.title}'s {limits.max_bytes:,} bytes")

    def _ladder(self, side_px: int, limits: Limits) -> "_Ladder":
        key = (side_px, limits.margin_px, limits.ending)
        if key not in self._ladders:
            picture = self._render(side_px, limits.margin_px)
            if limits.ending == "webp":
                facts = {k.removeprefix("menagerie:"): v for k, v in self._text.items()}
                rungs = webp_candidates(picture, facts)
            else:
                rungs = _pngs(picture, self._text)
            self._ladders[key] = _Ladder(rungs, side_px)
        return self._ladders[key]

    def _render(self, side_px: int, margin_px: int) -> Picture:
        key = (side_px, margin_px)
        if key not in self._rendered:
            inner_px = side_px - 2 * margin_px
            if inner_px <= _EMOJI_PX:
                drawing = _inner(self._render(*_LARGE), _LARGE[1])
                inner = shrink(drawing, (inner_px, inner_px), straight=True)
            else:
                framed = frame_drawing(self._svg, self._bounds, margin_px / side_px)
                inner = _inner(render_svg(framed, side_px), margin_px)
            # a curve may reach a hair beyond the bounds that pixels told: the margin stays clear
            picture = np.zeros((side_px, side_px, 4), dtype=np.uint8)
            _inner(picture, margin_px)[:] = inner
            self._rendered[key] = picture
        return self._rendered[key]


class _Ladder:
    """Ever smaller encodings of one picture, each made when it is first asked for."""

    def __init__(self, rungs: Iterator[tuple[bytes, str]], side_px: int) -> None:
        self._rungs, self._side_px = rungs, side_px
        self._made: list[Drawn] = []

    def __iter__(self) -> Iterator[Drawn]:
        yield from self._made
        for data, how in self._rungs:
            self._made.append(Drawn(data=data, how=f"{how}, {self._side_px} px"))
            yield self._made[-1]


def _inner(picture: Picture, margin_px: int) -> Picture:
    """A square picture without its margin: a view of it."""
    return picture[margin_px : len(picture) - margin_px, margin_px : len(picture) - margin_px]


def frame_drawing(svg: str, bounds: tuple[float, float, float, float], margin: float) -> str:
    """The SVG with a square viewBox around `bounds` (left, top, right, bottom, in its units).

    `margin` is the share of the side that stays clear on each side.
    """
    left, top, right, bottom = bounds
    side = max(right - left, bottom - top, 1e-3) / (1 - 2 * margin)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    view = f'viewBox="{x:.3f} {y:.3f} {side:.3f} {side:.3f}"'
    return _VIEW_BOX.sub(view, svg, count=1)


def _bounds(svg: str, seen_hwc: Picture) -> tuple[float, float, float, float]:
    """Where the drawing is, in the SVG's units, at most one pixel of its rendering too wide."""
    found = _VIEW_BOX.search(svg)
    if found is None:
        raise UserError("the SVG has no viewBox")
    x, y, width, _ = map(float, found[1].split())
    seen = seen_hwc[..., 3] > 0
    if not seen.any():
        return x, y, x + width, y + width
    unit = width / seen.shape[1]
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return (
        x + unit * float(columns[0]),
        y + unit * float(rows[0]),
        x + unit * float(columns[-1] + 1),
        y + unit * float(rows[-1] + 1),
    )


def _pngs(picture: Picture, text: Mapping[str, str]) -> Iterator[tuple[bytes, str]]:
    """The picture as PNG, ever smaller: in full colour, then with palettes."""
    yield png_bytes(picture, text), "full colour"
    whole = Image.fromarray(picture)
    for colours in _COLOURS:
        buffer = io.BytesIO()
        few = whole.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(buffer, "PNG", optimize=True)
        yield buffer.getvalue(), f"{colours} colours"
