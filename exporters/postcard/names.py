"""Names for animals that nobody has met, such as "The lesser moss frog"."""

import numpy as np

from core.files import digest_bytes
from core.seeds import mixed_seed
from exporters.postcard.colours import GREYISH, Scheme

_MANNERS = (
    *("lesser", "greater", "common", "northern", "southern", "wandering", "drowsy", "evening"),
    *("hopeful", "solemn", "whistling", "garden", "polite", "lesser-known", "Sunday", "tiptoe"),
)
_COLOURS = (
    (35, ("rose", "cherry", "brick", "poppy")),
    (75, ("ember", "marmalade", "apricot", "fox-fire")),
    (115, ("honey", "dandelion", "saffron", "straw")),
    (165, ("moss", "fern", "clover", "reed")),
    (225, ("lagoon", "sage", "mint", "rain")),
    (285, ("brook", "harbour", "cornflower", "glacier")),
    (330, ("heather", "plum", "twilight", "lilac")),
    (361, ("blossom", "foxglove", "peony", "candy")),
)
_GREYS = (
    (0.42, ("coal", "ink", "midnight", "raven")),
    (0.68, ("pebble", "slate", "ash", "thistle")),
    (1.01, ("mist", "snow", "pearl", "cloud")),
)
_BROWNS = ("chestnut", "bark", "cocoa", "acorn")


def name_of(label: str, seed: int, scheme: Scheme) -> str:
    """The name of one animal: its class, seed and colour say it."""
    number = int(digest_bytes(label.encode())[:8], 16)
    rng = np.random.default_rng(mixed_seed(number, seed, 3))
    colours = _colours_of(scheme)
    manner, colour = _MANNERS[rng.integers(len(_MANNERS))], colours[rng.integers(len(colours))]
    return f"The {manner} {colour} {label.replace('_', ' ')}"


def _colours_of(scheme: Scheme) -> tuple[str, ...]:
    if scheme.chroma < GREYISH:
        return next(names for below, names in _GREYS if scheme.lightness < below)
    if 30 <= scheme.hue < 85 and scheme.lightness < 0.6:
        return _BROWNS
    return next(names for below, names in _COLOURS if scheme.hue < below)
