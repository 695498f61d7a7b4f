"""What kind of picture some bytes begin like: their ending on disk, their media type."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of picture file."""

    suffix: str
    media_type: str
    magic: re.Pattern[bytes]
    """What such a file begins with."""


def _begins(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


PICTURES = (
    Format(".png", "image/png", _begins(rb"\x89PNG\r\n\x1a\n")),
    Format(".jpg", "image/jpeg", _begins(rb"\xff\xd8\xff")),
    Format(".webp", "image/webp", _begins(rb"RIFF....WEBP")),
    Format(".gif", "image/gif", _begins(rb"GIF8[79]a")),
    Format(".avif", "image/avif", _begins(rb"....ftyp(.{4}){0,16}?avi[fs]")),
    Format(".tif", "image/tiff", _begins(rb"II[*+]\0|MM\0[*+]")),
    Format(".jp2", "image/jp2", _begins(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
    Format(".bmp", "image/bmp", _begins(rb"BM....\0\0\0\0")),
)
"""Kinds that say what they are; these alone are taken from the network."""

_OTHERS = (
    Format(".ico", "image/x-icon", _begins(rb"\x00\x00\x01\x00")),
    Format(".sgi", "image/sgi", _begins(rb"\x01\xda")),
    Format(".pcx", "image/x-pcx", _begins(rb"\x0a[\x00-\x05]\x01")),
    Format(".ppm", "image/x-portable-anymap", _begins(rb"P[1-6][\s#]")),
)
_TARGA = Format(".tga", "image/x-tga", _begins(rb""))
SUFFIXES = tuple(kind.suffix for kind in (*PICTURES, *_OTHERS, _TARGA))
LONGEST_MAGIC = 80
"""Bytes that are enough to tell."""


def sniff(data: bytes) -> Format | None:
    """The kind of picture that the bytes begin like, of those that say what they are."""
    head = data[:LONGEST_MAGIC]
    return next((kind for kind in PICTURES if kind.magic.match(head)), None)


def suffix_of(data: bytes) -> str:
    """The file name ending of a picture that was decoded; the rest is Targa, without a magic."""
    found = sniff(data) or next((kind for kind in _OTHERS if kind.magic.match(data[:16])), _TARGA)
    return found.suffix
