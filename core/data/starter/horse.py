"""Horses: a long muzzle, a mane, hooves, a flowing tail; always from the side."""

from collections.abc import Sequence

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, roll_eyes, smile
from core.data.starter.mammals import Coat
from core.data.starter.palettes import choose, mix
from core.data.starter.patterns import patch, shade, spots
from core.data.starter.scene import Mark, Scene
from core.data.starter.shapes import Curve, ellipse, limb, move, polygon, scale, sleeve, smooth

Spine = list[tuple[float, float]]


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A horse, standing or with a foreleg raised."""
    p = coat.palette
    floor = 420 + 50 * coat.leg
    prancing = dice.chance(0.45)
    back = dice.between(10, 54)  # how far the rump is moved up to the withers: from horse to pony
    _tail(scene, dice, coat, back)
    far, far_sock = mix(p.base, p.dark, 0.24), mix(p.belly, p.dark, 0.2)
    raised = [(346.0, 310.0), (450.0, 330.0), (412.0, floor - 66)]
    straight = [(352.0, 310.0), (352.0, 380.0), (356.0, floor - 8)]
    _leg(
        scene,
        coat,
        [(196 + back, 310), (196 + back, 380), (200 + back, floor - 8)],
        (66, 54, 46),
        far,
        far_sock,
    )
    _leg(scene, coat, raised if prancing else straight, (66, 54, 46), far, far_sock)
    _trunk(scene, dice, coat, back)
    haunch = [(152 + back, 300), (128 + back, 380), (142 + back, floor)]
    _leg(scene, coat, haunch, (104, 62, 48), p.base, p.belly)
    _leg(scene, coat, [(306, 310), (304, 380), (308, floor)], (76, 56, 48), p.base, p.belly)
    _mane(scene, dice, coat)
    _face(scene, dice, coat)


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the breed."""
    patterns = ("plain", "plain", "plain", "patches", "patches", "spots")
    return Coat(
        palette=choose("horse", dice),
        pattern=dice.pick(patterns),
        socks=dice.chance(0.5),
        girth=dice.between(0.9, 1.15),
        head=dice.between(0.96, 1.08),
        leg=dice.between(0.75, 1.25),
    )


def _leg(
    scene: Scene, coat: Coat, spine: Spine, widths: Sequence[float], fill: str, sock: str
) -> None:
    x, y = spine[-1]
    whole = [*spine[:-1], (x, y - 24)]
    marks = [Mark(ellipse(x, y - 22, 52, 54), sock)] if coat.socks else []
    scene.part(fill, limb(whole, widths), marks=marks, edges=[sleeve(whole, widths, 0.36)])
    hoof = polygon([(x - 23, y - 32), (x + 24, y - 32), (x + 36, y), (x - 27, y)], 9)
    scene.part(mix(coat.palette.dark, "#9a8270", 0.4), hoof)


def _trunk(scene: Scene, dice: Dice, coat: Coat, back: float) -> None:
    p = coat.palette
    belly = 340 + 26 * coat.girth
    torso = smooth(
        [
            *((98 + back, 310), (124 + back, 256), (196 + back / 2, 240), (300, 246), (364, 284)),
            *((362, 340), (290, belly), (200 + back / 2, belly), (116 + back, belly - 12)),
        ]
    )
    neck = limb([(306, 304), (338, 220), (364, 132)], [146, 118, 98])
    head = limb([(364, 132), (412, 152), (456, 200)], [122, 106, 92])
    scene.part(mix(p.base, p.dark, 0.2), _ear(384, 6))
    marks = _coat_marks(dice, coat, torso)
    marks.append(Mark(ellipse(464, 206, 56, 52), coat.palette.accent))
    if dice.chance(0.5):
        marks.append(Mark(limb([(420, 84), (452, 130), (474, 150)], [30, 26, 16]), p.belly))
    marks.append(shade(torso, p.dark, 0.0, 14))
    scene.part(p.base, torso, neck, head, marks=marks)


def _coat_marks(dice: Dice, coat: Coat, torso: Curve) -> list[Mark]:
    p = coat.palette
    if coat.pattern == "patches":
        return [
            patch(226, 262, 62, 60, dice, p.belly),
            patch(334, 214, 46, 64, dice, p.belly),
        ]
    if coat.pattern == "spots":
        rump = ellipse(250, 292, 66, 44)
        return spots(rump, dice, mix(p.base, p.belly, 0.75), 13)
    return []


def _ear(x: float, lean: float) -> Curve:
    return smooth([(x - 24, 98), (x - 12 + lean, 26), (x + 22, 90), (x, 112)], corners=(1,))


def _mane(scene: Scene, dice: Dice, coat: Coat) -> None:
    wave = dice.between(-12, 14)
    back = [(388, 62), (344, 66), (302, 104), (272, 160), (250, 226)]
    front = [(298, 262), (322, 228), (316, 192), (346, 172), (340, 130), (374, 112)]
    mane = smooth([*back, *((x + wave, y) for x, y in front)])
    scene.part(coat.palette.mark, mane, marks=[shade(mane, scene.dark, scene.light, 12)])
    ear = _ear(352, -4)
    lining = scale(ear, 0.5, 0.56, 346, 84)
    scene.part(coat.palette.base, ear, marks=[Mark(lining, coat.palette.accent)])
    lock = smooth([(362, 66), (400, 62), (424, 96), (410, 124), (384, 96)], corners=(3,))
    scene.part(coat.palette.mark, lock)


def _tail(scene: Scene, dice: Dice, coat: Coat, back: float) -> None:
    spine = dice.pick(
        (
            [(132, 270), (50, 240), (40, 340), (70, 424)],
            [(132, 270), (60, 200), (60, 360), (20, 390)],
            [(132, 270), (40, 290), (110, 380), (44, 424)],
        )
    )
    tail = move(limb(spine, [34, 56, 70, 22]), back, 0)
    scene.part(coat.palette.mark, tail, marks=[shade(tail, scene.dark, scene.light, 10)])


def _face(scene: Scene, dice: Dice, coat: Coat) -> None:
    eye(scene, 404, 142, 29, roll_eyes(dice, coloured=0.15))
    dim = mix(coat.palette.accent, scene.dark, 0.75)
    scene.mark(ellipse(474, 192, 9, 12, -20), dim)
    if dice.chance(0.5):
        cheek(scene, 410, 188, 16)
    smile(scene, 458, 222, 40, 12)
