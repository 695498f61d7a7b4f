"""Where each frame lies on which sheet: rectangles packed without turning them.

Frames are not turned by 90°: Godot, Unity's sprites and CSS cannot turn them back.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rectpack

_STEPS_PX = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
    """How frames share a sheet; all in pixels."""

    max_px: int
    """Largest width and height of a sheet."""
    padding_px: int
    """Clear pixels between two frames."""
    extrude_px: int
    """Rows by which a frame's edge is repeated outwards."""
    power_of_two: bool

    @property
    def border_px(self) -> int:
        """From a frame's edge to its cell's: what it extrudes, and half of the padding."""
        return self.extrude_px + (self.padding_px + 1) // 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sheet:
    """One sheet, before it is painted."""

    width_px: int
    height_px: int
    places: Mapping[int, tuple[int, int]]
    """Left and top of each frame, by its number."""


def lay_out(sizes: Sequence[tuple[int, int]], room: Room) -> list[Sheet]:
    """Sheets for frames of these widths and heights: each frame on one, none overlapping.

    The same sizes give the same sheets. Every frame has to fit: `PackOptions` checks it.
    """
    grown = 2 * room.border_px
    waiting = {n: (width + grown, height + grown) for n, (width, height) in enumerate(sizes)}
    sheets = []
    while waiting:
        placed, side = _fill_one(waiting, room.max_px)
        sheets.append(_sheet(placed, {n: sizes[n] for n in placed}, side, room))
        for number in placed:
            del waiting[number]
    return sheets


_Places = dict[int, tuple[int, int]]


def _fill_one(cells: Mapping[int, tuple[int, int]], max_px: int) -> tuple[_Places, tuple[int, int]]:
    """The smallest sheet that holds all cells, or a full one that holds many of them."""
    for side in _sides(cells, max_px):
        placed = _pack(cells, side)
        if len(placed) == len(cells):
            return placed, side
    return _pack(cells, (max_px, max_px)), (max_px, max_px)


def _sides(cells: Mapping[int, tuple[int, int]], max_px: int) -> Iterator[tuple[int, int]]:
    """Sheets to try, the smallest area first: powers of two, square or twice as wide as high."""
    area = sum(width * height for width, height in cells.values())
    widest = max(width for width, _ in cells.values())
    highest = max(height for _, height in cells.values())
    for height in _STEPS_PX:
        for width in (height, 2 * height):
            fits = widest <= width <= max_px and highest <= height <= max_px
            if fits and width * height >= area:
                yield width, height


def _pack(cells: Mapping[int, tuple[int, int]], side: tuple[int, int]) -> _Places:
    """Left and top of the cells that one sheet takes, the longest first."""
    packer: Any = rectpack.newPacker(
        mode=rectpack.PackingMode.Online, pack_algo=rectpack.MaxRectsBssf, rotation=False
    )
    packer.add_bin(*side)
    for number in sorted(cells, key=lambda n: (-max(cells[n]), -min(cells[n]), n)):
        packer.add_rect(*cells[number], rid=number)
    return {rid: (x, y) for _, x, y, _, _, rid in packer.rect_list()}


def _sheet(
    placed: _Places, sizes: Mapping[int, tuple[int, int]], side: tuple[int, int], room: Room
) -> Sheet:
    """The frames inside their cells; unless it has to be a power of two, cut to what is used."""
    border = room.border_px
    places = {n: (x + border, y + border) for n, (x, y) in sorted(placed.items())}
    if room.power_of_two:
        width, height = side
    else:  # multiples of four, which graphics cards compress by
        width = _to_four(max(places[n][0] + sizes[n][0] + border for n in placed), room.max_px)
        height = _to_four(max(places[n][1] + sizes[n][1] + border for n in placed), room.max_px)
    return Sheet(width_px=width, height_px=height, places=places)


def _to_four(length: int, most: int) -> int:
    return min(-(-length // 4) * 4, most)
