"""How close a rendered sticker is to the picture it was traced from, and the gate."""

import dataclasses
import math

import numpy as np

from core.images import Picture, over

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
PERFECT_DB = 99.0
"""Stands for infinity: JSON has none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fidelity:
    """A rendered sticker measured against the enlarged cut-out picture."""

    psnr_white_db: float
    """Peak signal-to-noise ratio over white."""
    psnr_black_db: float
    """The same over black."""
    alpha_iou: float
    """Intersection over union of the two silhouettes (alpha ≥ 128), 0…1."""

    @property
    def psnr_db(self) -> float:
        """The worse of the two."""
        return min(self.psnr_white_db, self.psnr_black_db)


def measure(rendered_hwc: Picture, reference_hwc: Picture) -> Fidelity:
    """Compare two straight-alpha RGBA pictures of one size."""
    inside, wanted = rendered_hwc[..., 3] >= 128, reference_hwc[..., 3] >= 128
    union = int((inside | wanted).sum())
    # rounded down, so that no figure says more than was reached
    share = math.floor(10000 * int((inside & wanted).sum()) / union) / 10000 if union else 0.0
    return Fidelity(
        psnr_white_db=psnr_db(over(rendered_hwc, WHITE), over(reference_hwc, WHITE)),
        psnr_black_db=psnr_db(over(rendered_hwc, BLACK), over(reference_hwc, BLACK)),
        alpha_iou=share,
    )


def psnr_db(one: Picture, other: Picture) -> float:
    """PSNR of two uint8 pictures over all pixels and channels."""
    return to_db(float(np.square(one.astype(np.int32) - other).mean()))


def to_db(mean_square: float) -> float:
    """PSNR for a mean squared error of 8-bit levels, rounded down to 0.01 dB, at most 99."""
    if mean_square == 0:
        return PERFECT_DB
    return min(PERFECT_DB, math.floor(1000 * math.log10(255**2 / mean_square)) / 100)


def complaints(fidelity: Fidelity, *, min_psnr_db: float, min_alpha_iou: float) -> list[str]:
    """Why the gate refuses; empty when it lets pass."""
    found = []
    if fidelity.psnr_white_db < min_psnr_db:
        found.append(f"{fidelity.psnr_white_db} dB over white, under {min_psnr_db:g}")
    if fidelity.psnr_black_db < min_psnr_db:
        found.append(f"{fidelity.psnr_black_db} dB over black, under {min_psnr_db:g}")
    if fidelity.alpha_iou < min_alpha_iou:
        found.append(f"silhouette overlap {fidelity.alpha_iou}, under {min_alpha_iou:g}")
    return found
