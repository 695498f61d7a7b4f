"""Whether the animals are alike, not just what they stand on: all animals on white share the white.

Thumbnails of two frogs in one pose on white agree almost as well as copies do. Where their outlines
overlap, less the rim, they do not.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

SAME = 0.85
"""Of 50 pairs of photographs whose hashes and thumbnails are alike, the 4 copies reach it and no
other. So do all of 400 that were cropped by 2 % at each side, and 9 of 10 cropped by 4 %."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_GROUND_LEVELS = 24
"""By which a colour may differ from the background's and still be background."""
_LEAST_AREA = 0.02
_CHUNK = 2048


def subject_correlations(
    thumbs_nhwc: NDArray[np.uint8], pairs: Integers, *, mirrored: bool = False
) -> Floats:
    """For each of M×2 pairs the correlation of grey where neither is background.

    `thumbs_nhwc` is N×S×S×4; the second of each pair is taken from the mirror if `mirrored`. 1
    where there is next to nothing to compare.
    """
    found: list[Floats] = [np.empty(0, np.float32)]
    for start in range(0, len(pairs), _CHUNK):
        rows = pairs[start : start + _CHUNK].T
        first, second = (thumbs_nhwc[some][..., :3].astype(np.float32) for some in rows)
        if mirrored:
            second = second[:, :, ::-1]
        both = _is_subject(first) & _is_subject(second)
        found.append(_correlations(first @ _LUMA, second @ _LUMA, _without_rim(both)))
    return np.concatenate(found)


def _is_subject(colours: Floats) -> NDArray[np.bool_]:
    """N×H×W: what differs from the border's median colour."""
    border = [colours[:, 0], colours[:, -1], colours[:, 1:-1, 0], colours[:, 1:-1, -1]]
    ground = np.median(np.concatenate(border, axis=1), axis=1)
    apart = np.abs(colours - ground[:, None, None])
    differs: NDArray[np.bool_] = apart.max(axis=-1) > _GROUND_LEVELS
    return differs


def _without_rim(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rim mixes with the background, which makes it alike; kept where little else is left."""
    inner = seen.copy()
    inner[:, 1:] &= seen[:, :-1]
    inner[:, :-1] &= seen[:, 1:]
    inner[:, :, 1:] &= seen[:, :, :-1]
    inner[:, :, :-1] &= seen[:, :, 1:]
    enough = inner.mean(axis=(1, 2)) >= _LEAST_AREA
    return np.where(enough[:, None, None], inner, seen)


def _correlations(first: Floats, second: Floats, seen: NDArray[np.bool_]) -> Floats:
    count = np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1)
    x, y = (
        (plane - (plane * seen).sum(axis=(1, 2), keepdims=True) / count) * seen
        for plane in (first, second)
    )
    together, x2, y2 = ((a * b).sum(axis=(1, 2)) for a, b in ((x, y), (x, x), (y, y)))
    # Plain on plain says nothing: noise of one grey level must not decide.
    plain = np.minimum(x2, y2) < count[:, 0, 0]
    correlation = together / np.maximum(np.sqrt(x2 * y2), 1e-6)
    return np.where(plain, 1, correlation).astype(np.float32)
