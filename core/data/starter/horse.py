"""Horses: a long muzzle, a mane, hooves, a flowing tail; always from the side."""

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, roll_eyes, smile
from core.data.starter.mammals import Coat
from core.data.starter.palettes import choose, mix
from core.data.starter.patterns import patch, shade, spots
from core.data.starter.scene import Gradient, Mark, Scene
from core.data.starter.shapes import Curve, ellipse, limb, polygon, smooth

Spine = list[tuple[float, float]]


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A horse, standing or with a foreleg raised."""
    p = coat.palette
    floor = 420 + 50 * coat.leg
    prancing = dice.chance(0.45)
    _tail(scene, dice, coat)
    far, far_sock = mix(p.base, p.dark, 0.24), mix(p.belly, p.dark, 0.2)
    _leg(scene, coat, [(196, 320), (200, 380), (204, floor - 8)], far, far_sock)
    _leg(
        scene,
        coat,
        _raised(floor) if prancing else [(352, 320), (354, 380), (358, floor - 8)],
        far,
        far_sock,
    )
    _trunk(scene, dice, coat)
    _leg(scene, coat, [(146, 320), (140, 380), (146, floor)], p.base, p.belly)
    _leg(scene, coat, [(306, 330), (306, 390), (308, floor)], p.base, p.belly)
    _mane(scene, dice, coat)
    _face(scene, dice, coat)


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the breed."""
    patterns = ("plain", "plain", "plain", "patches", "spots", "gradient")
    return Coat(
        palette=choose("horse", dice),
        pattern=dice.pick(patterns),
        socks=dice.chance(0.5),
        girth=dice.between(0.9, 1.15),
        head=dice.between(0.96, 1.08),
        leg=dice.between(0.75, 1.25),
    )


def _raised(floor: float) -> Spine:
    return [(352, 320), (412, 352), (404, floor - 70)]


def _leg(scene: Scene, coat: Coat, spine: Spine, fill: str, sock: str) -> None:
    x, y = spine[-1]
    leg = limb([*spine[:-1], (x, y - 24)], [66, 50, 48])
    hoof = polygon([(x - 24, y - 34), (x + 25, y - 34), (x + 34, y), (x - 28, y)], 8)
    marks = [Mark(ellipse(x, y - 20, 50, 56), sock)] if coat.socks else []
    hoof_fill = mix(coat.palette.dark, "#8a7462", 0.35)
    marks.append(
        Mark(
            polygon([(x - 60, y - 30), (x + 60, y - 30), (x + 60, y + 20), (x - 60, y + 20)], 2),
            hoof_fill,
        )
    )
    scene.part(fill, leg, hoof, marks=marks)


def _trunk(scene: Scene, dice: Dice, coat: Coat) -> None:
    p = coat.palette
    belly = 340 + 26 * coat.girth
    torso = smooth(
        [
            *((104, 300), (128, 246), (210, 244), (300, 240), (368, 280)),
            *((366, 340), (290, belly), (200, belly), (120, belly - 12)),
        ]
    )
    neck = limb([(310, 300), (338, 220), (366, 132)], [136, 112, 96])
    head = limb([(366, 132), (410, 158), (452, 196)], [112, 100, 84])
    for x, side in ((336.0, -10), (372.0, 8)):
        ear = smooth([(x - 20, 96), (x - 8 + side, 40), (x + 22, 92)], corners=(1,))
        scene.part(p.base if x > 350 else mix(p.base, p.dark, 0.2), ear)
    marks = _coat_marks(dice, coat, torso)
    marks.append(Mark(ellipse(464, 206, 56, 52), coat.palette.accent))
    if dice.chance(0.5):
        marks.append(Mark(limb([(420, 84), (452, 130), (474, 150)], [30, 26, 16]), p.belly))
    marks.append(shade(torso, p.dark, scene.light))
    fill = Gradient(p.base, mix(p.base, p.mark, 0.6)) if coat.pattern == "gradient" else p.base
    scene.part(fill, torso, neck, head, marks=marks)


def _coat_marks(dice: Dice, coat: Coat, torso: Curve) -> list[Mark]:
    p = coat.palette
    if coat.pattern == "patches":
        return [
            patch(150, 280, 66, 70, dice, p.belly),
            patch(270, 330, 52, 46, dice, p.belly),
            patch(330, 210, 44, 60, dice, p.belly),
        ]
    if coat.pattern == "spots":
        rump = ellipse(170, 290, 80, 60)
        return spots(rump, dice, mix(p.base, p.belly, 0.75), 13)
    return []


def _mane(scene: Scene, dice: Dice, coat: Coat) -> None:
    wave = dice.between(0.8, 1.2)
    back = [(392, 66), (348, 66), (306, 104), (276, 160), (254, 226)]
    front = [(300, 258), (322, 226), (318, 190), (346, 170), (342, 128), (376, 112)]
    widened = [(x + (30 * (wave - 1)), y) for x, y in front]
    mane = smooth([*back, *widened])
    scene.part(coat.palette.mark, mane, marks=[shade(mane, scene.dark, scene.light, 12)])
    lock = smooth([(352, 66), (396, 58), (420, 96), (404, 118), (386, 100)], corners=(3,))
    scene.part(coat.palette.mark, lock)


def _tail(scene: Scene, dice: Dice, coat: Coat) -> None:
    spine = dice.pick(
        (
            [(128, 270), (80, 270), (58, 330), (64, 410)],
            [(128, 270), (74, 250), (50, 300), (32, 370)],
            [(128, 270), (84, 300), (80, 360), (52, 420)],
        )
    )
    tail = limb(spine, [30, 50, 62, 18])
    scene.part(coat.palette.mark, tail, marks=[shade(tail, scene.dark, scene.light, 10)])


def _face(scene: Scene, dice: Dice, coat: Coat) -> None:
    eye(scene, 400, 142, 25, roll_eyes(dice, coloured=0.15))
    dim = mix(coat.palette.accent, scene.dark, 0.75)
    scene.mark(ellipse(474, 192, 9, 12, -20), dim)
    if dice.chance(0.5):
        cheek(scene, 410, 188, 16)
    smile(scene, 458, 222, 40, 12)
