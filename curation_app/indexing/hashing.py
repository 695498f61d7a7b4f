"""Difference hashes: 64 bits that stay the same when a picture is encoded or scaled anew.

Each bit says whether a place is darker than its neighbour to the right (Krawetz, 2013).
"""

import dataclasses
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from core.data.transform import core_count, opencv

Integers = NDArray[np.int64]
_Found = tuple[Integers, Integers, NDArray[np.uint8]]

MOST_DISTANCE = 16
"""Beyond, a quarter of the bits, hashes are alike by chance."""

_STEP = 1.0
"""Grey levels that a step must rise by: in plain areas, coding noise would turn the bits."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BLOCK = 1024
_TILE_HW = (8, 4096)
"""What is compared at once stays in the processor's cache."""


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

    All are compared with all, which takes seconds for 100,000 and, unlike an index, no longer where
    many are alike. Memory grows with `most`.
    """
    if not 0 <= distance <= MOST_DISTANCE:
        raise ValueError(f"the distance is {distance}: 0 to {MOST_DISTANCE}")
    search = _Search(hashes, distance, most)
    with ThreadPoolExecutor(core_count()) as pool:
        for found, within in pool.map(search.rows, range(0, len(hashes), _BLOCK)):
            search.keep(found, within)
    left, right, apart = _joined(search.found) if search.within >= 0 else _equal(hashes)
    order = np.lexsort((right, left))
    return HashPairs(
        left=left[order], right=right[order], distance=apart[order], within=search.within
    )


class _Search:
    """What was found so far, and up to which distance that can be kept."""

    def __init__(self, hashes: Integers, distance: int, most: int) -> None:
        self.within, self.found = distance, list[_Found]()
        self._hashes = np.ascontiguousarray(hashes, np.int64).view(np.uint64)
        self._most = most

    def keep(self, found: _Found, within: int) -> None:
        self.within = min(self.within, within)
        kept = [_up_to(one, self.within) for one in (*self.found, found)]
        self.found, self.within = self._bounded(kept, self.within)

    def rows(self, start: int) -> tuple[_Found, int]:
        """The pairs of one block of rows with each other and with those after them.

        And the distance up to which they are all there.
        """
        within = self.within  # another thread may have lowered it; `keep` evens that out
        kept: list[_Found] = []
        for row in range(start, min(start + _BLOCK, len(self._hashes)), _TILE_HW[0]):
            found = _joined(_of_strip(self._hashes, row, within))
            kept, within = self._bounded([*kept, found], within)
            if within < 0:
                break
        return _joined(kept), within

    def _bounded(self, found: list[_Found], within: int) -> tuple[list[_Found], int]:
        while within >= 0 and sum(len(left) for left, _, _ in found) > self._most:
            within -= 1
            found = [_up_to(one, within) for one in found]
        return found, within


def _of_strip(hashes: NDArray[np.uint64], start: int, within: int) -> Iterator[_Found]:
    """The pairs of a few rows with each other and with those after them."""
    rows = hashes[start : start + _TILE_HW[0], None]
    for first in range(start, len(hashes), _TILE_HW[1]):
        columns = hashes[first : first + _TILE_HW[1]]
        apart = np.bitwise_count(rows ^ columns)
        near = apart <= within
        if first == start:
            near &= ~np.tri(*near.shape, dtype=np.bool_)
        # Numpy searches one dimension many times as fast as two.
        at = np.flatnonzero(near)
        if len(at):
            left, right = np.divmod(at, len(columns))
            yield left + start, right + first, apart.ravel()[at]


def _joined(found: Iterable[_Found]) -> _Found:
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
