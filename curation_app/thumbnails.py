"""What browsers are sent: small previews, made once, and originals in formats they know."""

import contextlib
import io
import os
import struct
import threading
import zlib
from pathlib import Path

from PIL import Image

from core.data.decode import decode
from core.data.transform import shrink
from core.images import Picture, png_bytes

SIDE_PX = 256
"""Longest side of a preview."""

# Decoding takes four bytes per pixel, up to 400 MB for the largest pictures: few at a time.
_decoding = threading.Semaphore(2)

_BROWSERS_KNOW = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_PNG = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_COLOUR_CHUNKS = (b"iCCP", b"gAMA", b"cHRM", b"cICP", b"eXIf")
"""They say that the pixels do not mean what they seem to: colours, or which way is up."""
_MOST_BYTES = 64 * 2**10


def thumbnail_path(folder: Path, sha256: str) -> Path:
    """Where the preview of a picture with this digest is kept; its bytes tell its format."""
    return folder / sha256[:2] / f"{sha256}-{SIDE_PX}"


def make_thumbnail(data: bytes) -> bytes:
    """A preview of a picture's bytes; UnreadableError when they are no picture."""
    with _decoding:
        return encode_thumbnail(fit(decode(data, enough_px=SIDE_PX), SIDE_PX), data)


def encode_thumbnail(image_hwc: Picture, data: bytes) -> bytes:
    """A preview's bytes: JPEG, or WebP where it is transparent; `data` is what it was made of.

    A small PNG is its own preview, without what it holds beside its pixels: encoding it anew would
    take longer than all else that is done to a picture.
    """
    own = _bare_png(data) if len(data) <= _MOST_BYTES else None
    if own is not None:
        return own
    buffer = io.BytesIO()
    image = Image.fromarray(image_hwc)
    if image_hwc.shape[-1] == 4:
        image.save(buffer, format="WEBP", quality=80, method=0)
    else:
        image.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def fit(image_hwc: Picture, side_px: int) -> Picture:
    """A picture (straight alpha) with no side longer than `side_px`; a smaller one as it is."""
    height, width = image_hwc.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return image_hwc
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return shrink(image_hwc, size_wh, straight=True)


def media_type(preview: bytes) -> str:
    """Of a preview's bytes."""
    return _known_type(preview) or "application/octet-stream"


def keep_thumbnail(path: Path, data: bytes) -> None:
    """Keep a preview for the next time; without room for it, it is made again."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        # Not synced to the disk: what a power failure takes is made again.
        try:
            temporary.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def kept_thumbnail(path: Path) -> bytes | None:
    """A kept preview; None when it is missing or was cut off."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if _is_whole(data) else None


def for_browsers(data: bytes) -> tuple[bytes, str]:
    """A picture's own bytes and their media type; formats that browsers do not know become PNG.

    Drawings (SVG), which may carry scripts, are among what UnreadableError refuses.
    """
    known = _known_type(data)
    if known:
        return data, known
    with _decoding:
        return png_bytes(decode(data)), "image/png"


def _known_type(data: bytes) -> str | None:
    for magic, kind in _BROWSERS_KNOW.items():
        if data.startswith(magic):
            return kind
    return "image/webp" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None


def _is_whole(preview: bytes) -> bool:
    kind = _known_type(preview)
    if kind == "image/webp":
        return len(preview) >= 8 + int.from_bytes(preview[4:8], "little")
    ends = {
        "image/jpeg": b"\xff\xd9",
        "image/png": b"IEND" + zlib.crc32(b"IEND").to_bytes(4, "big"),
    }
    return kind in ends and preview.endswith(ends[kind])


def _bare_png(data: bytes) -> bytes | None:
    """A small PNG of its pixels alone, where nothing else matters; `data` was decoded before."""
    if not data.startswith(_PNG + b"\0\0\0\rIHDR"):
        return None
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    if max(width, height) > SIDE_PX or depth > 8:
        return None
    parts, place = [_PNG], len(_PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, end = data[place + 4 : place + 8], place + 12 + length
        if kind in _COLOUR_CHUNKS:
            return None
        if kind in _PIXEL_CHUNKS:
            parts.append(data[place:end])
        if kind == b"IEND":
            return b"".join(parts)
        place = end
    return None
