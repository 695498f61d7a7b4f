"""Frames: pictures without their clear borders, and how they lie on the painted sheets."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from core.images import Picture
from exporters.atlas.layout import Sheet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of an atlas; all in pixels."""

    name: str
    label: str
    """Its class."""
    path: Path
    """The PNG that it is cut from."""
    source: tuple[int, int]
    """Width and height of that PNG."""
    trim: tuple[int, int, int, int]
    """Left, top, width and height of what is not clear in it; one clear pixel of an empty one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placed:
    """A frame on its sheet."""

    frame: Frame
    x: int
    """Left edge on the sheet."""
    y: int
    """Upper edge on the sheet."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Painted:
    """One sheet and what is on it."""

    number: int
    image: str
    """File name of its picture."""
    width: int
    height: int
    frames: tuple[Placed, ...]
    """In the pack's order."""


def find_frame(name: str, label: str, path: Path) -> Frame:
    """The frame of one PNG with straight alpha."""
    picture = read_picture(path)
    seen = picture[..., 3] > 0
    height, width = seen.shape
    if not seen.any():
        return Frame(name=name, label=label, path=path, source=(width, height), trim=(0, 0, 1, 1))
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    trim = (left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)
    return Frame(name=name, label=label, path=path, source=(width, height), trim=trim)


def paint(sheet: Sheet, frames: Sequence[Frame], extrude_px: int) -> Picture:
    """The sheet's picture, H×W×4, straight alpha: frames in place, their edges repeated outwards.

    A renderer that samples a hair beside a frame then meets the frame's own edge.
    """
    canvas = np.zeros((sheet.height_px, sheet.width_px, 4), dtype=np.uint8)
    for number, (x, y) in sheet.places.items():
        frame = frames[number]
        left, top, width, height = frame.trim
        piece = read_picture(frame.path)[top : top + height, left : left + width]
        grown = np.pad(piece, ((extrude_px, extrude_px), (extrude_px, extrude_px), (0, 0)), "edge")
        rows = slice(y - extrude_px, y + height + extrude_px)
        canvas[rows, x - extrude_px : x + width + extrude_px] = grown
    return canvas


def read_picture(path: Path) -> Picture:
    """A PNG as straight RGBA."""
    with Image.open(path) as image:
        return np.array(image.convert("RGBA"))
