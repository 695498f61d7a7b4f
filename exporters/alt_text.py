"""What a sticker looks like, in a few words, for those who do not see it."""

import numpy as np
from numpy.typing import NDArray

from core.images import Picture
from exporters.vision import rgb_to_lab

_NAMES = {
    "black": (28, 28, 32),
    "dark grey": (80, 80, 84),
    "grey": (140, 140, 144),
    "light grey": (200, 200, 204),
    "white": (250, 250, 248),
    "cream": (250, 232, 200),
    "red": (205, 45, 45),
    "orange": (240, 135, 40),
    "yellow": (250, 215, 70),
    "brown": (120, 75, 45),
    "tan": (200, 155, 115),
    "green": (90, 165, 75),
    "dark green": (35, 90, 55),
    "teal": (60, 165, 155),
    "light blue": (140, 200, 240),
    "blue": (60, 110, 200),
    "dark blue": (40, 50, 95),
    "purple": (125, 85, 180),
    "pink": (245, 160, 185),
}


def describe(label: str, palette_rgb: Picture, areas: NDArray[np.int64]) -> str:
    """Such as `An orange and white cat`: the label and its one or two largest colours."""
    shares: dict[str, float] = {}
    for colour, area in zip(palette_rgb, areas, strict=False):
        name = _name(colour)
        shares[name] = shares.get(name, 0.0) + float(area)
    total = max(1.0, sum(shares.values()))
    ranked = sorted(shares, key=lambda name: (-shares[name], name))
    chosen = [name for name in ranked[:2] if shares[name] >= 0.12 * total] or ranked[:1]
    words = f"{' and '.join(chosen)} {label}".strip()
    return f"{'An' if words[0].lower() in 'aeiou' else 'A'} {words}"


def _name(colour: NDArray[np.uint8]) -> str:
    table = np.array([colour.tolist(), *_NAMES.values()], dtype=np.float32)[None]
    lab = rgb_to_lab(table)[0]
    nearest = int(np.square(lab[1:] - lab[0]).sum(axis=1).argmin())
    return list(_NAMES)[nearest]
