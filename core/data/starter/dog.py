"""Dogs: ears that flop, a broad snout, a tongue, a collar."""

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, muzzle_mouth, roll_eyes, smile, tongue
from core.data.starter.mammals import Coat, sitting, standing
from core.data.starter.palettes import COLLARS, choose, mix
from core.data.starter.patterns import patch, resized, shade, spots
from core.data.starter.scene import Mark, Scene
from core.data.starter.shapes import Curve, ellipse, limb, mirror, scale, smooth, symmetric


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A dog, sitting or standing."""
    upright = dice.chance(0.55)
    _tail(scene, dice, coat, upright)
    (sitting if upright else standing)(scene, dice, coat)
    cx, cy = (256.0, 170.0) if upright else (366.0, 186.0)
    size = coat.head * (1.0 if upright else 0.93)
    if dice.chance(0.6):
        _collar(scene, dice, cx, cy + 109 * size, 72 * size)
    _head(scene, dice, coat, cx, cy, size)


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the breed."""
    patterns = ("plain", "bib", "bib", "saddle", "saddle", "spots", "patches", "plain")
    return Coat(
        palette=choose("dog", dice),
        pattern=dice.pick(patterns),
        socks=dice.chance(0.45),
        girth=dice.between(0.9, 1.14),
        head=dice.between(0.94, 1.06),
        leg=dice.between(0.45, 1.2),
    )


def _tail(scene: Scene, dice: Dice, coat: Coat, upright: bool) -> None:
    p = coat.palette
    thick = dice.between(34, 50)
    if upright:
        spine = [(320.0, 440.0), (430.0, 450.0), (436.0, 350.0)]
    else:
        spine = dice.pick(
            (
                [(150.0, 310.0), (80.0, 270.0), (66.0, 186.0)],
                [(150.0, 310.0), (30.0, 270.0), (80.0, 140.0), (136.0, 204.0)],
            )
        )
    widths = [thick] * (len(spine) - 1) + [thick * 0.6]
    tip = [Mark(ellipse(*spine[-1], 36), p.belly)] if coat.socks else []
    scene.part(p.mark if coat.pattern == "saddle" else p.base, limb(spine, widths), marks=tip)


def _collar(scene: Scene, dice: Dice, cx: float, cy: float, half: float) -> None:
    colour = dice.pick(COLLARS)
    scene.part(colour, limb([(cx - half, cy - 16), (cx, cy + 4), (cx + half, cy - 16)], [30] * 3))
    scene.part("#ffd24a", ellipse(cx, cy + 24, 18))


def _head(scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, size: float) -> None:
    p = coat.palette
    brow, jowl = dice.between(88, 102), dice.between(92, 110)
    half = [(0, -98), (brow * 0.66, -84), (brow, -14), (jowl, 50), (jowl * 0.6, 96), (0, 108)]
    head = scale(symmetric(cx, [(x, cy + y) for x, y in half]), size, size, cx, cy)
    marks = resized(_face_marks(dice, coat, cx, cy), size, cx, cy)
    scene.part(p.base, head, marks=[*marks, shade(head, p.dark, scene.light, 12)])
    _ears(scene, dice, coat, cx, cy, size)
    snout = scale(ellipse(cx, cy + 58, dice.between(58, 70), 46), size, size, cx, cy)
    mouth = cy + 66 * size
    out = dice.chance(0.6)
    if out:
        tongue(scene, cx + 4, mouth + 10 * size, 34 * size, 50 * size)
    pale = p.belly if coat.pattern != "plain" or coat.socks else mix(p.base, p.belly, 0.6)
    scene.mark(snout, pale)
    if out:
        tongue(scene, cx, mouth + 12 * size, 36 * size, 46 * size)
        smile(scene, cx, mouth + 4 * size, 66 * size, 14 * size)
    else:
        muzzle_mouth(scene, cx, mouth, 68 * size, 10)
    scene.mark(scale(_nose(cx, cy + 36), size, size, cx, cy), mix(scene.dark, "#000000", 0.3))
    scene.mark(ellipse(cx + scene.light * 9 * size, cy + 28 * size, 8 * size, 5 * size), "#ffffff")
    gap, level = dice.between(46, 54) * size, cy - 6 * size
    eyes = roll_eyes(dice, coloured=0.15)
    for side in (-1, 1):
        eye(scene, cx + side * gap, level, 25 * size, eyes)
    if dice.chance(0.35):
        for side in (-1, 1):
            cheek(scene, cx + side * gap * 1.56, level + 44 * size, 17 * size)


def _nose(cx: float, cy: float) -> Curve:
    return smooth([(cx - 26, cy - 10), (cx, cy - 18), (cx + 26, cy - 10), (cx, cy + 18)])


def _ears(scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, size: float) -> None:
    kind = dice.pick(("long", "long", "drop", "fold"))
    if kind == "long":
        length = dice.between(60, 104)
        spine = [(60, -84), (132, -84), (124, 30), (116, length)]
        ear = limb([(cx + x, cy + y) for x, y in spine], [40, 60, 68, 56])
    elif kind == "drop":
        points = [(40, -92), (98, -94), (136, -34), (142, 26), (98, 40), (70, -24)]
        ear = smooth([(cx + x, cy + y) for x, y in points])
    else:
        points = [(36, -92), (70, -124), (116, -120), (146, -42), (112, -38), (74, -62)]
        ear = smooth([(cx + x, cy + y) for x, y in points])
    ear = scale(ear, size, size, cx, cy)
    colour = coat.palette.accent
    for side in (1, -1):
        shape = ear if side > 0 else mirror(ear, cx)
        scene.part(colour, shape, marks=[shade(shape, scene.dark, scene.light, 9)])


def _face_marks(dice: Dice, coat: Coat, cx: float, cy: float) -> list[Mark]:
    p = coat.palette
    if coat.pattern == "bib":
        half = [(0, cy - 120), (20, cy - 40), (34, cy + 20), (80, cy + 60), (60, cy + 130)]
        return [Mark(symmetric(cx, half), p.belly)]
    if coat.pattern == "saddle":
        return [Mark(ellipse(cx + side * 74, cy - 46, 62, 66), p.mark) for side in (-1, 1)]
    if coat.pattern == "patches":
        return [patch(cx + 58, cy - 16, 58, 62, dice, p.mark, 0.1)]
    if coat.pattern == "spots":
        return spots(ellipse(cx, cy - 60, 96, 40), dice, p.mark, 13, gap=3.4)
    return []
