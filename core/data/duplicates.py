"""Groups of pictures that show the same thing: byte for byte, pixel for pixel, or nearly.

Near copies — re-encoded, resized, brightened, slightly cropped, mirrored — are found in two steps.
The low frequencies of a thumbnail's cosine transform (what pHash thresholds to 64 bits; kept as
numbers here, for bits collapse on plain pictures) name candidates by their cosine, block by block.
The thumbnails themselves, compared pixel by pixel, then decide. Moved copies: core.data.moved.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.data.moved import Thumbs, moved_pairs
from core.data.transform import shrink, with_alpha
from core.images import Picture
from core.progress import progress

Level = Literal["exact", "near", "moved"]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

THUMB_PX = 32
_SMALL_PX = THUMB_PX // 2
_CANDIDATE_COSINE = 0.95
_GREY_CORRELATION = 0.97
_COLOUR_CORRELATION = 0.9
_CUTOUT_CORRELATION = 0.99
_LEAST_CONTRAST = 2.0
"""Standard deviation in grey levels below which a picture is too plain to be told from others."""
_COLOURLESS = 4.0
_MIRROR_SIGN = np.where(np.arange(8) % 2, -1.0, 1.0).astype(np.float32)
_BLOCK = 2048
_MOST_PAIRS = 2_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of alike pictures."""

    left: Integers
    right: Integers
    likeness: Floats
    """Correlation of the thumbnails, 1 for exact copies."""


def thumbnail(image_hwc: Picture) -> Picture:
    """The whole picture squeezed to 32×32×4, premultiplied."""
    return with_alpha(shrink(image_hwc, (THUMB_PX, THUMB_PX)))


def find_groups(
    digests: Sequence[Sequence[str]],
    thumbs_nhwc: NDArray[np.uint8],
    *,
    level: Level = "moved",
    largest: int | None = None,
) -> Integers:
    """For each picture, the index of the first picture of its group.

    `digests` are columns (of the bytes, of the pixels): equal entries of one column are copies.
    No group of near copies grows beyond `largest` (default: 2 % of the pictures, at least 16):
    a chain of small differences is cut where it is weakest.
    """
    count = len(thumbs_nhwc)
    exact = exact_pairs(digests)
    if level == "exact" or count < 2:
        return joined_groups(count, exact)
    near = near_pairs(thumbs_nhwc)
    found = [(pairs.left, pairs.right, pairs.likeness) for pairs in (exact, near)]
    if level == "moved":
        found.append(moved_pairs(thumbs_nhwc))
    pairs = _joined(found)
    return bounded_groups(count, pairs, largest or max(16, count // 50))


def near_pairs(thumbs_nhwc: NDArray[np.uint8]) -> Pairs:
    """All pairs of near copies, with memory for one block of the comparison at a time.

    `thumbs_nhwc` is N×32×32×4.
    """
    return near_pairs_of_halves(halved(thumbs_nhwc))


def near_pairs_of_halves(thumbs_nhwc: NDArray[np.uint8]) -> Pairs:
    """The same of thumbnails that were `halved` before, N×16×16×4."""
    features = _low_frequencies(thumbs_nhwc)
    starts = range(0, len(features), _BLOCK)
    blocks = [(a, b) for a in starts for b in starts if a <= b]
    found: list[tuple[Integers, Integers, Floats]] = []
    threshold, held = _GREY_CORRELATION, 0
    mirrored_features = (features.reshape(-1, 8, 8) * _MIRROR_SIGN).reshape(-1, 64)
    for a, b in progress(blocks, title="comparing", unit="block", hidden=len(blocks) < 10):
        for mirrored in (False, True):
            other = mirrored_features if mirrored else features
            cosine = features[a : a + _BLOCK] @ other[b : b + _BLOCK].T
            # Numpy searches one dimension many times as fast as two.
            found_at = np.flatnonzero((cosine >= _CANDIDATE_COSINE).ravel())
            left, right = np.divmod(found_at, cosine.shape[1])
            upper = left + a < right + b
            if upper.any():
                left, right = left[upper] + a, right[upper] + b
                found.append(_verified(thumbs_nhwc, left, right, mirrored, threshold))
                held += len(found[-1][0])
        if held > _MOST_PAIRS:
            threshold, pairs = _thinned(len(features), _joined(found), threshold)
            found, held = [(pairs.left, pairs.right, pairs.likeness)], len(pairs.left)
    return _joined(found)


def halved(thumbs_nhwc: Thumbs) -> NDArray[np.uint8]:
    """Thumbnails at half the size, N×16×16×4: all that near copies are compared by."""
    small = np.empty((len(thumbs_nhwc), _SMALL_PX, _SMALL_PX, 4), np.uint8)
    for start in range(0, len(small), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(small)))
        block = thumbs_nhwc[rows].astype(np.uint16)
        total = sum(block[:, y::2, x::2] for y in (0, 1) for x in (0, 1))
        small[rows] = (total + np.uint16(2)) >> np.uint16(2)
    return small


def likenesses(thumbs_nhwc: NDArray[np.uint8], pairs: Integers, *, least: float) -> Floats:
    """For each of M×2 pairs the thumbnails' correlation, or 0 where they differ.

    `least` is what the correlation of grey must be; colours must agree too, unless one has none.
    """
    likeness = np.zeros(len(pairs), np.float32)
    features = _low_frequencies(thumbs_nhwc)
    for start in range(0, len(pairs), _BLOCK):
        left, right = pairs[start : start + _BLOCK].T
        # Detail makes pictures less alike: whole thumbnails agree less than their low frequencies.
        cosine = np.einsum("nc,nc->n", features[left], features[right])
        likely = np.flatnonzero(cosine >= least)
        if not len(likely):
            continue
        first, second = thumbs_nhwc[left[likely]], thumbs_nhwc[right[likely]]
        grey = (_units(_grey(first)) * _units(_grey(second))).sum(axis=1)
        colour = (_units(_on_grey(first)) * _units(_on_grey(second))).sum(axis=1)
        greyscale = (_chroma(first) < _COLOURLESS) | (_chroma(second) < _COLOURLESS)
        clear = _has_clear(first) | _has_clear(second)
        likeness[start + likely] = _likeness(grey, colour, greyscale, clear, least)
    return likeness


def _joined(found: Sequence[tuple[Integers, Integers, Floats]]) -> Pairs:
    none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    left, right, likeness = zip(none, *found, strict=True)
    return Pairs(
        left=np.concatenate(left), right=np.concatenate(right), likeness=np.concatenate(likeness)
    )


def _thinned(count: int, pairs: Pairs, threshold: float) -> tuple[float, Pairs]:
    """Very like pictures make too many pairs to keep: the closest, and at last one tree of them."""
    while len(pairs.left) > _MOST_PAIRS // 2 and threshold < 0.9999:
        threshold = 1 - (1 - threshold) / 2
        pairs = _chosen(pairs, pairs.likeness >= threshold)
    if len(pairs.left) > _MOST_PAIRS // 2:
        first = joined_groups(count, pairs)
        nodes = np.flatnonzero(first != np.arange(count))
        likeness = np.ones(len(nodes), np.float32)
        pairs = Pairs(left=first[nodes], right=nodes, likeness=likeness)
    return threshold, pairs


def _chosen(pairs: Pairs, keep: NDArray[np.bool_]) -> Pairs:
    return Pairs(left=pairs.left[keep], right=pairs.right[keep], likeness=pairs.likeness[keep])


def _low_frequencies(thumbs_nhwc: NDArray[np.uint8]) -> Floats:
    """N×64 unit vectors: the 8×8 lowest frequencies without the mean; ~0 for plain pictures."""
    wave = np.outer(np.arange(8), 2 * np.arange(_SMALL_PX) + 1) * (np.pi / (2 * _SMALL_PX))
    basis = (np.cos(wave) / _SMALL_PX).astype(np.float32)
    features = np.empty((len(thumbs_nhwc), 64), np.float32)
    for start in range(0, len(features), _BLOCK):
        grey = _grey(thumbs_nhwc[start : start + _BLOCK])
        coefficients = basis @ grey @ basis.T
        features[start : start + _BLOCK] = coefficients.reshape(-1, 64)
    features[:, 0] = 0
    length = np.linalg.norm(features, axis=1, keepdims=True)
    units: Floats = features / np.maximum(length, _LEAST_CONTRAST)
    return units


def _grey(thumbs_nhwc: NDArray[np.uint8]) -> Floats:
    """Luma on middle grey."""
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    grey: Floats = _on_grey(thumbs_nhwc) @ luma
    return grey


def _on_grey(thumbs_nhwc: NDArray[np.uint8]) -> Floats:
    """Colour on middle grey, where a shared outline counts least."""
    wide = thumbs_nhwc.astype(np.float32)
    return wide[..., :3] + (255 - wide[..., 3:]) * np.float32(0.5)


def _verified(
    thumbs_nhwc: NDArray[np.uint8], left: Integers, right: Integers, mirrored: bool, least: float
) -> tuple[Integers, Integers, Floats]:
    """Those candidates of one block whose thumbnails agree, with their correlation."""
    rows, x = np.unique(left, return_inverse=True)
    columns, y = np.unique(right, return_inverse=True)
    first, second = thumbs_nhwc[rows], thumbs_nhwc[columns]
    turned = second[:, :, ::-1] if mirrored else second
    grey = (_units(_grey(first)) @ _units(_grey(turned)).T)[x, y]
    colour = (_units(_on_grey(first)) @ _units(_on_grey(turned)).T)[x, y]
    greyscale = (_chroma(first) < _COLOURLESS)[x] | (_chroma(second) < _COLOURLESS)[y]
    clear = _has_clear(first)[x] | _has_clear(second)[y]
    likeness = _likeness(grey, colour, greyscale, clear, least)
    good = likeness > 0
    return left[good], right[good], likeness[good]


def _likeness(
    grey: Floats,
    colour: Floats,
    greyscale: NDArray[np.bool_],
    clear: NDArray[np.bool_],
    least: float,
) -> Floats:
    # A grey copy of a colour photograph is a copy; a cat of another colour is another cat.
    alike = (grey >= least) & ((colour >= _COLOUR_CORRELATION) | greyscale)
    # Cut-outs share an empty background, and cartoons their pose: only finer agreement tells.
    good = alike & (~clear | (colour >= _CUTOUT_CORRELATION))
    likeness: Floats = np.where(good, np.where(clear, colour, grey), 0).astype(np.float32)
    return likeness


def _units(planes: Floats) -> Floats:
    """Flattened, without their mean, of length 1: products of two are correlations."""
    flat = planes.reshape(len(planes), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    units: Floats = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return units


def _has_clear(thumbs_nhwc: NDArray[np.uint8]) -> NDArray[np.bool_]:
    clear: NDArray[np.bool_] = thumbs_nhwc[..., 3].min(axis=(1, 2)) < 255
    return clear


def _chroma(thumbs_nhwc: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean distance of the channels from each other, in grey levels."""
    colour = thumbs_nhwc[..., :3]
    spread = colour.max(axis=-1) - colour.min(axis=-1)
    mean: NDArray[np.float64] = spread.mean(axis=(1, 2), dtype=np.float64)
    return mean


def exact_pairs(digests: Sequence[Sequence[str]]) -> Pairs:
    """Each entry that a column of `digests` had before, with the first that is equal."""
    left, right = [], []
    for column in digests:
        first: dict[str, int] = {}
        for index, digest in enumerate(column):
            if first.setdefault(digest, index) != index:
                left.append(first[digest])
                right.append(index)
    return Pairs(
        left=np.array(left, np.int64),
        right=np.array(right, np.int64),
        likeness=np.ones(len(left), np.float32),
    )


def joined_groups(count: int, pairs: Pairs) -> Integers:
    """For each picture the smallest of those that pairs join it with, be it by way of others."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for x, y in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        a, b = root(x), root(y)
        parent[max(a, b)] = min(a, b)
    return np.array([root(node) for node in range(count)], np.int64)


def bounded_groups(count: int, pairs: Pairs, largest: int) -> Integers:
    """The first member of each one's group; groups that chained beyond `largest` are cut."""
    threshold = _GREY_CORRELATION
    groups = joined_groups(count, pairs)
    while threshold < 0.9999:
        sizes = np.bincount(groups, minlength=count)
        oversized = sizes[groups] > largest
        if not oversized.any():
            break
        # By shares of the difference: towards 1 there is always a closer likeness to ask for.
        threshold = 1 - (1 - threshold) * 0.8
        keep = ~oversized[pairs.left] | (pairs.likeness >= threshold)
        pairs = _chosen(pairs, keep)
        groups = joined_groups(count, pairs)
    return groups
