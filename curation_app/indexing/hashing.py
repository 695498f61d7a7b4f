"""Difference hashes: 64 bits that stay the same when a picture is encoded or scaled anew.

Each bit says whether a place is darker than its neighbour to the right (Krawetz, 2013).
"""

import numpy as np
from numpy.typing import NDArray

from core.data.transform import opencv

_STEP = 1.0
"""Grey levels that a step must rise by: in plain areas, coding noise would turn the bits."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def dhash(thumbnail_hwc: NDArray[np.uint8]) -> int:
    """The hash of a thumbnail (32×32×4, premultiplied), as a signed 64-bit number.

    0 for pictures without any step: it says nothing about those.
    """
    wide = thumbnail_hwc.astype(np.float32)
    grey = (wide[..., :3] + (255 - wide[..., 3:]) * np.float32(0.5)) @ _LUMA
    small = opencv().resize(grey, (9, 8), interpolation=opencv().INTER_AREA)
    bits = small[:, 1:] > small[:, :-1] + _STEP
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)
