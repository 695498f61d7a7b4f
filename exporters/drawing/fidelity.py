"""How close a rendered sticker is to the picture it was traced from, and the gate."""

import dataclasses
import math

import numpy as np

from core.images import Picture
from exporters.drawing.regions import bounds
from exporters.vision import Field, Mask, blur, colour_of, depth, for_each_colour, gradient

PERFECT_DB = 99.0
"""Stands for infinity: JSON has none."""
SSIM_SIGMA_PX = 1.5
MARGIN_PX = 8
"""What is seen by the windows of SSIM around what is not clear, and by an edge's slope."""
STEEP = 16.0
"""Slope of the lightness, in grey levels per pixel, from which a place is an edge."""
FAR_PX = 8.0
"""An edge that is missing counts as this far off."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fidelity:
    """A rendered sticker measured against the enlarged cut-out picture."""

    psnr_white_db: float
    """Peak signal-to-noise ratio over white."""
    psnr_black_db: float
    """The same over black."""
    alpha_iou: float
    """Intersection over union of the two silhouettes (alpha ≥ 128), 0…1."""
    ssim: float = 1.0
    """Structural similarity of the lightness, the worse of white and black ground, at most 1."""
    edge_px: float = 0.0
    """Mean distance from the picture's edges to the sticker's nearest one, in pixels of the SVG."""

    @property
    def psnr_db(self) -> float:
        """The worse of the two."""
        return min(self.psnr_white_db, self.psnr_black_db)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """What a sticker must reach."""

    min_psnr_db: float
    min_alpha_iou: float = 0.0
    min_ssim: float = 0.0
    max_edge_px: float = FAR_PX

    def complaints(self, fidelity: Fidelity) -> list[str]:
        """Why the gate refuses; empty when it lets pass."""
        found = []
        if fidelity.psnr_white_db < self.min_psnr_db:
            found.append(f"{fidelity.psnr_white_db} dB over white, under {self.min_psnr_db:g}")
        if fidelity.psnr_black_db < self.min_psnr_db:
            found.append(f"{fidelity.psnr_black_db} dB over black, under {self.min_psnr_db:g}")
        if fidelity.alpha_iou < self.min_alpha_iou:
            found.append(f"silhouette overlap {fidelity.alpha_iou}, under {self.min_alpha_iou:g}")
        if fidelity.ssim < self.min_ssim:
            found.append(f"SSIM {fidelity.ssim}, under {self.min_ssim:g}")
        if fidelity.edge_px > self.max_edge_px:
            found.append(f"edges {fidelity.edge_px} px off, over {self.max_edge_px:g}")
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pair:
    """A drawn and a wanted picture where either is not clear; all around, they agree."""

    alphas: tuple[Picture, Picture]
    blacks: tuple[Field, Field]
    """As they look over black."""
    pixels: int
    """Of a whole picture."""

    @classmethod
    def of(cls, rendered_hwc: Picture, reference_hwc: Picture) -> "_Pair":
        alphas = rendered_hwc[..., 3], reference_hwc[..., 3]
        window = bounds((alphas[0] | alphas[1]) > 0, MARGIN_PX)
        if window[0].stop == 0:  # both are clear
            window = slice(0, 1), slice(0, 1)
        return cls(
            alphas=(alphas[0][window], alphas[1][window]),
            blacks=(_over_black(rendered_hwc[window]), _over_black(reference_hwc[window])),
            pixels=alphas[0].size,
        )


def measure(
    rendered_hwc: Picture, reference_hwc: Picture, colours: Fidelity | None = None
) -> Fidelity:
    """Compare two straight-alpha RGBA pictures of one size by all figures.

    `colours` is what `measure_colours` has found already.
    """
    pair = _Pair.of(rendered_hwc, reference_hwc)
    drawn, wanted = (
        _lightness(alpha, black) for alpha, black in zip(pair.alphas, pair.blacks, strict=True)
    )
    return dataclasses.replace(
        colours or _colours(pair),
        ssim=min(ssim(*both, of=pair.pixels) for both in zip(drawn, wanted, strict=True)),
        edge_px=edge_error_px(drawn[0], wanted[0]),
    )


def measure_colours(rendered_hwc: Picture, reference_hwc: Picture) -> Fidelity:
    """PSNR and silhouettes alone, in a third of the time: enough to choose between attempts."""
    return _colours(_Pair.of(rendered_hwc, reference_hwc))


def _colours(pair: _Pair) -> Fidelity:
    inside, wanted = pair.alphas[0] >= 128, pair.alphas[1] >= 128
    union = int((inside | wanted).sum())
    # rounded down, so that no figure says more than was reached
    share = math.floor(10000 * int((inside & wanted).sum()) / union) / 10000 if union else 0.0
    apart = pair.blacks[0] - pair.blacks[1]
    black = float(np.square(apart).sum(dtype=np.float64)) / (3 * pair.pixels)
    # what white shows through changes by as much as alpha does, the other way
    through = pair.alphas[0].astype(np.int16) - pair.alphas[1]
    apart -= for_each_colour(through.astype(np.float32))
    white = float(np.square(apart).sum(dtype=np.float64)) / (3 * pair.pixels)
    return Fidelity(psnr_white_db=to_db(white), psnr_black_db=to_db(black), alpha_iou=share)


def psnr_db(one: Picture, other: Picture) -> float:
    """PSNR of two uint8 pictures over all pixels and channels."""
    return to_db(float(np.square(one.astype(np.int32) - other).mean()))


def to_db(mean_square: float) -> float:
    """PSNR for a mean squared error of 8-bit levels, rounded down to 0.01 dB, at most 99."""
    if mean_square == 0:
        return PERFECT_DB
    return min(PERFECT_DB, math.floor(1000 * math.log10(255**2 / mean_square)) / 100)


def ssim(one: Field, other: Field, of: int = 0) -> float:
    """Mean structural similarity of two H×W fields in 0…255, rounded down to 0.0001.

    With `of` they are what differs in pictures of so many pixels.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
    structural similarity" (2004), with its Gaussian window and constants.
    """
    mean_one, mean_other = blur(one, SSIM_SIGMA_PX), blur(other, SSIM_SIGMA_PX)
    spread_one = blur(one * one, SSIM_SIGMA_PX) - mean_one**2
    spread_other = blur(other * other, SSIM_SIGMA_PX) - mean_other**2
    shared = blur(one * other, SSIM_SIGMA_PX) - mean_one * mean_other
    light, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_one * mean_other + light) * (2 * shared + contrast)
    likeness /= (mean_one**2 + mean_other**2 + light) * (spread_one + spread_other + contrast)
    unlike = likeness.size - float(likeness.sum(dtype=np.float64))
    return math.floor(10000 * (1 - unlike / (of or likeness.size))) / 10000


def edge_error_px(drawn: Field, wanted: Field) -> float:
    """Mean distance from the wanted field's edges to the nearest drawn one, rounded up to 0.01.

    A distance counts as `FAR_PX` at most; without wanted edges there is no error. What is drawn and
    not wanted is left to PSNR: flat colours put faint edges into every gradient.
    """
    edges = _edges(wanted)
    if not edges.any():
        return 0.0
    found = _edges(drawn)
    if not found.any():
        return FAR_PX
    distance = np.minimum(depth(~found), FAR_PX)
    return math.ceil(100 * float(distance[edges].mean(dtype=np.float64))) / 100


def _over_black(image_hwc: Picture) -> Field:
    """Colour as it looks over black, H×W×3 in 0…255."""
    share = image_hwc[..., 3].astype(np.float32) * np.float32(1 / 255)
    return np.asarray(colour_of(image_hwc) * for_each_colour(share), dtype=np.float32)


def _lightness(alpha: Picture, black_hwc: Field) -> tuple[Field, Field]:
    """Rec. 601 luma over white and over black, H×W in 0…255."""
    black = black_hwc @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.asarray(black + (255 - alpha), dtype=np.float32), black


def _edges(field: Field) -> Mask:
    """Where the lightness is steep."""
    across, down = gradient(field)
    return np.asarray(across * across + down * down > STEEP**2)
