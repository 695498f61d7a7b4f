"""Birds: a round songbird from the side, or an owl, chick or penguin from the front."""

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, roll_eyes
from core.data.starter.mammals import Coat
from core.data.starter.palettes import choose, luminance, mix
from core.data.starter.patterns import shade, spots
from core.data.starter.scene import Mark, Scene
from core.data.starter.shapes import (
    ellipse,
    limb,
    line,
    mirror,
    polygon,
    scale,
    smooth,
    symmetric,
    turn,
)


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A bird in one of two poses."""
    if dice.chance(0.65):
        _side(scene, dice, coat)
    else:
        _front(scene, dice, coat)


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the species."""
    return Coat(
        palette=choose("bird", dice),
        pattern=dice.pick(("bib", "bib", "cap", "plain", "spots", "mask")),
        socks=dice.chance(0.5),
        girth=dice.between(0.92, 1.08),
        head=dice.between(0.95, 1.05),
        leg=dice.between(0.8, 1.2),
    )


def _side(scene: Scene, dice: Dice, coat: Coat) -> None:
    p, g = coat.palette, coat.girth
    legs = p.accent if luminance(p.accent) < 0.8 else "#f28c3a"
    end = 426 + 24 * coat.leg
    for x in (254.0, 318.0):
        foot = limb([(x - 16, end), (x + 30, end)], [24, 22])
        scene.part(legs, limb([(x, 380), (x, end)], [20, 20]), foot)
    _tail(scene, dice, coat)
    _crest(scene, dice, coat)
    body = smooth(
        [
            *((296, 66), (372, 96), (404, 176), (416, 280 * g), (364, 380)),
            *((262, 412), (160, 372), (124, 300), (172, 222), (212, 122)),
        ]
    )
    scene.part(p.base, body, marks=[*_side_marks(dice, coat), shade(body, p.dark, scene.light)])
    _beak_side(scene, dice, coat, 392, 180)
    _wing_side(scene, dice, coat)
    eye(scene, 330, 156, 35, roll_eyes(dice, coloured=0.12))
    if dice.chance(0.6):
        cheek(scene, 336, 218, 21)


def _tail(scene: Scene, dice: Dice, coat: Coat) -> None:
    droop = dice.between(-50, 34)
    kind = dice.pick(("blunt", "blunt", "fork", "long"))
    if kind == "fork":
        points = [(190, 268), (190, 362), (56, 398 + droop), (92, 346 + droop)]
        tail = polygon([*points, (36, 330 + droop)], 14)
    else:
        reach = 0 if kind == "blunt" else 24
        points = [(190, 268), (190, 362), (70 - reach, 384 + droop), (40 - reach, 322 + droop)]
        tail = polygon(points, 24)
    scene.part(coat.palette.mark, tail)


def _side_marks(dice: Dice, coat: Coat) -> list[Mark]:
    p = coat.palette
    belly = Mark(ellipse(372, 346, 112, 110, -20), p.belly)
    if coat.pattern == "cap":
        return [belly, Mark(ellipse(296, 84, 130, 62, 8), p.mark)]
    if coat.pattern == "mask":
        return [belly, Mark(ellipse(352, 170, 72, 74), p.belly)]
    if coat.pattern == "spots":
        return [belly, *spots(ellipse(350, 330, 60, 60), dice, p.mark, 11, 3.2)]
    if coat.pattern == "bib":
        return [Mark(ellipse(398, 310, 118, 130, -14), p.belly)]
    return []


def _crest(scene: Scene, dice: Dice, coat: Coat) -> None:
    kind = dice.pick(("none", "none", "crest", "tuft"))
    if kind == "crest":
        points = [(352, 92), (322, 34), (214, 4), (232, 64), (214, 132), (290, 150)]
        scene.part(coat.palette.mark, smooth(points, corners=(2,)))
    elif kind == "tuft":
        for angle in (-40, -8):
            plume = turn(ellipse(288, 44, 19, 42), angle, 292, 96)
            scene.part(coat.palette.mark, plume)


def _beak_side(scene: Scene, dice: Dice, coat: Coat, x: float, y: float) -> None:
    accent = coat.palette.accent
    below = mix(accent, scene.dark, 0.22)
    kind = dice.pick(("short", "short", "hook", "long"))
    if kind == "hook":
        scene.part(below, ellipse(x + 12, y + 36, 26, 22))
        bill = [(x - 12, y - 34), (x + 44, y - 26), (x + 68, y + 22), (x + 50, y + 56)]
        scene.part(accent, smooth([*bill, (x + 30, y + 26), (x - 14, y + 26)], corners=(3,)))
        return
    reach = 104 if kind == "long" else 78
    scene.part(below, polygon([(x - 16, y), (x + reach * 0.8, y + 12), (x - 14, y + 40)], 12))
    scene.part(accent, polygon([(x - 20, y - 36), (x + reach, y + 6), (x - 20, y + 18)], 14))


def _wing_side(scene: Scene, dice: Dice, coat: Coat) -> None:
    p = coat.palette
    lift = dice.between(-14, 22)
    wing = smooth(
        [(304, 232), (310, 300), (236, 344), (120, 340), (196, 290), (232, 236)], corners=(3,)
    )
    wing = turn(wing, lift, 290, 250)
    marks = [shade(wing, p.dark, scene.light, 14)]
    if coat.socks:
        bar = scale(wing, 0.6, 0.56, 286, 262)
        marks.insert(0, Mark(bar, mix(p.mark, p.belly, 0.3)))
    scene.part(p.mark, wing, marks=marks)


def _front(scene: Scene, dice: Dice, coat: Coat) -> None:
    p, g = coat.palette, coat.girth
    feet = p.accent if luminance(p.accent) < 0.8 else "#f28c3a"
    for side in (-1, 1):
        x = 256 + side * 56
        toes = [limb([(x, 448), (x + dx, 476)], [26, 26]) for dx in (-26, 0, 26)]
        scene.part(feet, *toes)
    kind = dice.pick(("owl", "owl", "chick", "plain"))
    if kind == "owl":
        for side in (-1, 1):
            tuft = [(256 + side * 44, 80), (256 + side * 128, 28), (256 + side * 126, 130)]
            scene.part(p.mark, polygon(tuft, 16))
    elif kind == "chick":
        for angle in (-26, 4, 34):
            scene.part(p.mark, turn(ellipse(256, 44, 14, 36), angle, 256, 84))
    half = [(0, 56), (104 * g, 90), (142 * g, 200), (152 * g, 330), (108 * g, 436), (0, 462)]
    body = symmetric(256, half)
    marks = _front_marks(dice, coat, kind)
    scene.part(p.base, body, marks=[*marks, shade(body, p.dark, scene.light)])
    flap = dice.between(-6, 26)
    wing = turn(ellipse(256 + 150 * g, 310, 36, 104), -flap, 256 + 140 * g, 220)
    for shape in (wing, mirror(wing, 256)):
        scene.part(p.mark, shape, marks=[shade(shape, p.dark, scene.light, 10)])
    eyes = roll_eyes(dice, coloured=0.3)
    for side in (-1, 1):
        eye(scene, 256 + side * 58, 172, 38, eyes)
        cheek(scene, 256 + side * 98, 232, 20)
    beak = polygon([(222, 204), (290, 204), (256, 252)], 13)
    scene.part(p.accent, beak)
    scene.mark(line((236, 216), (256, 222), (276, 216)), mix(p.accent, p.dark, 0.35), 6)


def _front_marks(dice: Dice, coat: Coat, kind: str) -> list[Mark]:
    p, g = coat.palette, coat.girth
    marks = [Mark(ellipse(256, 370, 104 * g, 112), p.belly)]
    if kind == "owl" or coat.pattern in ("mask", "bib"):
        marks += [Mark(ellipse(256 + side * 58, 178, 72, 74), p.belly) for side in (-1, 1)]
    if coat.pattern == "spots" or (kind == "owl" and coat.socks):
        row = [(208.0, 340.0), (256.0, 352.0), (304.0, 340.0), (230.0, 392.0), (282.0, 392.0)]
        soft = mix(p.mark, p.belly, 0.35)
        marks += [Mark(ellipse(x, y, 15, 11), soft) for x, y in row]
    return marks
