"""The exporters' one door to OpenCV: filters and connected components, typed on our side."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""A float picture: H×W, or H×W×3."""
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]


def use_one_thread() -> None:
    """Keep OpenCV on one thread: the work is already spread over processes, one picture each."""
    cv2.setNumThreads(1)


def blur(field: Field, sigma_px: float) -> Field:
    """Gaussian blur; the border repeats its edge."""
    return _floats(cv2.GaussianBlur(field, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE))


def gradient(field: Field) -> tuple[Field, Field]:
    """Scharr derivatives in x and y, in units per pixel."""
    across = cv2.Scharr(field, cv2.CV_32F, 1, 0, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Scharr(field, cv2.CV_32F, 0, 1, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
    return _floats(across), _floats(down)


def sample_at(field: Field, x_px: Field, y_px: Field) -> Field:
    """Bilinear values of `field` at the given pixel positions; outside, the nearest edge."""
    return _floats(cv2.remap(field, x_px, y_px, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def resize_linear(field: Field, width_px: int, height_px: int) -> Field:
    """Bilinear resize, pixel centres aligned."""
    return _floats(cv2.resize(field, (width_px, height_px), interpolation=cv2.INTER_LINEAR))


def rgb_to_lab(colour_hwc: Field) -> Field:
    """RGB in 0…255 to CIE L*a*b* (L 0…100)."""
    return _floats(cv2.cvtColor(colour_hwc * np.float32(1 / 255), cv2.COLOR_RGB2Lab))


def components(mask: Mask, *, diagonal: bool) -> tuple[Labels, NDArray[np.int32]]:
    """Connected components: a map (0 = outside), and rows of x, y, width, height, area.

    `diagonal` counts pixels that touch at a corner as connected.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=8 if diagonal else 4, ltype=cv2.CV_32S
    )
    return np.asarray(labels, dtype=np.int32), np.asarray(stats, dtype=np.int32)


def dilate(mask: Mask, radius_px: int) -> Mask:
    """Grow a mask by a disc."""
    size = 2 * radius_px + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(mask.view(np.uint8), disc)) > 0


def depth(mask: Mask) -> Field:
    """Distance of each pixel of the mask to the nearest pixel outside it."""
    return _floats(cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, 3))


def nearest_outside(unknown: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each pixel: row and column of the nearest pixel that is not unknown."""
    _, owner = cv2.distanceTransformWithLabels(
        unknown.view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = ~unknown
    rows, columns = np.nonzero(known)
    place = np.zeros(int(owner.max()) + 1, dtype=np.int64)
    place[owner[known]] = np.arange(rows.size)
    index = place[owner]
    return rows[index], columns[index]


def _floats(array: Any) -> Field:
    return np.asarray(array, dtype=np.float32)
