"""Copies among the pictures on record, and which of them to keep.

`find_links` is work for a background task: minutes at 100,000 pictures. What it finds can be kept,
and `groups` makes groups of it in an instant, again and again while a curator moves the slider.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.data import moved
from core.data.duplicates import (
    Pairs,
    bounded_groups,
    exact_pairs,
    halved,
    joined_groups,
    likenesses,
    near_pairs_of_halves,
)
from core.data.moved import Thumbs
from curation_app.indexing.hashing import MOST_DISTANCE, near_by_hash
from curation_app.indexing.scenes import Previews, same_scenes
from curation_app.indexing.subjects import SAME, subject_correlations

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Kind = Literal["exact", "encoded", "near", "augmented"]
Watch = Callable[[str, float], None]
"""Told what is being done, and which share of it is done."""

KINDS: tuple[Kind, ...] = ("exact", "encoded", "near", "augmented")
"""From equal bytes by encoded anew (or scaled) and by near to shifted, turned, zoomed, mirrored."""

_ENCODED_DISTANCE = 6
"""Bits; JPEG at quality 50, half the size or WebP turn at most 5 of real photographs."""
_ENCODED_LEVELS = 5.0
"""Mean difference of the thumbnails, in grey levels; those turn at most 4.3."""
_ENCODED_CORRELATION = 0.97
_NEAR_CORRELATION = 0.9
"""Of 20 million pairs of 6,387 photographs, 7,000 hashes are within 10 bits by chance; 46 of those
thumbnails agree so well, nearly all of frogs on white: for them see `subjects`."""
_MOST_SCENES = 60_000
"""Pairs whose previews are opened at most; the likeliest first."""
_MOST_HASH_PAIRS = 3_000_000
_CHUNK = 4096
_STEP = 2048


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """What the search for copies reads; all of one length and order."""

    sha256: Sequence[str]
    pixels_sha256: Sequence[str]
    dhash: Integers
    thumbs: Thumbs
    """32×32×4, premultiplied; asked for in blocks of rows, so that they may lie in a database."""
    previews: Previews | None = None
    """Without them, copies that were moved are found by their thumbnails alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Links:
    """Pairs of copies, left < right, sorted; each pair once, as the first of KINDS that holds."""

    left: Integers
    right: Integers
    kind: NDArray[np.int8]
    """Index into KINDS."""
    distance: NDArray[np.uint8]
    """Of the hashes, in bits, for near copies: what a slider limits. 0 for the others."""
    likeness: Floats
    """Correlation of what both show, 1 for exact copies."""
    within: int
    """The distance up to which all near copies are there; see `HashPairs.within`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Pictures that show the same."""

    members: tuple[int, ...]
    """Rows, ascending."""
    kind: Kind
    """Of the loosest link that holds it together."""
    likeness: float
    """Of the least alike link."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rated:
    """What is asked of a picture when the best one of a group is chosen."""

    score: float
    width_px: int
    height_px: int
    size_bytes: int


def best_of(pictures: Sequence[Rated]) -> int:
    """Place of the one to keep: by score, then resolution, then bytes; else the first."""
    if not pictures:
        raise ValueError("there is no best of nothing")

    def worth(place: int) -> tuple[float, int, int, int]:
        one = pictures[place]
        return one.score, one.width_px * one.height_px, one.size_bytes, -place

    return max(range(len(pictures)), key=worth)


def find_links(
    stored: Stored,
    *,
    distance: int = MOST_DISTANCE,
    augmented: bool = True,
    watch: Watch = lambda _what, _share: None,
) -> Links:
    """Find all pairs of copies: by digests, hashes, thumbnails, and at last by previews.

    Near copies are kept up to `distance`; without `augmented`, those that were shifted, turned,
    zoomed or mirrored are not sought, which is most of the work.
    """
    found = [_exact(stored.sha256, "exact"), _exact(stored.pixels_sha256, "encoded")]
    watch("comparing hashes", 0.0)
    small = halved(stored.thumbs)
    near, within = _near(stored.dhash, small, distance)
    found += near
    if augmented:
        watch("comparing thumbnails", 0.1)
        found += _alike(small)
        del small
        found.append(_moved(stored, _united(found, within), watch))
    watch("done", 1.0)
    return _united(found, within)


def groups(
    links: Links,
    count: int,
    *,
    distance: int = 6,
    augmented: bool = True,
    largest: int | None = None,
) -> list[Group]:
    """Groups of at least two of `count` pictures, by their first member.

    `distance` is the slider for near copies. No group grows beyond `largest` (default: 2 % of the
    pictures, at least 16): chains of small differences are cut where they are weakest.
    """
    wanted = (links.kind != KINDS.index("near")) | (links.distance <= distance)
    if not augmented:
        wanted &= links.kind != KINDS.index("augmented")
    first = bounded_groups(count, _pairs(links, wanted), largest or max(16, count // 50))
    inside = wanted & (first[links.left] == first[links.right])
    least = np.ones(count, np.float32)
    np.minimum.at(least, first[links.left[inside]], links.likeness[inside])
    loosest = _loosest(links, inside, first)
    members: dict[int, list[int]] = {}
    for row in np.flatnonzero(np.bincount(first, minlength=count)[first] > 1).tolist():
        members.setdefault(int(first[row]), []).append(row)
    return [
        Group(members=tuple(rows), kind=KINDS[loosest[row]], likeness=float(least[row]))
        for row, rows in members.items()
    ]


def _loosest(links: Links, inside: NDArray[np.bool_], first: Integers) -> NDArray[np.int8]:
    """By a group's first member: the first of KINDS whose links and stricter ones join them all."""
    loosest = np.zeros(len(first), np.int8)
    for kind in range(len(KINDS) - 1):
        stricter = joined_groups(len(first), _pairs(links, inside & (links.kind <= kind)))
        apart = np.unique(first[stricter != first])
        loosest[apart] = kind + 1
    return loosest


def _pairs(links: Links, chosen: NDArray[np.bool_]) -> Pairs:
    return Pairs(
        left=links.left[chosen], right=links.right[chosen], likeness=links.likeness[chosen]
    )


def _exact(digests: Sequence[str], kind: Kind) -> Links:
    pairs = exact_pairs([digests])
    return _links(np.stack([pairs.left, pairs.right], axis=1), kind, pairs.likeness)


def _near(dhash: Integers, small: NDArray[np.uint8], distance: int) -> tuple[list[Links], int]:
    """Copies that were encoded anew, and near ones; and the distance up to which all are there."""
    rows = np.flatnonzero(dhash != 0)
    asked = max(distance, _ENCODED_DISTANCE)
    like = near_by_hash(dhash[rows], asked, most=_MOST_HASH_PAIRS)
    pairs = np.stack([rows[like.left], rows[like.right]], axis=1)
    likeness = likenesses(small, pairs, least=_NEAR_CORRELATION)
    good = np.flatnonzero(likeness > 0)
    subjects = subject_correlations(small, pairs[good])
    good, subjects = good[subjects >= SAME], subjects[subjects >= SAME]
    pairs, likeness, apart = pairs[good], likeness[good], like.distance[good]
    encoded = (apart <= _ENCODED_DISTANCE) & _is_encoded(small, pairs, likeness, subjects)
    near = ~encoded & (apart <= distance)
    return [
        _links(pairs[encoded], "encoded", likeness[encoded]),
        _links(pairs[near], "near", likeness[near], apart[near]),
    ], min(like.within, distance)


def _alike(small: NDArray[np.uint8]) -> list[Links]:
    """What has nearly the same thumbnail, or its mirror image has."""
    found = near_pairs_of_halves(small)
    pairs = np.stack([found.left, found.right], axis=1)
    plain, mirrored = (subject_correlations(small, pairs, mirrored=way) for way in (False, True))
    encoded = _is_encoded(small, pairs, found.likeness, plain)
    augmented = (np.maximum(plain, mirrored) >= SAME) & ~encoded
    return [
        _links(pairs[encoded], "encoded", found.likeness[encoded]),
        _links(pairs[augmented], "augmented", found.likeness[augmented]),
    ]


def _is_encoded(
    small: NDArray[np.uint8], pairs: Integers, likeness: Floats, subjects: Floats
) -> NDArray[np.bool_]:
    levels = [np.empty(0)]
    for start in range(0, len(pairs), _CHUNK):
        first, second = (small[rows].astype(np.int16) for rows in pairs[start : start + _CHUNK].T)
        levels.append(np.abs(first - second)[..., :3].mean(axis=(1, 2, 3)))
    same: NDArray[np.bool_] = np.concatenate(levels) <= _ENCODED_LEVELS
    return same & (np.minimum(likeness, subjects) >= _ENCODED_CORRELATION)


def _moved(stored: Stored, known: Links, watch: Watch) -> Links:
    """Copies that were shifted, turned, zoomed or mirrored."""
    count = len(stored.sha256)
    watch("looking for like colours", 0.2)
    pairs = moved.candidates(stored.thumbs)
    pairs = pairs[_apart(count, pairs, [known])]
    likeness = _in_steps(
        lambda some: moved.likenesses(stored.thumbs, some), pairs, watch, "aligning", (0.3, 0.6)
    )
    aligned = likeness > 0
    if stored.previews is None:
        return _links(pairs[aligned], "augmented", likeness[aligned])
    previews = stored.previews
    likely = same_scenes(pairs[aligned], previews, likely=True)
    sure = _links(pairs[aligned][likely > 0], "augmented", likely[likely > 0])
    rest = pairs[~aligned]
    rest = _likeliest(stored.thumbs, rest[_apart(count, rest, [known, sure])])
    likeness = _in_steps(
        lambda some: same_scenes(some, previews), rest, watch, "comparing details", (0.6, 1.0)
    )
    seen = _links(rest[likeness > 0], "augmented", likeness[likeness > 0])
    return _united([sure, seen], known.within)


def _apart(count: int, pairs: Integers, known: Sequence[Links]) -> NDArray[np.bool_]:
    """Which pairs are not joined yet, be it by way of others."""
    links = _united(known, 0)
    first = joined_groups(count, _pairs(links, np.ones(len(links.left), np.bool_)))
    apart: NDArray[np.bool_] = first[pairs[:, 0]] != first[pairs[:, 1]]
    return apart


def _likeliest(thumbs: Thumbs, pairs: Integers) -> Integers:
    """In order, no more than can be looked at closely: those that agree best when shifted."""
    if len(pairs) <= _MOST_SCENES:
        return pairs
    best = np.argsort(-moved.best_shifts(thumbs, pairs), kind="stable")[:_MOST_SCENES]
    return pairs[np.sort(best)]


def _in_steps(
    judge: Callable[[Integers], Floats],
    pairs: Integers,
    watch: Watch,
    what: str,
    shares: tuple[float, float],
) -> Floats:
    found = [np.empty(0, np.float32)]
    for start in range(0, len(pairs), _STEP):
        watch(what, shares[0] + (shares[1] - shares[0]) * start / len(pairs))
        found.append(judge(pairs[start : start + _STEP]))
    return np.concatenate(found)


def _links(
    pairs: Integers, kind: Kind, likeness: Floats, distance: NDArray[np.uint8] | None = None
) -> Links:
    count = len(pairs)
    return Links(
        left=pairs[:, 0],
        right=pairs[:, 1],
        kind=np.full(count, KINDS.index(kind), np.int8),
        distance=np.zeros(count, np.uint8) if distance is None else distance,
        likeness=likeness,
        within=MOST_DISTANCE,
    )


def _united(found: Sequence[Links], within: int) -> Links:
    left, right, kind, distance, likeness = (
        np.concatenate([getattr(links, name) for links in found])
        for name in ("left", "right", "kind", "distance", "likeness")
    )
    order = np.lexsort((kind, right, left))
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(left[order]) != 0) | (np.diff(right[order]) != 0)
    kept = order[new]
    return Links(
        left=left[kept],
        right=right[kept],
        kind=kind[kept],
        distance=distance[kept],
        likeness=likeness[kept],
        within=within,
    )
