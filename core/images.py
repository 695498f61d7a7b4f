"""Pictures as arrays: alpha, backgrounds, PNG bytes and contact sheets. Free of torch.

Arrays are `image_hwc`: uint8, H×W×C, C = 3 (RGB) or 4 (RGBA). Inside Menagerie colour is
premultiplied by alpha; files for people carry straight alpha.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

Picture = NDArray[np.uint8]


def premultiply(image_hwc: Picture) -> Picture:
    """Straight RGBA (…×4) to premultiplied RGBA, rounded to nearest; RGB passes unchanged."""
    if image_hwc.shape[-1] == 3:
        return image_hwc
    wide = image_hwc.astype(np.uint16)
    colour = (wide[..., :3] * wide[..., 3:] + 127) // 255
    return np.concatenate([colour.astype(np.uint8), image_hwc[..., 3:]], axis=-1)


def unpremultiply(image_hwc: Picture) -> Picture:
    """Premultiplied RGBA (…×4) to straight RGBA; fully clear pixels become (0, 0, 0, 0)."""
    if image_hwc.shape[-1] == 3:
        return image_hwc
    alpha = image_hwc[..., 3:].astype(np.uint32)
    colour = image_hwc[..., :3].astype(np.uint32)
    safe = np.maximum(alpha, 1)
    straight = np.minimum((colour * 255 + safe // 2) // safe, 255) * (alpha > 0)
    return np.concatenate([straight.astype(np.uint8), image_hwc[..., 3:]], axis=-1)


def over(image_hwc: Picture, background_rgb: tuple[int, int, int]) -> Picture:
    """Straight RGBA (or RGB) composited over one colour: H×W×3."""
    if image_hwc.shape[-1] == 3:
        return image_hwc
    wide = image_hwc.astype(np.uint32)
    alpha = wide[..., 3:]
    ground = np.array(background_rgb, dtype=np.uint32)
    blended = (wide[..., :3] * alpha + ground * (255 - alpha) + 127) // 255
    return blended.astype(np.uint8)


def png_bytes(image_hwc: Picture, text: Mapping[str, str] | None = None) -> bytes:
    """Encode a straight-alpha picture as PNG: same bytes for the same input, no timestamps."""
    info = PngInfo()
    for key, value in sorted((text or {}).items()):
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    Image.fromarray(image_hwc).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def contact_sheet(
    pictures: Sequence[Picture],
    *,
    columns: int,
    cell_px: int = 96,
    gap_px: int = 8,
    background_rgb: tuple[int, int, int] = (255, 255, 255),
) -> Picture:
    """Pictures (straight alpha) in rows of `columns` on one background: an H×W×3 array."""
    rows = max(1, -(-len(pictures) // columns))
    step = cell_px + gap_px
    sheet = Image.new("RGB", (columns * step + gap_px, rows * step + gap_px), background_rgb)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        cell = Image.fromarray(over(picture, background_rgb))
        cell.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
        if cell.width < cell_px and cell.height < cell_px:
            scale = min(cell_px / cell.width, cell_px / cell.height)
            size = (max(1, round(cell.width * scale)), max(1, round(cell.height * scale)))
            cell = cell.resize(size, Image.Resampling.LANCZOS)
        offset_x, offset_y = (cell_px - cell.width) // 2, (cell_px - cell.height) // 2
        sheet.paste(cell, (gap_px + column * step + offset_x, gap_px + row * step + offset_y))
    return np.asarray(sheet)
