"""Frogs: from the front, eyes on top of a wide mouth, long feet to both sides."""

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, open_mouth, roll_eyes, smile
from core.data.starter.mammals import Coat
from core.data.starter.palettes import choose, mix
from core.data.starter.patterns import shade, spots
from core.data.starter.scene import Gradient, Mark, Scene
from core.data.starter.shapes import Curve, ellipse, limb, symmetric


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A frog that squats and smiles."""
    p, g = coat.palette, coat.girth
    for side in (-1, 1):
        _hind_leg(scene, dice, coat, side)
    half = [(0, 250), (92 * g, 280), (120 * g, 370), (100 * g, 440), (0, 460)]
    body = symmetric(256, half)
    belly = Mark(ellipse(256, 392, 84 * g, 88), p.belly)
    scene.part(
        p.base, body, marks=[*_back(body, dice, coat), belly, shade(body, p.dark, scene.light)]
    )
    reach = dice.between(60, 92)
    for side in (-1, 1):
        _arm(scene, coat, side, reach)
    _head(scene, dice, coat)


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the species."""
    return Coat(
        palette=choose("frog", dice),
        pattern=dice.pick(("plain", "plain", "spots", "spots", "stripes", "gradient")),
        socks=dice.chance(0.3),
        girth=dice.between(0.9, 1.12),
        head=dice.between(0.96, 1.06),
        leg=dice.between(0.9, 1.1),
    )


def _back(curve: Curve, dice: Dice, coat: Coat) -> list[Mark]:
    return spots(curve, dice, coat.palette.mark, 15, 3.0) if coat.pattern == "spots" else []


def _hind_leg(scene: Scene, dice: Dice, coat: Coat, side: int) -> None:
    p = coat.palette
    foot_fill = p.accent if coat.socks else p.base
    x = 256 + side * 176 * coat.leg
    toes = [
        limb([(x - side * 30, 448), (x + side * dx, y)], [30, 30])
        for dx, y in ((32, 440), (26, 462), (-4, 468))
    ]
    scene.part(foot_fill, *toes)
    thigh = ellipse(256 + side * 132 * coat.leg, 388, 76, 62, side * 28)
    marks = _back(thigh, dice, coat)
    if coat.pattern == "stripes":
        marks.append(
            Mark(limb([(256 + side * 90, 350), (256 + side * 190, 340)], [24, 20]), p.mark)
        )
    scene.part(p.base, thigh, marks=[*marks, shade(thigh, p.dark, scene.light, 10)])


def _arm(scene: Scene, coat: Coat, side: int, reach: float) -> None:
    p = coat.palette
    x = 256 + side * reach
    arm = limb([(256 + side * 84, 330), (x + side * 6, 400), (x, 446)], [46, 42, 40])
    toes = [limb([(x, 448), (x + dx, 466)], [26, 26]) for dx in (-24, 0, 24)]
    tips = [Mark(ellipse(x, 474, 60, 26), p.accent)] if coat.socks else []
    scene.part(p.base, arm, *toes, marks=tips)


def _head(scene: Scene, dice: Dice, coat: Coat) -> None:
    p, size = coat.palette, coat.head
    wide, tall = dice.between(164, 184), dice.between(94, 108)
    half = [(0, -tall * 0.86), (wide * 0.6, -tall * 0.8), (wide, 4), (wide * 0.7, tall * 0.78)]
    half += [(0, tall)]
    head = symmetric(256, [(x * size, 222 + y) for x, y in half])
    gap = dice.between(84, 104)
    bumps = [ellipse(256 + side * gap, 136, 62, 60) for side in (-1, 1)]
    marks: list[Mark] = []
    if coat.pattern == "spots":
        marks += spots(ellipse(256, 160, 60, 40), dice, p.mark, 15, 2.6)
    elif coat.pattern == "stripes":
        for side in (-1, 1):
            spine = [(256 + side * wide, 190), (256 + side * wide * 1.1, 260)]
            marks.append(Mark(limb(spine, [60, 60]), p.mark))
    jaw = Mark(ellipse(256, 222 + tall * 1.02, wide * 0.9, tall * 0.62), p.belly)
    marks += [jaw, shade(head, p.dark, scene.light, 14)]
    fill = Gradient(p.mark, p.base) if coat.pattern == "gradient" else p.base
    scene.part(fill, head, *bumps, marks=marks)
    eyes = roll_eyes(dice, coloured=0.5)
    for side in (-1, 1):
        eye(scene, 256 + side * gap, 136, 40, eyes)
    for side in (-1, 1):
        scene.mark(ellipse(256 + side * 20, 196, 7, 8), mix(p.base, p.dark, 0.7))
    for side in (-1, 1):
        cheek(scene, 256 + side * wide * 0.76 * size, 236, 24)
    if dice.chance(0.35):
        open_mouth(scene, 256, 232, wide * 0.95, 66)
    else:
        smile(scene, 256, 230, wide * dice.between(1.0, 1.2), dice.between(30, 48), 12)
