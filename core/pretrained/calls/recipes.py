"""Which call an animal has: written down for the starter classes, drawn from the name for others.

recipe = recipe_of("dragon")      # always the same one for this name
"""

import dataclasses
import hashlib

import numpy as np

from core.pretrained.calls.draws import Draws
from core.pretrained.calls.others import KINDS
from core.pretrained.calls.syllables import Curve, Syllable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A class's call: a kind of animal, and how this class differs from it."""

    kind: str
    """One of `core.pretrained.calls.others.KINDS`."""
    pitch: float = 1.0
    """Times the kind's fundamental."""
    size: float = 1.0
    """Times the kind's tract: a larger one sounds darker."""
    pace: float = 1.0
    """Times the kind's tempo."""
    vibrato_hz: float = 0.0
    """A vibrato or shudder of the class's own."""
    vibrato: float = 0.0
    """Its half width, as a share of the pitch."""


STARTERS = {
    "bird": Recipe(kind="song"),
    "cat": Recipe(kind="meow"),
    "dog": Recipe(kind="bark"),
    "fish": Recipe(kind="bubbles"),
    "frog": Recipe(kind="croak"),
    "horse": Recipe(kind="whinny"),
    "rabbit": Recipe(kind="squeak"),
    "turtle": Recipe(kind="hiss"),
}
"""The embedded classes' recipes."""
OTHERS = {
    "bear": Recipe(kind="roar", size=1.15),
    "cow": Recipe(kind="moo"),
    "cricket": Recipe(kind="stridulation"),
    "dolphin": Recipe(kind="clicks"),
    "duck": Recipe(kind="quack"),
    "goat": Recipe(kind="moo", pitch=2.1, size=0.7, pace=1.5, vibrato_hz=9.0, vibrato=0.06),
    "goose": Recipe(kind="quack", pitch=1.5, size=1.1, pace=0.8),
    "lion": Recipe(kind="roar", pitch=0.9),
    "mouse": Recipe(kind="squeak", pitch=2.6, size=0.6, pace=1.4),
    "owl": Recipe(kind="howl", pitch=0.85, pace=1.4),
    "sheep": Recipe(kind="moo", pitch=1.7, size=0.8, pace=1.3, vibrato_hz=8.0, vibrato=0.05),
    "tiger": Recipe(kind="roar", pitch=1.2, size=0.95),
    "wolf": Recipe(kind="howl"),
}
"""Animals whose call everybody knows."""


def recipe_of(label: str) -> Recipe:
    """A class's recipe; for a class that has none written down, one drawn from its name."""
    known = STARTERS | OTHERS
    if label in known:
        return known[label]
    draw = Draws(np.random.default_rng(number_of(label)))
    names = sorted(KINDS)
    return Recipe(
        kind=names[draw.count(0, len(names) - 1)],
        pitch=round(2 ** draw.between(-0.8, 0.8), 3),
        size=round(2 ** draw.between(-0.5, 0.5), 3),
        pace=round(2 ** draw.between(-0.4, 0.4), 3),
        vibrato_hz=round(draw.between(4, 25), 1),
        vibrato=round(draw.between(0, 0.05), 3),
    )


def number_of(label: str) -> int:
    """A number that a name stands for in seeds."""
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:7], "big")


def syllables_of(recipe: Recipe, rng: np.random.Generator) -> list[Syllable]:
    """The syllables of one call, by a recipe."""
    return [_adapted(syllable, recipe) for syllable in KINDS[recipe.kind](Draws(rng))]


def _adapted(syllable: Syllable, recipe: Recipe) -> Syllable:
    own = recipe if recipe.vibrato else syllable
    mouth = tuple(
        dataclasses.replace(
            resonance,
            hz=_times(resonance.hz, 1 / recipe.size),
            width_hz=resonance.width_hz / recipe.size,
        )
        for resonance in syllable.tract
    )
    return dataclasses.replace(
        syllable,
        at_s=syllable.at_s / recipe.pace,
        length_s=syllable.length_s / recipe.pace,
        pitch_hz=_times(syllable.pitch_hz, recipe.pitch),
        breath_hz=_times(syllable.breath_hz, recipe.pitch),
        tract=mouth,
        vibrato_hz=own.vibrato_hz,
        vibrato=own.vibrato,
    )


def _times(curve: Curve, factor: float) -> Curve:
    return tuple((place, value * factor) for place, value in curve)
