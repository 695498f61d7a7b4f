"""What browsers are sent: small previews, made once, and originals in formats they know."""

import contextlib
import io
import threading
from pathlib import Path

from PIL import Image

from core.data.decode import decode
from core.files import write_bytes
from core.images import png_bytes

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


def thumbnail_path(folder: Path, sha256: str) -> Path:
    """Where the preview of a picture with this digest is kept."""
    return folder / sha256[:2] / f"{sha256}-{SIDE_PX}.webp"


def make_thumbnail(data: bytes) -> bytes:
    """A WebP preview, with transparency; UnreadableError when the bytes are no picture."""
    with _decoding:
        image = Image.fromarray(decode(data, enough_px=SIDE_PX))
        image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, format="WEBP", quality=85, method=4)
        return buffer.getvalue()


def keep_thumbnail(path: Path, data: bytes) -> None:
    """Keep a preview for the next time; without room for it, it is made again."""
    with contextlib.suppress(OSError):
        write_bytes(path, data)


def for_browsers(data: bytes) -> tuple[bytes, str]:
    """A picture's own bytes and their media type; formats that browsers do not know become PNG.

    Drawings (SVG), which may carry scripts, are among what UnreadableError refuses.
    """
    for magic, media_type in _BROWSERS_KNOW.items():
        if data.startswith(magic):
            return data, media_type
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return data, "image/webp"
    with _decoding:
        return png_bytes(decode(data)), "image/png"
