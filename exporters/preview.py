"""The contact sheet: a pack at a glance."""

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.images import Picture, contact_sheet, png_bytes

SHEET_AT_MOST = 64
"""Stickers on the sheet, taken from the classes in turn."""


def write_preview(folder: Path, stickers: Sequence[Mapping[str, Any]], cell_px: int) -> None:
    """Write preview.png from the stickers' small PNGs, on white."""
    chosen = _in_turn(stickers)[:SHEET_AT_MOST]
    pictures = [_read(folder / item["png_small"]) for item in chosen]
    columns = min(8, max(1, -(-len(pictures) // 4)))
    sheet = contact_sheet(pictures, columns=columns, cell_px=min(cell_px, 160), gap_px=12)
    (folder / "preview.png").write_bytes(png_bytes(sheet))


def _in_turn(stickers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One of each class, then the next of each."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for item in stickers:
        groups.setdefault(item["label"], []).append(item)
    rounds = itertools.zip_longest(*groups.values())
    return [item for row in rounds for item in row if item is not None]


def _read(path: Path) -> Picture:
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return np.array(image.convert("RGBA"))
