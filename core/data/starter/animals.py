"""One animal from a label and a seed: as SVG text, or as pixels."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from core.data.starter import bird, cat, dog, fish, frog, horse, rabbit, turtle
from core.data.starter.dice import Dice
from core.data.starter.mammals import Coat
from core.data.starter.palettes import luminance, tinted
from core.data.starter.scene import Scene
from core.errors import UserError
from core.images import Picture
from core.render import render_svg

_RECIPES: dict[str, tuple[Callable[[Dice], Coat], Callable[[Scene, Dice, Coat], None]]] = {
    "bird": (bird.roll_coat, bird.draw),
    "cat": (cat.roll_coat, cat.draw),
    "dog": (dog.roll_coat, dog.draw),
    "fish": (fish.roll_coat, fish.draw),
    "frog": (frog.roll_coat, frog.draw),
    "horse": (horse.roll_coat, horse.draw),
    "rabbit": (rabbit.roll_coat, rabbit.draw),
    "turtle": (turtle.roll_coat, turtle.draw),
}
LABELS: tuple[str, ...] = tuple(_RECIPES)
_PALE = 0.86  # luminance above which a coat without outline is lost on white paper
SIZES_PX = (32, 512)
"""The smallest and the largest picture."""


def animal_svg(label: str, seed: int) -> str:
    """The animal as SVG, viewBox 0 0 512 512; the same text for the same label and seed.

    Raises UserError for a label outside `LABELS` or a negative seed.
    """
    if label not in _RECIPES:
        raise UserError(f"{label!r} is no starter animal: choose one of {', '.join(LABELS)}")
    if seed < 0:
        raise UserError(f"the seed is {seed}: give 0 or more")
    dice = Dice(label, seed)
    roll_coat, draw = _RECIPES[label]
    coat = roll_coat(dice)
    pale = luminance(coat.palette.base) > _PALE
    outline = dice.between(12, 15) if dice.chance(0.55) or pale else 0.0
    if not outline:
        coat = replace(coat, palette=tinted(coat.palette))
    scene = Scene(dark=coat.palette.dark, outline=outline, mirrored=dice.chance(0.5))
    draw(scene, dice, coat)
    return scene.svg()


def draw_animal(label: str, seed: int, size_px: int) -> Picture:
    """The animal as `size_px`×`size_px`×4, uint8, straight alpha.

    Raises UserError as `animal_svg` does, and for a size outside 32..512.
    """
    smallest, largest = SIZES_PX
    if not smallest <= size_px <= largest:
        raise UserError(f"the size is {size_px} px: give {smallest} to {largest}")
    return render_svg(animal_svg(label, seed), size_px)


def draw_many(per_class: int, seed: int, size_px: int) -> Iterator[tuple[str, int, Picture]]:
    """`per_class` animals of every class as (label, seed, picture), class by class.

    Animal k of a class has the seed `seed + k`, so that a longer run contains a shorter one.
    Raises UserError as `draw_animal` does, and for fewer than one per class.
    """
    if per_class < 1:
        raise UserError(f"{per_class} animals per class were asked for: give 1 or more")
    for label in LABELS:
        for own in range(seed, seed + per_class):
            yield label, own, draw_animal(label, own, size_px)
