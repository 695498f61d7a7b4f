"""Eyes, noses, mouths and cheeks, shared by all animals."""

from dataclasses import dataclass

from core.data.starter.dice import Dice
from core.data.starter.palettes import BLUSH, IRISES, PINK, WHITE, mix
from core.data.starter.scene import Scene
from core.data.starter.shapes import arc, ellipse, line, polygon, smooth


@dataclass(frozen=True)
class Eyes:
    """How an animal's eyes are drawn; the same for both."""

    size: float
    """A factor on the radius that the recipe proposes."""
    iris: str
    """A ring of colour around the pupil, or empty for plain dark eyes."""
    gaze: float
    """Where it looks: -1 back, 1 ahead."""


def roll_eyes(dice: Dice, coloured: float = 0.3) -> Eyes:
    """Draw lots for the eyes; `coloured` is the chance of an iris."""
    iris = dice.pick(IRISES) if dice.chance(coloured) else ""
    return Eyes(size=dice.between(0.92, 1.1), iris=iris, gaze=dice.between(0.0, 1.0))


def eye(scene: Scene, x: float, y: float, radius: float, eyes: Eyes) -> None:
    """One eye: white, pupil, highlight; a dark rim keeps the white apart from white fur."""
    r = radius * eyes.size
    rim = mix(scene.dark, "#000000", 0.25)
    scene.mark(ellipse(x, y, r * 1.16, r * 1.2), rim)
    scene.mark(ellipse(x, y, r, r * 1.04), WHITE)
    px, py = x + eyes.gaze * r * 0.16, y + r * 0.06
    if eyes.iris:
        scene.mark(ellipse(px, py, r * 0.84, r * 0.88), eyes.iris)
        scene.mark(ellipse(px, py, r * 0.58, r * 0.68), rim)
    else:
        scene.mark(ellipse(px, py, r * 0.8, r * 0.86), rim)
    scene.mark(ellipse(px + scene.light * r * 0.26, py - r * 0.34, r * 0.32), WHITE)
    scene.mark(ellipse(px - scene.light * r * 0.28, py + r * 0.36, r * 0.15), WHITE)


def nose(scene: Scene, x: float, y: float, width: float, colour: str) -> None:
    """A rounded triangle, point down."""
    w, h = width / 2, width * 0.36
    triangle = polygon([(x - w, y - h), (x + w, y - h), (x, y + h)], width * 0.28)
    scene.mark(triangle, colour)


def muzzle_mouth(scene: Scene, x: float, y: float, width: float, stroke: float = 9.0) -> None:
    """The ω mouth of cats, dogs and rabbits, hanging below the nose."""
    for side in (-1, 1):
        scene.mark(arc(x + side * width / 4, y, width / 2, width * 0.26), scene.dark, stroke)


def smile(scene: Scene, x: float, y: float, width: float, depth: float, stroke: float = 9) -> None:
    """A single curved line."""
    scene.mark(arc(x, y, width, depth), scene.dark, stroke)


def open_mouth(scene: Scene, x: float, y: float, width: float, depth: float) -> None:
    """A laughing mouth with a tongue."""
    w = width / 2
    corners = [(x - w, y), (x, y + depth * 0.08), (x + w, y), (x + w * 0.62, y + depth * 0.8)]
    corners += [(x, y + depth), (x - w * 0.62, y + depth * 0.8)]
    scene.mark(smooth(corners, corners=(0, 2)), mix(scene.dark, "#7a1f2b", 0.35))
    scene.mark(ellipse(x, y + depth * 0.74, w * 0.5, depth * 0.24), PINK)


def tongue(scene: Scene, x: float, y: float, width: float, length: float) -> None:
    """A tongue that hangs out."""
    w = width / 2
    shape = [(x - w, y), (x + w, y), (x + w, y + length * 0.6), (x, y + length)]
    shape.append((x - w, y + length * 0.6))
    scene.mark(smooth(shape, corners=(0, 1)), PINK)
    scene.mark(line((x, y + 2), (x, y + length * 0.45)), mix(PINK, scene.dark, 0.3), 7)


def cheek(scene: Scene, x: float, y: float, radius: float) -> None:
    """A blush."""
    scene.mark(ellipse(x, y, radius, radius * 0.68), BLUSH, opacity=0.62)
