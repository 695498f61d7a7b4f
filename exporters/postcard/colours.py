"""A card's colours, from the picture's own: OKLCH (Ottosson 2020), where hues stay themselves."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from core.images import Picture

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
GREYISH = 0.045
"""Mean chroma below which a picture has no hue of its own."""
_WARM = 65.0
"""Hue of the card of a picture without one: cream."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scheme:
    """Colours of one card, #rrggbb."""

    sky: str
    sky_low: str
    """Near the horizon."""
    halo: str
    """The disc behind the animal."""
    far: str
    """The hill behind."""
    ground: str
    deep: str
    """Shadows and plants on the ground."""
    accent: str
    light: str
    """Letters on the ground, the edge around the picture."""
    ink: str
    """Letters on paper."""
    paper: str
    hue: float
    """Of the picture, in degrees."""
    chroma: float
    lightness: float
    """Of the picture, 0…1."""


def scheme_of(picture_hwc: Picture, seed: int) -> Scheme:
    """Colours for a picture (H×W×4, straight alpha, or H×W×3): its hue below, another above."""
    lightness, chroma, hue = mean_colour(picture_hwc)
    base = hue if chroma >= GREYISH else _WARM + 40 * (seed % 5)
    turn = (150, 180, 205, 120)[seed % 4]
    sky_hue = (base + turn) % 360
    if 45 < sky_hue < 125:  # a sky may be the colour of a peach, not of mustard
        sky_hue = 45.0
    pale = lightness > 0.8  # a white rabbit needs a deeper sky
    sky = (0.80, 0.075) if pale else (0.885, 0.055)
    warm = chroma >= GREYISH and 20 <= base < 115  # or it were the colour of mud
    ground = (0.52, 0.11) if warm else (0.47, 0.085)
    ground_hue = base + (15 if chroma >= GREYISH else 0)
    return Scheme(
        sky=hex_of(sky[0], sky[1], sky_hue),
        sky_low=hex_of(sky[0] + 0.05, sky[1] * 0.75, sky_hue - 25),
        halo=hex_of(sky[0] + 0.085, 0.035, base + 20),
        far=hex_of(0.70, 0.07, ground_hue + 35),
        ground=hex_of(*ground, ground_hue),
        deep=hex_of(ground[0] - 0.11, 0.07, ground_hue - 8),
        accent=hex_of(0.58, 0.14, base),
        light="#fffaf0",
        ink=hex_of(0.30, 0.045, base),
        paper=hex_of(0.975, 0.014, _WARM + 15),
        hue=base % 360,
        chroma=chroma,
        lightness=lightness,
    )


def mean_colour(picture_hwc: Picture) -> tuple[float, float, float]:
    """Mean lightness and chroma (OKLCH) and the hue in degrees that most of the colour has."""
    pixels = picture_hwc.reshape(-1, picture_hwc.shape[-1])
    if pixels.shape[1] == 4:
        pixels = pixels[pixels[:, 3] > 127]
    if not len(pixels):
        return 0.5, 0.0, 0.0
    lab = oklab(pixels[:, :3])
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    # Strong colours say more about a picture than the large pale part around them.
    a, b = (float((lab[:, axis] * chroma).sum()) for axis in (1, 2))
    return float(lab[:, 0].mean()), float(chroma.mean()), math.degrees(math.atan2(b, a)) % 360


def oklab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """sRGB (N×3, uint8) as OKLab, N×3."""
    values = rgb.astype(np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T)


def hex_of(lightness: float, chroma: float, hue: float) -> str:
    """OKLCH (hue in degrees) as #rrggbb, with less chroma where a screen cannot show it."""
    angle = math.radians(hue)
    for step in range(20):
        c = chroma * (1 - step / 20)
        lab = np.array([min(lightness, 1.0), c * math.cos(angle), c * math.sin(angle)])
        linear = np.linalg.solve(_TO_LMS, np.linalg.solve(_TO_LAB, lab) ** 3)
        if linear.min() >= -1e-4 and linear.max() <= 1 + 1e-4:
            break
    linear = linear.clip(0, 1)
    values = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#{:02x}{:02x}{:02x}".format(*np.rint(values * 255).astype(int).tolist())


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (#rrggbb) by WCAG 2.1, from 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
