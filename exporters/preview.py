"""preview.png: the pack at a glance, on light and on dark, as a shop shows it."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.images import png_bytes
from exporters.notices import pictures_of
from exporters.platforms.sets import in_turn

AT_MOST = 48
"""Stickers on the sheet, taken from the classes in turn."""
WIDTH_PX = 1280
_MARGIN_PX = 56
_GAP_PX = 18
_HEAD_PX = 148
_CELL_PX = (96, 232)
_LIGHT, _DARK = (250, 246, 236), (29, 27, 35)
_INK, _SOFT = (38, 34, 29), (112, 102, 88)
_WARN = (178, 32, 26)
_FINER = 3
"""The slope between light and dark is drawn at so many times the size, then made smaller."""


def write_preview(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write preview.png from the pack's PNGs and what pack.json says of it."""
    chosen = in_turn(facts["stickers"], lambda item: str(item["label"]))[:AT_MOST]
    columns = _columns(len(chosen))
    least, most = _CELL_PX
    cell = (WIDTH_PX - 2 * _MARGIN_PX - (columns - 1) * _GAP_PX) // columns
    cell = min(max(cell, least), most)
    rows = -(-len(chosen) // columns)
    warn_px = 0 if facts["redistributable"] is True else 72
    height = _HEAD_PX + rows * (cell + _GAP_PX) - _GAP_PX + _MARGIN_PX + warn_px
    sheet = _ground(height - warn_px, height)
    _write_head(sheet, facts)
    if warn_px:
        _write_warning(sheet, facts, warn_px)
    for row, batch in enumerate(_rows(chosen, columns)):
        span = len(batch) * (cell + _GAP_PX) - _GAP_PX
        left = (WIDTH_PX - span) // 2
        for place, item in enumerate(batch):
            small = _read(folder / item["png"], cell)
            at = (left + place * (cell + _GAP_PX), _HEAD_PX + row * (cell + _GAP_PX))
            sheet.paste(small, at, small)
    (folder / "preview.png").write_bytes(png_bytes(np.asarray(sheet)))


def _columns(count: int) -> int:
    """About twice as many columns as rows, 3 to 8, and no last row of one."""
    columns = min(8, max(3, math.ceil(math.sqrt(1.7 * count))))
    while columns > 3 and count % columns == 1:
        columns -= 1
    return min(columns, max(1, count))


def _rows(items: Sequence[Mapping[str, Any]], columns: int) -> list[Sequence[Mapping[str, Any]]]:
    return [items[begin : begin + columns] for begin in range(0, len(items), columns)]


def _ground(split_px: int, height: int) -> Image.Image:
    """Light above a slope, dark below it."""
    w, h = WIDTH_PX * _FINER, split_px * _FINER
    slope = Image.new("L", (w, h), 0)
    ImageDraw.Draw(slope).polygon(
        [(0, h), (w, h), (w, int(0.34 * h)), (0, int(0.78 * h))], fill=255
    )
    mask = slope.resize((WIDTH_PX, split_px), Image.Resampling.BOX)
    sheet = Image.new("RGB", (WIDTH_PX, height), _LIGHT)
    sheet.paste(Image.new("RGB", mask.size, _DARK), (0, 0), mask)
    return sheet


def _write_head(sheet: Image.Image, facts: Mapping[str, Any]) -> None:
    """Name and contents; a name that the built-in letters cannot write is left to the file name."""
    pen = ImageDraw.Draw(sheet)
    name = str(facts["name"])
    labels = len({item["label"] for item in facts["stickers"]})
    count = len(facts["stickers"])
    stickers = f"{count:,} sticker{'s' * (count != 1)}"
    line = f"{stickers}, {labels} class{'es' * (labels != 1)}, SVG + PNG + WebP"
    line += ", sprite sheets" * ("atlas" in facts) + ", messengers" * ("platforms" in facts)
    if name.isascii():
        shown = name if len(name) <= 44 else f"{name[:43]}..."
        pen.text((_MARGIN_PX, 36), shown, fill=_INK, font=_font(50))
    pen.text((_MARGIN_PX + 2, 98), line, fill=_SOFT, font=_font(23))


def _write_warning(sheet: Image.Image, facts: Mapping[str, Any], height_px: int) -> None:
    pen = ImageDraw.Draw(sheet)
    top = sheet.height - height_px
    pen.rectangle((0, top, sheet.width, sheet.height), fill=_WARN)
    why = "forbids it" if facts["redistributable"] is False else "is not known to allow it"
    text = f"DO NOT REDISTRIBUTE: the licence of the {pictures_of(facts['parents'])} {why}"
    pen.text((_MARGIN_PX, top + 22), text, fill=(255, 255, 255), font=_font(26))


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The letters that come with Pillow: the same on every machine."""
    return ImageFont.load_default(size_px)


def _read(path: Path, side_px: int) -> Image.Image:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return image.convert("RGBA").resize((side_px, side_px), Image.Resampling.LANCZOS)
