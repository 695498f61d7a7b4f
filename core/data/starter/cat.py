"""Cats: pointed ears, a small muzzle, a tail that curls."""

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, muzzle_mouth, nose, roll_eyes
from core.data.starter.mammals import Coat, sitting, standing
from core.data.starter.palettes import PINK, choose, luminance, mix
from core.data.starter.patterns import patch, resized, shade
from core.data.starter.scene import Mark, Scene
from core.data.starter.shapes import (
    Point,
    ellipse,
    limb,
    line,
    mirror,
    polygon,
    scale,
    symmetric,
)

_TAILS_SITTING: tuple[list[Point], ...] = (
    [(320, 440), (450, 470), (470, 350), (400, 310)],
    [(320, 440), (470, 450), (380, 320), (470, 296)],
    [(320, 440), (440, 490), (500, 380), (404, 366)],
)
_TAILS_STANDING: tuple[list[Point], ...] = (
    [(150, 310), (30, 270), (60, 150), (118, 140)],
    [(150, 310), (60, 250), (140, 160), (52, 132)],
    [(150, 310), (10, 320), (20, 170), (96, 190)],
)


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A cat, sitting or standing."""
    upright = dice.chance(0.55)
    tail = dice.pick(_TAILS_SITTING if upright else _TAILS_STANDING)
    _tail(scene, coat, tail, dice.between(36, 48))
    (sitting if upright else standing)(scene, dice, coat)
    cx, cy = (256.0, 172.0) if upright else (368.0, 196.0)
    _head(scene, dice, coat, cx, cy, coat.head * (1.0 if upright else 0.93))


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the breed."""
    patterns = ("plain", "bib", "bib", "stripes", "stripes", "patches", "points", "spots")
    return Coat(
        palette=choose("cat", dice),
        pattern=dice.pick(patterns),
        socks=dice.chance(0.4),
        girth=dice.between(0.88, 1.14),
        head=dice.between(0.95, 1.1),
        leg=dice.between(0.7, 1.15),
    )


def _tail(scene: Scene, coat: Coat, spine: list[Point], width: float) -> None:
    p = coat.palette
    tail = limb(spine, [width, width, width, width * 0.86])
    tip_x, tip_y = spine[-1]
    marks = []
    if coat.pattern in ("stripes", "points", "patches"):
        marks.append(Mark(ellipse(tip_x, tip_y, 46), p.mark))
    elif coat.socks:
        marks.append(Mark(ellipse(tip_x, tip_y, 40), p.belly))
    if coat.pattern == "stripes":
        x, y = spine[2]
        marks.append(Mark(limb([(x - 50, y + 14), (x + 50, y + 14)], [20, 20]), p.mark))
    scene.part(p.base, tail, marks=marks)


def _head(scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, size: float) -> None:
    p = coat.palette
    wide, tall = dice.between(116, 126), dice.between(92, 100)
    _ears(scene, dice, coat, cx, cy, size)
    half = [(0, -tall), (wide * 0.62, -tall * 0.82), (wide * 0.98, -tall * 0.05)]
    half += [(wide * 0.86, tall * 0.58), (wide * 0.4, tall * 0.95), (0, tall)]
    head = scale(symmetric(cx, [(x, cy + y) for x, y in half]), size, size, cx, cy)
    marks = resized(_face_marks(dice, coat, cx, cy), size, cx, cy)
    scene.part(p.base, head, marks=[*marks, shade(head, p.dark, scene.light, 12)])
    gap, level = dice.between(48, 56) * size, cy + 8 * size
    eyes = roll_eyes(dice, coloured=0.5)
    for side in (-1, 1):
        eye(scene, cx + side * gap, level, 27 * size, eyes)
    if dice.chance(0.6):
        for side in (-1, 1):
            cheek(scene, cx + side * gap * 1.55, level + 38 * size, 19 * size)
    muzzle_mouth(scene, cx, cy + 50 * size, 52 * size)
    dim = luminance(p.base) < 0.35 and coat.pattern not in ("bib", "points")
    nose(scene, cx, cy + 42 * size, 28 * size, PINK if dim else mix(PINK, p.dark, 0.25))
    if dice.chance(0.5):
        _whiskers(scene, cx, cy + 42 * size, wide * size)


def _ears(scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, size: float) -> None:
    p = coat.palette
    spread, height = dice.between(84, 100), dice.between(128, 150)
    outer = polygon([(cx + 18, cy - 62), (cx + spread + 8, cy - height), (cx + 116, cy - 8)], 22)
    inner = scale(outer, 0.56, 0.6, cx + spread * 0.92, cy - 66)
    fill = p.mark if coat.pattern in ("points", "patches") else p.base
    for side in (1, -1):
        ear, lining = outer, inner
        colour = fill
        if side < 0:
            ear, lining = mirror(outer, cx), mirror(inner, cx)
            if coat.pattern == "patches":
                colour = mix(p.mark, p.dark, 0.75)
        ear, lining = scale(ear, size, size, cx, cy), scale(lining, size, size, cx, cy)
        scene.part(colour, ear, marks=[Mark(lining, p.accent)])


def _face_marks(dice: Dice, coat: Coat, cx: float, cy: float) -> list[Mark]:
    p = coat.palette
    muzzle = Mark(ellipse(cx, cy + 62, 54, 42), p.belly)
    if coat.pattern == "bib":
        blaze = symmetric(cx, [(0, cy - 90), (14, cy - 30), (66, cy + 60), (40, cy + 110)])
        return [Mark(blaze, p.belly)]
    if coat.pattern == "points":
        return [Mark(ellipse(cx, cy + 34, 74, 62), p.mark), muzzle]
    if coat.pattern == "stripes":
        bars = [(-34.0, 44.0), (0.0, 58.0), (34.0, 44.0)]
        stripes = [limb([(cx + x, cy - 110), (cx + x, cy - 104 + h)], [20, 11]) for x, h in bars]
        for side in (-1, 1):
            for y in (22, 50):
                reach = [(cx + side * 132, cy + y), (cx + side * 90, cy + y + 4)]
                stripes.append(limb(reach, [18, 9]))
        return [*(Mark(stripe, p.mark) for stripe in stripes), muzzle]
    if coat.pattern == "spots":
        dots = ((0.0, -62.0, 15.0), (-36.0, -54.0, 12.0), (36.0, -54.0, 12.0))
        return [*(Mark(ellipse(cx + x, cy + y, r), p.mark) for x, y, r in dots), muzzle]
    if coat.pattern == "patches":
        dim = mix(p.mark, p.dark, 0.75)
        left = patch(cx - 82, cy - 44, 62, 66, dice, dim)
        return [left, patch(cx + 84, cy - 46, 58, 66, dice, p.mark), muzzle]
    return [muzzle]


def _whiskers(scene: Scene, cx: float, cy: float, wide: float) -> None:
    for side in (-1, 1):
        for rise in (-6, 16):
            near = (cx + side * wide * 0.74, cy + rise)
            scene.mark(line(near, (cx + side * wide * 1.12, cy + rise * 1.7)), scene.dark, 8)
