"""Soft edges: how much of each edge pixel is animal, and what colour the animal has there.

An edge pixel is a mixture, I = αF + (1 − α)B (Porter and Duff, 1984). With B known and F taken from
inside, α is where I lies between them; F is then what remains of I without the background.
"""

import numpy as np

from core.images import Picture
from exporters.cutting.operators import erode, spread
from exporters.vision import Field, Mask, blur, dilate, nearest_outside

_SURE_CONTRAST = 40.0
"""Distance (RGB levels) of animal and background from which a mixture can be told."""
_BLIND_CONTRAST = 12.0
"""Distance below which nothing can be told, and the mask's own edge is softened."""


def matte(
    image_hwc: Picture, inside: Mask, *, band_px: int, background_hwc: Field | None = None
) -> Picture:
    """Straight RGBA with a soft edge of `band_px` on either side of the mask's.

    The picture is RGB. `background_hwc` is the background behind every pixel, where it is known;
    else it is carried in from what is surely outside.
    """
    colour = image_hwc.astype(np.float32)
    behind = _carry(colour, ~dilate(inside, band_px), band_px)
    if background_hwc is not None:
        behind = background_hwc
    band = dilate(inside, band_px) & ~erode(inside, band_px)
    front = _front(colour, behind, inside, band, band_px, known=background_hwc is not None)
    alpha = inside.astype(np.float32)
    alpha[band] = _mixture(colour, front, behind, inside, band)
    return _unmixed(colour, front, behind, alpha)


def _carry(colour: Field, sure: Mask, band_px: int) -> Field:
    """Colours of the sure pixels, averaged nearby and carried to all others."""
    if not sure.any():
        return colour
    near, weight = spread(colour, sure, max(1.0, float(band_px)))
    return near[nearest_outside(weight < 0.02)] if (weight < 0.02).any() else near


def _front(
    colour: Field, behind: Field, inside: Mask, band: Mask, band_px: int, *, known: bool
) -> Field:
    """The animal's own colour at each edge pixel."""
    core = erode(inside, band_px)
    front = _carry(colour, core if core.any() else inside, band_px)
    if not known:
        return front
    # Where the background is known, the neighbour inside that differs most from it is the purest:
    # a drawing's dark outline is thinner than the band, so that no sure core holds its colour.
    rows, columns = np.nonzero(band)
    distance = np.where(inside, np.linalg.norm(colour - behind, axis=2), -1).astype(np.float32)
    best = np.full(rows.size, -1, dtype=np.float32)
    chosen = front[rows, columns]
    height, width = inside.shape
    for down in range(-band_px, band_px + 1):
        for across in range(-band_px, band_px + 1):
            y = np.clip(rows + down, 0, height - 1)
            x = np.clip(columns + across, 0, width - 1)
            better = distance[y, x] > best
            best[better] = distance[y, x][better]
            chosen[better] = colour[y, x][better]
    front[rows, columns] = chosen
    return front


def _mixture(colour: Field, front: Field, behind: Field, inside: Mask, band: Mask) -> Field:
    """α of the edge pixels."""
    seen, fore, back = colour[band], front[band], behind[band]
    axis = fore - back
    length = np.linalg.norm(axis, axis=1)
    along = ((seen - back) * axis).sum(axis=1) / np.maximum(length, 1) ** 2
    # Off the line between the two, a pixel is no mixture of them but a colour of its own.
    off = np.linalg.norm(seen - back - along[:, None] * axis, axis=1)
    own = np.clip((off - 0.25 * length - 8) / 24, 0, 1) * inside[band]
    told = np.clip(along, 0, 1) * (1 - own) + own
    soft = blur(inside.astype(np.float32), 0.7)[band]
    trust = np.clip((length - _BLIND_CONTRAST) / (_SURE_CONTRAST - _BLIND_CONTRAST), 0, 1)
    mixed = soft + (told - soft) * trust
    return np.asarray(np.clip((mixed - 0.04) / 0.92, 0, 1), dtype=np.float32)


def _unmixed(colour: Field, front: Field, behind: Field, alpha: Field) -> Picture:
    """Colours without the background's share, with alpha, as bytes."""
    share = alpha[..., None]
    pure = (colour - (1 - share) * behind) / np.maximum(share, 0.1)
    # A thin pixel says little of its colour: there its neighbours inside say more.
    trust = np.clip((share - 0.3) / 0.5, 0, 1)
    straight = np.where(share >= 1, colour, front + (pure - front) * trust)
    rgba = np.concatenate([np.clip(straight, 0, 255), 255 * share], axis=2)
    rgba[alpha == 0] = 0
    return np.asarray(np.rint(rgba), dtype=np.uint8)
