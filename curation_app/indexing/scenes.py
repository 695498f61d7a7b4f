"""Whether two pictures show the same scene, by what is seen at corresponding places.

The last word on copies that were shifted, turned, zoomed, cropped or mirrored. Corners described by
ORB (Rublee and others, 2011) are matched; an affine map that carries many of them is sought by
RANSAC (Fischler and Bolles, 1981); and the colours of what overlaps must agree under it, for logos
and watermarks have corners too.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.data.decode import UnreadableError, decode
from core.data.transform import core_count, opencv, shrink, use_one_thread
from core.images import Picture
from curation_app.thumbnails import fit

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Previews = Callable[[int], bytes | None]
"""A picture's preview (or itself), by its row; None when there is none."""

SIDE_PX = 256
LEAST_CORNERS = 12
"""That one map carries; all of 600 pairs of augmented photographs have as many."""
LEAST_CORRELATION = 0.9
"""Of the colours in the overlap; all of those 600 have it. It tells frogs of one kind in one pose
on plain white apart, of which one map may carry 50 corners."""
LIKELY_CORRELATION = 0.7
"""Enough for pairs that were aligned by their thumbnails already…"""
MANY_CORNERS, LOOSE_CORRELATION = 100, 0.6
"""…and for so many corners, which are proof even where the colours were changed."""

_CORNERS = 400
_RATIO = 0.8
"""A match must be this much closer than the second best (Lowe, 2004)."""
_MAP_PX = 4.0
_AREA_CHANGE = (0.25, 4.0)
_LEAST_OVERLAP = 0.25
_SMALL_PX = 64
_KEPT = 1024
_CHUNK = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """What of a picture is compared."""

    size_wh: tuple[int, int]
    places: Floats
    """K×2, x and y of the corners."""
    marks: NDArray[np.uint8]
    """K×32, what each corner looks like."""
    mirrored_places: Floats
    """Likewise of the mirror image: what corners look like is not the same in the mirror."""
    mirrored_marks: NDArray[np.uint8]
    colours: Picture
    """64×64×3: the whole picture, squeezed."""


def scene_of(data: bytes) -> Scene:
    """From the bytes of a preview or a picture; UnreadableError when they are none."""
    image_hwc = fit(decode(data, enough_px=SIDE_PX), SIDE_PX)
    cv2 = opencv()
    colours = np.ascontiguousarray(image_hwc[..., :3])
    if image_hwc.shape[-1] == 4:
        colours[image_hwc[..., 3] < 128] = 128
    # No corner is described within 31 px of the edge: of a small picture nothing would be left.
    scale = SIDE_PX / max(colours.shape[:2])
    large = cv2.resize(colours, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)
    places, marks = _corners(grey)
    mirrored_places, mirrored_marks = _corners(np.ascontiguousarray(grey[:, ::-1]))
    return Scene(
        size_wh=(grey.shape[1], grey.shape[0]),
        places=places,
        marks=marks,
        mirrored_places=mirrored_places,
        mirrored_marks=mirrored_marks,
        colours=shrink(colours, (_SMALL_PX, _SMALL_PX)),
    )


def same_scene(first: Scene, second: Scene, *, likely: bool = False) -> float:
    """How well the colours agree where the two overlap, 0 to 1; 0 when they show other things.

    Less is asked of pairs that are `likely` for another reason.
    """
    plain = _agreement(first, second, second.places, second.marks, second.colours)
    if _convinces(*plain, likely):
        return plain[1]
    turned = np.ascontiguousarray(second.colours[:, ::-1])
    mirrored = _agreement(first, second, second.mirrored_places, second.mirrored_marks, turned)
    return mirrored[1] if _convinces(*mirrored, likely) else 0.0


def same_scenes(pairs: Integers, previews: Previews, *, likely: bool = False) -> Floats:
    """For each of M×2 pairs of rows what `same_scene` says; 0 too where a preview is missing.

    Sorted pairs are fastest: of what was seen, only the last thousand pictures are kept.
    """

    @lru_cache(_KEPT)
    def seen(row: int) -> Scene | None:
        data = previews(row)
        try:
            return None if data is None else scene_of(data)
        except UnreadableError:
            return None

    def compare(some: Sequence[tuple[int, int]]) -> list[float]:
        found = []
        for left, right in some:
            first, second = seen(left), seen(right)
            one = same_scene(first, second, likely=likely) if first and second else 0.0
            found.append(one)
        return found

    use_one_thread()
    rows: list[tuple[int, int]] = [(int(left), int(right)) for left, right in pairs]
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    with ThreadPoolExecutor(core_count()) as pool:
        return np.array([one for some in pool.map(compare, chunks) for one in some], np.float32)


def _corners(grey: NDArray[np.uint8]) -> tuple[Floats, NDArray[np.uint8]]:
    orb = opencv().ORB_create(_CORNERS, fastThreshold=10)
    found, marks = orb.detectAndCompute(grey, None)
    if marks is None:
        return np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8)
    return np.array([corner.pt for corner in found], np.float32), marks


def _convinces(corners: int, correlation: float, likely: bool) -> bool:
    least = LIKELY_CORRELATION if likely else LEAST_CORRELATION
    if corners >= MANY_CORNERS:
        least = LOOSE_CORRELATION
    return corners >= LEAST_CORNERS and correlation >= least


def _agreement(
    first: Scene,
    second: Scene,
    places: Floats,
    marks: NDArray[np.uint8],
    colours: Picture,
) -> tuple[int, float]:
    """How many corners one map carries, and how well the colours then agree."""
    cv2 = opencv()
    here, there = _matches(first.marks, marks)
    if len(here) < LEAST_CORNERS:
        return 0, 0.0
    affine, carried = cv2.estimateAffine2D(
        places[there],
        first.places[here],
        method=cv2.RANSAC,
        ransacReprojThreshold=_MAP_PX,
        maxIters=500,
    )
    if affine is None or carried.sum() < LEAST_CORNERS:
        return 0, 0.0
    if not _AREA_CHANGE[0] < abs(np.linalg.det(affine[:, :2])) < _AREA_CHANGE[1]:
        return 0, 0.0
    squeezed = _squeezed(affine, second.size_wh, first.size_wh)
    return int(carried.sum()), _correlation_of_overlap(first.colours, colours, squeezed)


def _matches(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[Integers, Integers]:
    """Rows of corners that look alike and like no other; each at most once."""
    nothing = np.empty(0, np.int64)
    if len(first) < 2 or len(second) < 2:
        return nothing, nothing
    apart, rows = opencv().batchDistance(
        first, second, opencv().CV_32S, normType=opencv().NORM_HAMMING, K=2
    )
    here = np.flatnonzero(apart[:, 0] < _RATIO * apart[:, 1])
    here = here[np.argsort(apart[here, 0], kind="stable")]
    there, closest = np.unique(rows[here, 0], return_index=True)
    return here[closest], there


def _squeezed(
    affine: NDArray[np.float64], source: tuple[int, int], target: tuple[int, int]
) -> Floats:
    """The map between the squeezed pictures, whose pixels lie closer."""
    into, out = (np.eye(3) for _ in range(2))
    for place, (size, scaled) in enumerate(zip(source, target, strict=True)):
        # Centres of pixels lie half a pixel from the edge at every scale.
        into[place, place], into[place, 2] = size / _SMALL_PX, (size / _SMALL_PX - 1) / 2
        out[place, place], out[place, 2] = _SMALL_PX / scaled, (_SMALL_PX / scaled - 1) / 2
    whole = out @ np.vstack([affine, [0, 0, 1]]) @ into
    squeezed: Floats = whole[:2].astype(np.float32)
    return squeezed


def _correlation_of_overlap(first: Picture, second: Picture, affine: Floats) -> float:
    cv2 = opencv()
    size = (_SMALL_PX, _SMALL_PX)
    inside = cv2.warpAffine(np.ones(size, np.uint8), affine, size) > 0
    if inside.mean() < _LEAST_OVERLAP:
        return 0.0
    warped = cv2.warpAffine(second, affine, size, flags=cv2.INTER_LINEAR)
    x, y = (plane[inside].astype(np.float32) for plane in (first, warped))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return float((x * y).sum() / np.sqrt(max(float((x * x).sum() * (y * y).sum()), 1e-6)))
