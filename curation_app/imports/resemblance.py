"""Which pictures of an import look like one another, or like one that is on record.

Hashes name candidates, thumbnails decide. What was moved or mirrored is not sought here: the search
for duplicates finds it afterwards.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.data.duplicates import halved, likenesses
from curation_app.imports.waiting import Staged
from curation_app.indexing.hashing import near_by_hash
from curation_app.intake.plan import Near
from curation_app.store.imports import Hashes

Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
DISTANCE = 10
"""Bits: encoding anew, or scaling, turns 6 at most."""
_LIKENESS = 0.9
"""Of 20 million pairs of photographs, 9 of those within the distance agree so well by chance."""
_EACH = 8
"""Look-alikes of one picture that are looked at: the closest decides."""
_BLOCK = 1000
_SHAPE = (32, 32, 4)
_BLANK = bytes(32 * 32 * 4)
"""Is like nothing."""


def among(staged: Staged, thumbnails: Bytes) -> list[Near]:
    """The pairs of pictures of an import that look alike."""
    rows = np.flatnonzero(staged.dhash != 0)
    found = near_by_hash(staged.dhash[rows], DISTANCE, most=_EACH * max(len(rows), _BLOCK))
    pairs = np.stack([rows[found.left], rows[found.right]], axis=1)
    return _told(pairs, found.distance, halved(thumbnails), list(staged.rows))


def with_known(
    staged: Staged,
    thumbnails: Bytes,
    known: Hashes,
    fetch: Callable[[Iterable[int]], Mapping[int, bytes]],
) -> list[Near]:
    """The pairs of an import's picture and one on record that look alike.

    All are compared with all: seconds for 10,000 and 100,000. `fetch` reads thumbnails by id.
    """
    rows = np.flatnonzero(staged.dhash != 0)
    digests = list(staged.rows)
    near: list[Near] = []
    for start in range(0, len(rows), _BLOCK):
        pairs, apart = _pairs(staged.dhash, rows[start : start + _BLOCK], known.dhash)
        ours, our_places = np.unique(pairs[:, 0], return_inverse=True)
        there, their_places = np.unique(pairs[:, 1], return_inverse=True)
        ids = known.ids[there].tolist()
        theirs = fetch(ids)
        blobs = np.frombuffer(b"".join(theirs.get(key, _BLANK) for key in ids), np.uint8)
        both = np.concatenate([thumbnails[ours], blobs.reshape(-1, *_SHAPE)])
        names = [digests[row] for row in ours] + [known.sha256[row] for row in there]
        places = np.stack([our_places, their_places + len(ours)], axis=1)
        near += _told(places, apart, halved(both), names)
    return near


def _pairs(dhash: Integers, rows: Integers, known: Integers) -> tuple[Integers, Bytes]:
    """M×2, the rows with the closest known ones, and in how many bits they differ."""
    there = np.flatnonzero(known != 0)
    hashes = np.ascontiguousarray(known[there]).view(np.uint64)
    pairs, apart = [np.empty((0, 2), np.int64)], [np.empty(0, np.uint8)]
    for row, own in zip(rows.tolist(), dhash[rows].view(np.uint64), strict=True):
        distances = np.bitwise_count(hashes ^ own)
        near = np.flatnonzero(distances <= DISTANCE)
        near = near[np.argsort(distances[near], kind="stable")[:_EACH]]
        pairs.append(np.stack([np.full(len(near), row), there[near]], axis=1))
        apart.append(distances[near])
    return np.concatenate(pairs), np.concatenate(apart)


def _told(pairs: Integers, apart: Bytes, small: Bytes, digests: Sequence[str]) -> list[Near]:
    agree = likenesses(small, pairs, least=_LIKENESS) > 0
    return [
        Near(sha256=digests[one], other=digests[other], distance=distance)
        for (one, other), distance in zip(pairs[agree].tolist(), apart[agree].tolist(), strict=True)
        if digests[one] != digests[other]
    ]
