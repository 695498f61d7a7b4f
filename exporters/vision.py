"""OpenCV's filters and connected components, typed on our side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.transform import opencv as cv

Field = NDArray[np.float32]
"""A float picture: H×W, or H×W×3."""
Levels = NDArray[np.uint8]
"""H×W."""
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]


def blur(field: Field, sigma_px: float) -> Field:
    """Gaussian blur; the border repeats its edge."""
    return _floats(cv().GaussianBlur(field, (0, 0), sigma_px, borderType=cv().BORDER_REPLICATE))


def blur_levels(levels: Levels, sigma_px: float) -> Levels:
    """The same for whole levels of 0…255."""
    return np.asarray(
        cv().GaussianBlur(levels, (0, 0), sigma_px, borderType=cv().BORDER_REPLICATE),
        dtype=np.uint8,
    )


def gradient(field: Field) -> tuple[Field, Field]:
    """Scharr derivatives in x and y, in units per pixel."""
    across = cv().Scharr(field, cv().CV_32F, 1, 0, scale=1 / 32, borderType=cv().BORDER_REPLICATE)
    down = cv().Scharr(field, cv().CV_32F, 0, 1, scale=1 / 32, borderType=cv().BORDER_REPLICATE)
    return _floats(across), _floats(down)


def sample_at(field: Field, x_px: Field, y_px: Field) -> Field:
    """Bilinear values of `field` at the given pixel positions; outside, the nearest edge."""
    return _floats(
        cv().remap(field, x_px, y_px, cv().INTER_LINEAR, borderMode=cv().BORDER_REPLICATE)
    )


def resize_linear(field: Field, width_px: int, height_px: int) -> Field:
    """Bilinear resize, pixel centres aligned."""
    return _floats(cv().resize(field, (width_px, height_px), interpolation=cv().INTER_LINEAR))


def resize_levels(levels: Levels, width_px: int, height_px: int) -> Levels:
    """The same for whole levels of 0…255."""
    return np.asarray(
        cv().resize(levels, (width_px, height_px), interpolation=cv().INTER_LINEAR), dtype=np.uint8
    )


def colour_of(image_hwc: NDArray[Any]) -> NDArray[Any]:
    """H×W×3 of H×W×4, uint8 or float32."""
    return np.asarray(cv().cvtColor(np.ascontiguousarray(image_hwc), cv().COLOR_RGBA2RGB))


def for_each_colour(field: Field) -> Field:
    """H×W×3: one value for all three; whole arrays multiply far faster than broadcast ones."""
    return join_channels([field, field, field])


def join_channels(fields: Sequence[Field]) -> Field:
    """H×W×N of N pictures of H×W."""
    return _floats(cv().merge(list(fields)))


def rgb_to_lab(colour_hwc: Field) -> Field:
    """RGB in 0…255 to CIE L*a*b* (L 0…100)."""
    return _floats(cv().cvtColor(colour_hwc * np.float32(1 / 255), cv().COLOR_RGB2Lab))


def lab_to_rgb8(lab_k3: NDArray[np.floating]) -> NDArray[np.uint8]:
    """K×3 CIE L*a*b* to RGB, uint8; what no screen shows becomes the nearest that it can."""
    rgb = cv().cvtColor(lab_k3.astype(np.float32)[None], cv().COLOR_Lab2RGB)[0]
    levels: NDArray[np.uint8] = np.rint(np.clip(_floats(rgb), 0, 1) * 255).astype(np.uint8)
    return levels


def components(mask: Mask, *, diagonal: bool) -> tuple[Labels, NDArray[np.int32]]:
    """Connected components: a map (0 = outside), and rows of x, y, width, height, area.

    `diagonal` counts pixels that touch at a corner as connected.
    """
    _, labels, stats, _ = cv().connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=8 if diagonal else 4, ltype=cv().CV_32S
    )
    return np.asarray(labels, dtype=np.int32), np.asarray(stats, dtype=np.int32)


def dilate(mask: Mask, radius_px: int) -> Mask:
    """Grow a mask by a disc."""
    size = 2 * radius_px + 1
    disc = cv().getStructuringElement(cv().MORPH_ELLIPSE, (size, size))
    return np.asarray(cv().dilate(mask.view(np.uint8), disc)) > 0


def depth(mask: Mask) -> Field:
    """Distance of each pixel of the mask to the nearest pixel outside it."""
    return _floats(cv().distanceTransform(mask.view(np.uint8), cv().DIST_L2, 3))


def nearest_outside(unknown: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each pixel: row and column of the nearest pixel that is not unknown."""
    _, owner = cv().distanceTransformWithLabels(
        unknown.view(np.uint8), cv().DIST_L2, 3, labelType=cv().DIST_LABEL_PIXEL
    )
    known = ~unknown
    rows, columns = np.nonzero(known)
    place = np.zeros(int(owner.max()) + 1, dtype=np.int64)
    place[owner[known]] = np.arange(rows.size)
    index = place[owner]
    return rows[index], columns[index]


def _floats(array: Any) -> Field:
    return np.asarray(array, dtype=np.float32)
