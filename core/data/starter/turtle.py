"""Turtles: a domed shell with plates, stubby legs or flippers, a smiling head."""

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, roll_eyes, smile
from core.data.starter.mammals import Coat
from core.data.starter.palettes import choose, mix
from core.data.starter.patterns import shade, spots, stripes
from core.data.starter.scene import Mark, Scene
from core.data.starter.shapes import Curve, ellipse, limb, polygon, smooth


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A tortoise that walks, or a sea turtle that swims."""
    swims = dice.chance(0.4)
    tall = dice.between(176, 214)
    if swims:
        _flippers_far(scene, coat)
    else:
        _legs(scene, coat, far=True)
    p = coat.palette
    scene.part(p.base, limb([(130, 350), (90, 350), (56, 376)], [60, 40, 18]))
    neck_y = dice.between(-16, 10)
    _head(scene, dice, coat, 418, 214 + neck_y)
    if not swims:
        _legs(scene, coat, far=False)
    scene.part(p.belly, limb([(112, 352), (370, 352)], [56, 56]))
    _shell(scene, dice, coat, tall)
    if swims:
        _flippers_near(scene, coat)


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the species."""
    return Coat(
        palette=choose("turtle", dice),
        pattern=dice.pick(("plates", "plates", "plates", "spots", "stripes", "rings")),
        socks=dice.chance(0.4),
        girth=1.0,
        head=dice.between(1.12, 1.26),
        leg=dice.between(0.85, 1.15),
    )


def _legs(scene: Scene, coat: Coat, far: bool) -> None:
    p = coat.palette
    floor = 404 + 40 * coat.leg
    fill = mix(p.base, p.dark, 0.22) if far else p.base
    for x in (190.0, 372.0) if far else (140.0, 326.0):
        leg = limb([(x, 340), (x, floor - 30)], [80, 74])
        toe = ellipse(x + 8, floor - 20, 45, 27)
        nails = [Mark(ellipse(x + dx, floor + 2, 9, 14), p.belly) for dx in (4, 24, 42)]
        scene.part(fill, leg, toe, marks=[] if far else nails)


def _flippers_far(scene: Scene, coat: Coat) -> None:
    far = mix(coat.palette.base, coat.palette.dark, 0.22)
    scene.part(far, limb([(344, 350), (410, 390), (410, 456)], [68, 62, 30]))


def _flippers_near(scene: Scene, coat: Coat) -> None:
    p = coat.palette
    for spine, widths in (
        ([(322.0, 350.0), (330.0, 430.0), (214.0, 464.0)], [72.0, 84.0, 34.0]),
        ([(136.0, 354.0), (110.0, 410.0), (48.0, 416.0)], [56.0, 62.0, 30.0]),
    ):
        flipper = limb(spine, widths)
        dots = [Mark(ellipse(x, y, 11), p.mark) for x, y in spine[1:]] if coat.socks else []
        scene.part(p.base, flipper, marks=[*dots, shade(flipper, p.dark, scene.light, 10)])


def _head(scene: Scene, dice: Dice, coat: Coat, x: float, y: float) -> None:
    p, s = coat.palette, coat.head
    neck = limb([(340, 330), (390, 310), (x - 6, y + 20)], [80, 76, 72])
    head = smooth(
        [
            *((x - 70 * s, y - 6), (x - 40 * s, y - 66 * s), (x + 26 * s, y - 62 * s)),
            *((x + 74 * s, y - 4), (x + 60 * s, y + 46 * s), (x, y + 62 * s)),
            (x - 54 * s, y + 44 * s),
        ]
    )
    marks = [Mark(ellipse(x + 10, y + 62 * s, 66 * s, 34 * s), p.belly)]
    if coat.socks:
        marks += [
            Mark(ellipse(x - 30, y - 56 * s, 16), p.mark),
            Mark(ellipse(x + 8, y - 66 * s, 14), p.mark),
        ]
    scene.part(p.base, neck, head, marks=[*marks, shade(head, p.dark, scene.light, 10)])
    eye(scene, x + 20 * s, y - 12 * s, 26 * s, roll_eyes(dice, coloured=0.2))
    if dice.chance(0.6):
        cheek(scene, x - 6 * s, y + 28 * s, 16 * s)
    smile(scene, x + 34 * s, y + 24 * s, 44 * s, 13 * s)


def _shell(scene: Scene, dice: Dice, coat: Coat, tall: float) -> None:
    p, base = coat.palette, 336.0
    dome = smooth(
        [
            *((96, base), (108, base - tall * 0.55), (166, base - tall * 0.9)),
            *((240, base - tall), (314, base - tall * 0.9), (372, base - tall * 0.55)),
            *((384, base), (320, base + 12), (160, base + 12)),
        ]
    )
    marks = [*_plates(dice, coat, dome, base, tall), shade(dome, p.dark, scene.light, 18)]
    scene.part(p.mark, dome, marks=marks)
    rim = limb([(98, base + 6), (240, base + 24), (382, base + 6)], [46, 46, 46])
    notches = []
    if dice.chance(0.5):
        places = range(132, 361, 54)
        notches = [Mark(limb([(x, base - 20), (x, base + 50)], [9, 9]), p.mark) for x in places]
    scene.part(p.accent, rim, marks=notches)


def _plates(dice: Dice, coat: Coat, dome: Curve, base: float, tall: float) -> list[Mark]:
    p = coat.palette
    pale = mix(p.mark, p.accent, 0.6)
    if coat.pattern == "spots":
        return spots(dome, dice, pale, 20, 2.7)
    if coat.pattern == "stripes":
        return stripes(dome, dice, pale, 5, reach=0.8, width=26)
    if coat.pattern == "rings":
        return [
            Mark(ellipse(240, base, 152 * k, tall * 0.95 * k), c)
            for k, c in ((0.8, pale), (0.56, p.mark), (0.32, pale))
        ]
    marks = []
    for cx, w in ((240.0, 50.0), (138.0, 40.0), (342.0, 40.0)):
        top = base - tall * (0.84 if cx == 240 else 0.62)
        low = base - tall * 0.26
        mid = (top + low) / 2
        hexagon = [(cx - w * 0.58, top), (cx + w * 0.58, top), (cx + w, mid)]
        hexagon += [(cx + w * 0.6, low), (cx - w * 0.6, low), (cx - w, mid)]
        marks.append(Mark(polygon(hexagon, 16), pale))
    for cx in (189.0, 291.0):
        low = base - tall * 0.12
        corners = [(cx - 30, base + 20), (cx - 22, low - 14), (cx + 22, low - 14)]
        marks.append(Mark(polygon([*corners, (cx + 30, base + 20)], 12), pale))
        crown = [(cx - 26, base - tall * 1.02), (cx + 26, base - tall * 1.02)]
        crown += [(cx + 16, base - tall * 0.74), (cx - 16, base - tall * 0.74)]
        marks.append(Mark(polygon(crown, 10), pale))
    return marks
