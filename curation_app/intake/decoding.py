"""Decoding in a few threads of its own: small pictures in two, large ones one after another.

Decoding takes about 17 bytes per pixel of a transparent picture, and what a thread has freed often
stays with that thread. The more threads decode, the more memory a server ends up with.
"""

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from core.data.jpeg import everyday_header

LARGE_PIXELS = 6_000_000

_small = ThreadPoolExecutor(2, thread_name_prefix="decode")
_large = ThreadPoolExecutor(1, thread_name_prefix="decode-large")

T = TypeVar("T")


def in_turn(data: bytes, task: Callable[[], T]) -> T:
    """Run what decodes this picture when it is its turn, and wait for it; errors come through."""
    pixels = pixels_stated(data)
    pool = _large if pixels is None or pixels > LARGE_PIXELS else _small
    return pool.submit(task).result()


def pixels_stated(data: bytes) -> int | None:
    """Width × height as the header states them; None for kinds that are not read that easily."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return int(width * height)
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        return int(width * height)
    header = everyday_header(data)
    return None if header is None else header.size_wh[0] * header.size_wh[1]
