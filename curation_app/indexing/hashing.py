"""Difference hashes: 64 bits that stay the same when a picture is encoded or scaled anew.

Each bit says whether a place is darker than its neighbour to the right (Krawetz, 2013).
"""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from core.data.transform import core_count, opencv

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
_Found = tuple[Integers, Integers, NDArray[np.uint8]]

MOST_DISTANCE = 16
"""Beyond, a quarter of the bits, hashes are alike by chance."""

_STEP = 1.0
"""Grey levels that a step must rise by: in plain areas, coding noise would turn the bits."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BLOCK = 2048


def dhash(thumbnail_hwc: NDArray[np.uint8]) -> int:
    """The hash of a thumbnail (32×32×4, premultiplied), as a signed 64-bit number.

    0 for pictures without any step: it says nothing about those.
    """
    wide = thumbnail_hwc.astype(np.float32)
    grey = (wide[..., :3] + (255 - wide[..., 3:]) * np.float32(0.5)) @ _LUMA
    small = opencv().resize(grey, (9, 8), interpolation=opencv().INTER_AREA)
    bits = small[:, 1:] > small[:, :-1] + _STEP
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HashPairs:
    """Pairs of pictures with like hashes, left < right, in order."""

    left: Integers
    right: Integers
    distance: NDArray[np.uint8]
    """Bits in which the two differ."""
    within: int
    """All pairs up to this distance are there. Below the distance that was asked for, where that
    gave too many; -1 where even equal hashes did, and each is paired with the next few of them."""


def near_by_hash(hashes: Integers, distance: int, *, most: int = 2_000_000) -> HashPairs:
    """All pairs of hashes that differ in at most `distance` bits, but hardly more than `most`.

    Hashes are compared as vectors of ±1, whose product is 64 less twice the distance: products of
    matrices count bits faster than counting does. Memory grows with `most` and with the hashes.
    """
    if not 0 <= distance <= MOST_DISTANCE:
        raise ValueError(f"the distance is {distance}: 0 to {MOST_DISTANCE}")
    search = _Search(_signs(hashes), distance, most)
    with ThreadPoolExecutor(core_count()) as pool:
        for found in pool.map(search.rows, range(0, len(hashes), _BLOCK)):
            search.keep(found)
    left, right, apart = _joined(search.found) if search.within >= 0 else _equal(hashes)
    order = np.lexsort((right, left))
    return HashPairs(
        left=left[order], right=right[order], distance=apart[order], within=search.within
    )


class _Search:
    """What was found so far, and up to which distance that can be kept."""

    def __init__(self, signs: Floats, distance: int, most: int) -> None:
        self.within, self.found = distance, list[_Found]()
        self._signs, self._most = signs, most

    def keep(self, found: _Found) -> None:
        self.found.append(_up_to(found, self.within))
        self.found, self.within = self._bounded(self.found, self.within)

    def rows(self, start: int) -> _Found:
        """The pairs of one block of rows with each other and with those after them."""
        within = self.within  # another thread may have lowered it; `keep` evens that out
        rows = self._signs[start : start + _BLOCK]
        kept: list[_Found] = []
        for first in range(start, len(self._signs), _BLOCK):
            product = rows @ self._signs[first : first + _BLOCK].T
            # Numpy searches one dimension many times as fast as two.
            at = np.flatnonzero((product >= 64 - 2 * within).ravel())
            left, right = np.divmod(at, product.shape[1])
            upper = left + start < right + first
            apart = ((64 - product.ravel()[at[upper]]) / 2).astype(np.uint8)
            kept.append(_up_to((left[upper] + start, right[upper] + first, apart), within))
            kept, within = self._bounded(kept, within)
        return _joined(kept)

    def _bounded(self, found: list[_Found], within: int) -> tuple[list[_Found], int]:
        while within >= 0 and sum(len(left) for left, _, _ in found) > self._most:
            within -= 1
            found = [_up_to(one, within) for one in found]
        return found, within


def _signs(hashes: Integers) -> Floats:
    octets = np.ascontiguousarray(hashes, np.int64).view(np.uint8).reshape(len(hashes), 8)
    signs: Floats = np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1
    return signs


def _joined(found: Sequence[_Found]) -> _Found:
    none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))
    left, right, apart = zip(none, *found, strict=True)
    return np.concatenate(left), np.concatenate(right), np.concatenate(apart)


def _up_to(found: _Found, distance: int) -> _Found:
    left, right, apart = found
    near = apart <= distance
    return left[near], right[near], apart[near]


def _equal(hashes: Integers, steps: int = 4) -> _Found:
    """Each with the next few of the same hash."""
    order = np.argsort(hashes, kind="stable")
    found: list[_Found] = []
    for step in range(1, steps + 1):
        same = hashes[order[:-step]] == hashes[order[step:]]
        left, right = order[:-step][same], order[step:][same]
        found.append((left, right, np.zeros(len(left), np.uint8)))
    return _joined(found)
