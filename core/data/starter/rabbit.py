"""Rabbits: long ears, big hind feet, a cotton tail."""

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, muzzle_mouth, nose, roll_eyes
from core.data.starter.mammals import Coat, fur_marks
from core.data.starter.palettes import PINK, WHITE, choose, mix
from core.data.starter.patterns import patch, resized, shade
from core.data.starter.scene import Mark, Scene
from core.data.starter.shapes import ellipse, limb, move, polygon, scale, smooth, symmetric, turn


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A rabbit, sitting up or crouching."""
    if dice.chance(0.55):
        _sitting(scene, dice, coat)
        _head(scene, dice, coat, 256, 236, coat.head)
    else:
        _crouching(scene, dice, coat)
        _head(scene, dice, coat, 346, 262, coat.head)


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the breed."""
    patterns = ("plain", "plain", "bib", "bib", "dutch", "dutch", "patches", "spots")
    return Coat(
        palette=choose("rabbit", dice),
        pattern=dice.pick(patterns),
        socks=dice.chance(0.4),
        girth=dice.between(0.9, 1.15),
        head=dice.between(0.95, 1.08),
        leg=1.0,
    )


def _sitting(scene: Scene, dice: Dice, coat: Coat) -> None:
    p, g = coat.palette, coat.girth
    tail = ellipse(256 + 126 * g, 424, 40, 38)
    scene.part(p.belly, tail)
    half = [(0, 270), (76 * g, 300), (122 * g, 390), (122 * g, 452), (76 * g, 486), (0, 490)]
    body = symmetric(256, half)
    marks = fur_marks(body, dice, coat)
    if coat.pattern == "dutch":
        marks.append(Mark(ellipse(256, 300, 150, 70), p.belly))
    marks.append(Mark(ellipse(256, 420, 76 * g, 74), p.belly))
    scene.part(p.base, body, marks=[*marks, shade(body, p.dark, scene.light)])
    white = coat.socks or coat.pattern == "dutch"
    for side in (-1, 1):
        foot = ellipse(256 + side * 84 * g, 476, 60, 32, side * -8)
        sole = Mark(ellipse(256 + side * 88 * g, 478, 27, 14), p.accent)
        scene.part(p.belly if white else p.base, foot, marks=[sole])
    for side in (-1, 1):
        arm = limb([(256 + side * 62 * g, 350), (256 + side * 28, 396)], [42, 40])
        paw = [Mark(ellipse(256 + side * 22, 400, 28), p.belly)] if white else []
        scene.part(p.base, arm, marks=paw)


def _crouching(scene: Scene, dice: Dice, coat: Coat) -> None:
    p, g = coat.palette, coat.girth
    scene.part(p.belly, ellipse(98, 400, 42, 40))
    for x in (372.0, 330.0):
        far = x > 350
        fill = mix(p.base, p.dark, 0.2) if far else p.base
        if not far:
            body = smooth(
                [
                    *((104, 410), (130, 320), (220, 316 - 40 * g), (320, 310), (384, 370)),
                    *((376, 440), (300, 470), (160, 474)),
                ]
            )
            marks = fur_marks(body, dice, coat)
            if coat.pattern == "dutch":
                marks.append(Mark(ellipse(384, 370, 120, 170), p.belly))
            if coat.pattern == "bib" or coat.socks:
                marks.append(Mark(ellipse(280, 476, 130, 34), p.belly))
            scene.part(p.base, body, marks=[*marks, shade(body, p.dark, scene.light)])
        white = coat.socks or coat.pattern == "dutch"
        leg = limb([(x, 420), (x + 8, 466)], [46, 46])
        toe = ellipse(x + 20, 474, 36, 22)
        scene.part(p.belly if white and not far else fill, leg, toe)
    foot = limb([(170, 474), (262, 474)], [46, 44])
    scene.part(p.belly if coat.socks else p.base, foot)
    haunch = ellipse(188, 404, 78, 74)
    marks = fur_marks(haunch, dice, coat)
    # Open towards the back, where the haunch melts into the rump.
    edge = smooth([(206, 332), (250, 362), (266, 408), (244, 452)], closed=False)
    marks.append(shade(haunch, p.dark, 0.0, 10))
    scene.part(p.base, haunch, marks=marks, edges=[edge])


def _head(scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, size: float) -> None:
    p = coat.palette
    _ears(scene, dice, coat, cx, cy, size)
    wide = dice.between(128, 142)
    half = [(0, -88), (wide * 0.62, -70), (wide * 0.92, 4), (wide * 0.84, 58)]
    half += [(wide * 0.42, 88), (0, 92)]
    head = scale(symmetric(cx, [(x, cy + y) for x, y in half]), size, size, cx, cy)
    marks = resized(_face_marks(dice, coat, cx, cy), size, cx, cy)
    scene.part(p.base, head, marks=[*marks, shade(head, p.dark, scene.light, 12)])
    gap, level = dice.between(56, 66) * size, cy + 2 * size
    eyes = roll_eyes(dice, coloured=0.12)
    for side in (-1, 1):
        eye(scene, cx + side * gap, level, 29 * size, eyes)
    for side in (-1, 1):
        cheek(scene, cx + side * gap * 1.42, level + 38 * size, 18 * size)
    tooth = polygon([(-15, 62), (15, 62), (14, 86), (-14, 86)], 6)
    scene.mark(scale(move(tooth, cx, cy), size, size, cx, cy), WHITE)
    muzzle_mouth(scene, cx, cy + 56 * size, 52 * size)
    nose(scene, cx, cy + 44 * size, 30 * size, mix(PINK, p.dark, 0.12))


def _ears(scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, size: float) -> None:
    p = coat.palette
    length, width, lean = dice.between(118, 160), dice.between(58, 74), dice.between(6, 22)
    bent = dice.pick((0, 0, 0, 1))
    for side in (-1, 1):
        root_x, root_y = cx + side * 54, cy - 56
        if bent and side > 0:
            spine = [(0.0, 0.0), (-6.0, -150.0), (70.0, -170.0), (124.0, -70.0)]
            widths = [width * 0.8, width * 1.05, width * 1.0, width * 0.72]
        else:
            spine = [(0.0, 0.0), (2.0 * side, -length * 0.5), (0.0, -length)]
            widths = [width * 0.8, width * 1.15, width * 0.72]
        ear = limb([(root_x + x, root_y + y) for x, y in spine], widths)
        inner = limb([(root_x + x, root_y + y) for x, y in spine], [w * 0.5 for w in widths])
        tilt = side * lean
        ear, inner = (
            scale(turn(c, tilt, root_x, root_y), size, size, cx, cy) for c in (ear, inner)
        )
        dim = coat.pattern in ("patches", "spots")
        scene.part(p.mark if dim else p.base, ear, marks=[Mark(inner, p.accent)])


def _face_marks(dice: Dice, coat: Coat, cx: float, cy: float) -> list[Mark]:
    p = coat.palette
    muzzle = Mark(ellipse(cx, cy + 64, 48, 36), p.belly)
    if coat.pattern in ("bib", "dutch"):
        half = [(0, cy - 100), (13, cy - 40), (24, cy + 14), (60, cy + 60), (50, cy + 110)]
        return [Mark(symmetric(cx, half), p.belly)]
    if coat.pattern == "patches":
        return [patch(cx + 62, cy - 14, 56, 56, dice, p.mark, 0.1), muzzle]
    if coat.pattern == "spots":
        return [Mark(ellipse(cx + side * 62, cy, 48, 50), p.mark) for side in (-1, 1)] + [muzzle]
    return [muzzle]
