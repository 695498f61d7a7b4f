"""A plain or softly shaded background keyed out: learnt from the border, flooded from the border.

White and grey spots inside the animal stay on a white or grey background, as the flood does not
reach them; of a clear hue, what is enclosed is background too.
"""

import dataclasses

import numpy as np

from core.images import Picture
from exporters.cutting.operators import calm, erode, ring, spread, touching_border
from exporters.vision import Field, Mask, components, dilate, gradient, rgb_to_lab

RING_SHARE = 0.03
"""Width of the border that is looked at, as a share of the shorter side."""
PLAIN_SHARE = 0.7
"""A border is plain when so much of it follows one smooth surface."""
MAX_SPREAD = 5.0
"""… within this median ΔE."""
_LEAST_TOLERANCE = 5.0
_MOST_TOLERANCE = 14.0
_SURE_HUE = 10.0
"""Chroma from which a background's colour is hardly the animal's own."""
_SHADOW_DEPTH, _SHADOW_HUE = 35.0, 6.0
"""How much darker (L*) a cast shadow is at most, and how far its hue (a*b*) may be off."""
_SHADOW_SLOPE, _SHADOW_RAMP = 3.5, 0.25
"""How much a shadow may darken from pixel to pixel, in L* and as a share of its darkness: the edge
of a grey animal is steeper."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backdrop:
    """What the border says about the background."""

    lab_hwc: Field
    """The background's colour behind every pixel, in Lab."""
    share: float
    """Share of the border that follows it, 0…1."""
    spread: float
    """Median ΔE of those from it."""

    @property
    def plain(self) -> bool:
        """Whether it can be keyed."""
        return self.share >= PLAIN_SHARE and self.spread <= MAX_SPREAD

    @property
    def tolerance(self) -> float:
        """ΔE up to which a pixel may be background."""
        return float(np.clip(4 * self.spread + 3, _LEAST_TOLERANCE, _MOST_TOLERANCE))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keyed:
    """An animal on a plain background."""

    inside: Mask
    background_hwc: Field
    """The background behind every pixel, RGB 0…255."""
    confidence: float


def find_backdrop(image_hwc: Picture) -> Backdrop:
    """Fit a quadratic surface in Lab to the border of an RGB picture, leaving out what differs."""
    lab = rgb_to_lab(calm(image_hwc).astype(np.float32))
    height, width = lab.shape[:2]
    border = ring(lab.shape, max(1, round(RING_SHARE * min(height, width))))
    values = lab[border]
    basis = _basis(height, width)
    far = np.linalg.norm(values - np.median(values, axis=0), axis=1)
    kept = far <= max(6.0, 1.5 * float(np.median(far)))
    for _ in range(5):
        weights = _fit(basis[border][kept], values[kept])
        far = np.linalg.norm(values - basis[border] @ weights, axis=1)
        middle = float(np.median(far[kept]))
        kept = far <= max(4.0, 3 * middle)
        if kept.sum() < len(values) // 4:
            break
    surface = np.asarray(basis @ weights, dtype=np.float32)
    return Backdrop(lab_hwc=surface, share=float((far < 8).mean()), spread=middle)


def key(image_hwc: Picture, backdrop: Backdrop) -> Keyed:
    """Flood the background of an RGB picture from its border."""
    lab = rgb_to_lab(calm(image_hwc).astype(np.float32))
    slope = _slope(lab)
    outside = _flood(lab - backdrop.lab_hwc, slope, backdrop.tolerance)
    # What was flooded says more than the border did: shading in the middle, for instance.
    nearer = _follow(lab, outside, backdrop.lab_hwc)
    outside = _flood(lab - nearer, slope, backdrop.tolerance)
    outside |= _pockets(lab, nearer, outside, backdrop.tolerance)
    colour = image_hwc.astype(np.float32)
    basis = _basis(*lab.shape[:2])
    if outside.any():
        flat = np.asarray(basis @ _fit(basis[outside], colour[outside]), dtype=np.float32)
    else:
        flat = colour
    return Keyed(
        inside=~outside,
        background_hwc=_follow(colour, outside, flat),
        confidence=_confidence(~outside, _length(lab - nearer), backdrop),
    )


def _basis(height: int, width: int) -> Field:
    """1, x, y, x², y², xy at each pixel, from −1 to 1."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] + np.zeros((1, width), np.float32)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None] + np.zeros((height, 1), np.float32)
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=2)


def _fit(basis: Field, values: Field) -> Field:
    """Least squares, a little drawn to a constant: a thin picture has no x or y."""
    square = (basis.T @ basis).astype(np.float64)
    square += np.diag([0, *[1e-3 * len(basis)] * 5])
    weights = np.linalg.solve(square, (basis.T @ values).astype(np.float64))
    return weights.astype(np.float32)


def _length(difference: Field) -> Field:
    return np.asarray(np.linalg.norm(difference, axis=2), dtype=np.float32)


def _slope(lab: Field) -> Field:
    """How much lightness changes from pixel to pixel."""
    across, down = gradient(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(np.hypot(across, down), dtype=np.float32)


def _follow(values: Field, known: Mask, surface: Field) -> Field:
    """The surface, bent to the known pixels nearby."""
    rest, weight = spread(values - surface, known, max(2.0, min(known.shape) / 24))
    return np.asarray(surface + rest * np.clip(weight / 0.2, 0, 1)[..., None], dtype=np.float32)


def _flood(difference: Field, slope: Field, tolerance: float) -> Mask:
    """Pixels like the background that the border reaches, but not through a narrow gap.

    A soft shadow is background too: darker, of the same hue, without an edge.
    """
    like = _length(difference) <= tolerance
    drop, hue = -difference[..., 0], _length(difference[..., 1:])
    smooth = slope < np.minimum(_SHADOW_SLOPE, _SHADOW_RAMP * drop)
    like |= smooth & (drop < _SHADOW_DEPTH) & (hue <= _SHADOW_HUE)
    gap_px = min(like.shape) // 160
    if gap_px == 0:
        return touching_border(like)
    wide = touching_border(erode(like, gap_px))
    return dilate(wide, gap_px + 1) & like


def _pockets(lab: Field, backdrop: Field, outside: Mask, tolerance: float) -> Mask:
    """Enclosed background, as inside a curled tail, where its colour can be told for sure.

    White or grey inside an animal is an eye or a belly as often as a gap; a clear hue that is that
    of the background is a gap.
    """
    coloured = _length(backdrop[..., 1:]) > _SURE_HUE
    distance = _length(lab - backdrop)
    parts, stats = components((distance <= tolerance) & coloured & ~outside, diagonal=False)
    sums = np.bincount(parts.ravel(), distance.ravel(), len(stats))
    gap = sums <= 0.5 * tolerance * np.maximum(stats[:, 4], 1)
    gap[0] = False
    return np.asarray(gap[parts], dtype=bool)


def _confidence(inside: Mask, distance: Field, backdrop: Backdrop) -> float:
    """How plain the border is, times how clearly the animal's rim stands out."""
    rim = inside & ~erode(inside, 2)
    if not rim.any():
        return 0.0
    clear = float(np.clip(distance[rim] / (2 * backdrop.tolerance), 0, 1).mean())
    plain = float(np.clip((backdrop.share - 0.4) / 0.4, 0, 1))
    calmness = float(np.clip(1.5 - backdrop.spread / MAX_SPREAD, 0, 1))
    return plain * calmness * (0.2 + 0.8 * clear)
