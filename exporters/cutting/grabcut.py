"""GrabCut (Rother, Kolmogorov and Blake, 2004), begun from a guess or from a model's opinion.

It runs on a small copy of the picture; the matting that follows finds the edge in the large one.
"""

import dataclasses

import numpy as np

from core.data.transform import grab_cut, resize
from core.images import Picture
from exporters.cutting.operators import erode, keep_pieces, ring
from exporters.cutting.saliency import guess_animal
from exporters.vision import Field, Mask, blur, dilate, resize_linear, rgb_to_lab

WORK_PX = 192
"""Longer side of the copy that is cut."""
_DOUBT_SHARE = 0.04
"""How far a model's outline may be off, as a share of the shorter side."""
_ROUNDS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grabbed:
    """An animal that GrabCut found."""

    inside: Mask
    blur_px: int
    """How far the mask's edge may be off, because the copy was smaller than the picture."""
    confidence: float


def grab(image_hwc: Picture, probability: Field | None = None) -> Grabbed:
    """Cut an RGB picture; `probability` (H×W, 0…1) is what is thought of each pixel, if anything.

    The same picture gives the same mask on every run.
    """
    height, width = image_hwc.shape[:2]
    scale = min(1.0, WORK_PX / max(height, width))
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    small = resize(image_hwc, size_wh)
    lab = rgb_to_lab(small.astype(np.float32))
    guess = guess_animal(lab) if probability is None else resize_linear(probability, *size_wh)
    doubt_px = None if probability is None else max(2, round(_DOUBT_SHARE * min(size_wh)))
    strict, loose = (_cut(small, guess, shift, doubt_px) for shift in (0.0, 0.2))
    inside = resize_linear(blur(strict.astype(np.float32), 0.7), width, height) >= 0.5
    if probability is None:
        tight = _cut(small, guess, -0.2, doubt_px)
        confidence = _likely_overlap(lab, guess, strict, loose, tight)
    else:
        confidence = _trust_in_model(lab, guess, strict, loose)
    return Grabbed(inside=inside, blur_px=round(0.5 / scale - 0.5), confidence=confidence)


def _cut(small: Picture, guess: Field, shift: float, doubt_px: int | None) -> Mask:
    """One GrabCut; `shift` makes the guess more hopeful.

    With `doubt_px`, the guess is a model's: only so near its outline may GrabCut decide.
    """
    background, foreground, likely_background, likely_foreground = 0, 1, 2, 3
    likely = guess >= 0.5 - shift
    seeds = np.where(likely, likely_foreground, likely_background).astype(np.uint8)
    if doubt_px is not None:
        seeds[~dilate(likely, doubt_px)] = background
        seeds[erode(likely, doubt_px)] = foreground
    else:
        seeds[guess < 0.03] = background
        # without a core that is sure, GrabCut may shrink to nothing
        seeds[erode(guess >= 0.9, 1)] = foreground
        sides = ring(seeds.shape, max(1, min(seeds.shape) // 40))
        seeds[sides & (seeds == likely_background)] = background
    if not (seeds & 1).any() or (seeds & 1).all():  # one of the two has no pixel to learn from
        return np.asarray(likely, dtype=bool)
    return np.asarray(grab_cut(small, seeds, rounds=_ROUNDS) & 1, dtype=bool)


def _overlap(one: Mask, other: Mask) -> float:
    union = float((one | other).sum())
    return float((one & other).sum()) / union if union else 0.0


def _contrast(lab: Field, inside: Mask) -> float:
    """How far the colours on both sides of the outline differ, 0…1."""
    inner = inside & ~erode(inside, 3)
    outer = dilate(inside, 3) & ~inside
    if not inner.any() or not outer.any():
        return 0.0
    sigma = 2.0
    means = []
    for side in (inner, outer):
        weight = blur(side.astype(np.float32), sigma)
        sums = blur(np.asarray(lab * side[..., None], dtype=np.float32), sigma)
        means.append(sums / np.maximum(weight, 1e-4)[..., None])
    far = np.linalg.norm(means[0] - means[1], axis=2)[inner]
    return float(np.clip(far / 20, 0, 1).mean())


def _likely_overlap(lab: Field, guess: Field, inside: Mask, loose: Mask, tight: Mask) -> float:
    """The overlap (IoU) with the true animal that such a cut-out has, on average.

    A least-squares fit to 80 cut-outs: starter animals on photographs, and photographs cut out by a
    segmentation model (rank correlation with the overlap: 0.75; tests/benchmarks/cutout.py).
    """
    if not inside.any() or inside.all():
        return 0.0
    whole = float(keep_pieces(inside, largest=True).sum() / inside.sum())
    terms = (
        (0.18, _overlap(loose, tight)),
        (0.69, _contrast(lab, inside)),
        (1.36, 1 - float(guess[~inside].mean())),
        (0.31, _overlap(guess >= 0.5, inside)),
        (0.84, min(1.0, whole)),
        (0.67, min(0.5, float(inside.mean()))),
    )
    return float(np.clip(sum(weight * value for weight, value in terms) - 2.53, 0, 1))


def _trust_in_model(lab: Field, guess: Field, inside: Mask, loose: Mask) -> float:
    """How sure the model is of what it found, and whether GrabCut finds the same."""
    if not inside.any() or inside.all():
        return 0.0
    size = float(np.clip(inside.mean() / 0.03, 0, 1))
    sure = float(np.clip(guess[inside].mean() / 0.85, 0, 1))
    seen = 0.5 + 0.5 * _contrast(lab, inside)
    return size * sure * seen * _overlap(guess >= 0.5, inside) * _overlap(inside, loose)
