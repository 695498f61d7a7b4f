"""The short way for everyday JPEGs: their header read in place, their pixels by OpenCV's libjpeg.

The pixels are bit for bit those that Pillow's libjpeg gives, in half the time, and may be had at a
half, a quarter or an eighth of the size from the low frequencies of each block alone. What is
unusual (colour profiles, CMYK, several pictures in one file) or damaged: core.data.decode.
"""

import dataclasses

import numpy as np
from PIL import Image

from core.data.transform import opencv
from core.images import Picture

_START, _SCAN = b"\xff\xd8\xff", 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive, Huffman-coded."""
_EXIF_OR_XMP, _PROFILE_OR_MORE, _ADOBE = 0xE1, 0xE2, 0xEE
_XMP_ORIENTATION = b"tiff:Orientation"
_ORIENTATION = 0x0112
_REDUCED = {1: 0, 2: 16, 4: 32, 8: 64}
"""Divisor to OpenCV's IMREAD_REDUCED_GRAYSCALE_n, which the flag for RGB turns into colour."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JpegHeader:
    """What is to be known of an everyday JPEG before its pixels are decoded."""

    size_wh: tuple[int, int]
    orientation: int
    """As Exif counts it, 1 to 8; 1 is upright."""


def everyday_header(data: bytes) -> JpegHeader | None:
    """The header of an 8-bit grey or YCbCr JPEG without a colour profile; None for all else."""
    if not data.startswith(_START):
        return None
    size_wh, orientation, place, end = None, None, 2, len(data) - 4
    while place < end and data[place] == 0xFF:
        marker = data[place + 1]
        length = data[place + 2] << 8 | data[place + 3]
        if marker == _SCAN:
            return JpegHeader(size_wh=size_wh, orientation=orientation or 1) if size_wh else None
        if marker in _FRAMES and length >= 8 and place + 9 < end:
            if size_wh or data[place + 4] != 8 or data[place + 9] not in (1, 3):
                return None
            size_wh = (
                data[place + 7] << 8 | data[place + 8],
                data[place + 5] << 8 | data[place + 6],
            )
            if 0 in size_wh:
                return None
        elif marker == _EXIF_OR_XMP and length >= 2:
            block = data[place + 4 : place + 2 + length]
            exif = block.startswith(b"Exif\0\0")
            # Pillow joins several blocks of Exif, and asks XMP where Exif says nothing.
            if _XMP_ORIENTATION in block or (exif and orientation is not None):
                return None
            if exif:
                orientation = _orientation(block)
        elif marker in (_PROFILE_OR_MORE, _ADOBE) or not 0xC4 <= marker <= 0xFE or length < 2:
            return None
        place += 2 + length
    return None


def jpeg_scale(size_wh: tuple[int, int], enough_px: int | None, exact_px: int | None) -> int:
    """The divisor, of 1, 2, 4 and 8, at which to decode: see `core.data.decode.decode`."""
    short, long = sorted(size_wh)
    for scale in (8, 4, 2):
        # Where half a pixel would be cut off, the centre would move.
        exact = exact_px is not None and short == scale * exact_px and long % (2 * scale) == 0
        if exact or (enough_px is not None and short >= scale * enough_px):
            return scale
    return 1


def jpeg_pixels(data: bytes, header: JpegHeader, scale: int) -> Picture | None:
    """H×W×3 as they lie in the file, divided by `scale` (rounded up); None when damaged."""
    cv2 = opencv()
    flags = _REDUCED[scale] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels: Picture | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    width, height = (-(-side // scale) for side in header.size_wh)
    return pixels if pixels is not None and pixels.shape == (height, width, 3) else None


def _orientation(block: bytes) -> int:
    try:
        exif = Image.Exif()
        exif.load(block)
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block says nothing; the picture is as good without it
        return 1
