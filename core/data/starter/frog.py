"""Frogs: eyes on top of a wide mouth, folded hind legs; from the front or three quarters on."""

from core.data.starter.dice import Dice
from core.data.starter.faces import Eyes, cheek, eye, open_mouth, roll_eyes, smile
from core.data.starter.mammals import Coat
from core.data.starter.palettes import choose, mix
from core.data.starter.patterns import shade, spots
from core.data.starter.scene import Gradient, Mark, Scene
from core.data.starter.shapes import Curve, ellipse, limb, move, sleeve, smooth, symmetric


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A frog that squats and smiles at us, or sits with its back to one side."""
    if dice.chance(0.6):
        _front(scene, dice, coat)
        _head(scene, dice, coat, 256, 222, dice.between(160, 186))
    else:
        _sideways(scene, dice, coat)
        _head(scene, dice, coat, 328, 206, dice.between(138, 150))


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the species."""
    return Coat(
        palette=choose("frog", dice),
        pattern=dice.pick(("plain", "plain", "spots", "spots", "stripes", "gradient")),
        socks=dice.chance(0.4),
        girth=dice.between(0.86, 1.14),
        head=dice.between(0.94, 1.06),
        leg=dice.between(0.88, 1.1),
    )


def _front(scene: Scene, dice: Dice, coat: Coat) -> None:
    p, g = coat.palette, coat.girth
    for side in (-1, 1):
        _hind_leg(scene, dice, coat, side)
    half = [(0, 250), (92 * g, 280), (120 * g, 370), (100 * g, 440), (0, 460)]
    body = symmetric(256, half)
    belly = Mark(ellipse(256, 392, 84 * g, 88), p.belly)
    marks = [*_back(body, dice, coat), belly, shade(body, p.dark, scene.light)]
    scene.part(p.base, body, marks=marks)
    reach = dice.between(52, 92)
    for side in (-1, 1):
        x = 256 + side * reach
        _arm(scene, coat, [(256 + side * 88, 320), (x + side * 16, 400), (x, 446)], p.base)


def _sideways(scene: Scene, dice: Dice, coat: Coat) -> None:
    p = coat.palette
    foot = p.accent if coat.socks else p.base
    _arm(scene, coat, [(382, 300), (398, 380), (400, 440)], mix(p.base, p.dark, 0.2))
    rump = 330 + dice.between(-16, 16)
    body = smooth(
        [
            *((262, 190), (160, 256), (84, rump), (84, 420), (180, 452)),
            *((320, 446), (398, 400), (416, 290), (380, 220)),
        ]
    )
    belly = Mark(ellipse(386, 390, 110, 104, -16), p.belly)
    marks = [*_back(body, dice, coat), belly]
    if coat.pattern == "stripes":
        spine = [(90.0, rump + 20), (150.0, 262.0), (270.0, 236.0)]
        marks.append(Mark(limb(spine, [26, 30, 26]), p.mark))
    scene.part(p.base, body, marks=[*marks, shade(body, p.dark, scene.light)])
    _arm(scene, coat, [(322, 310), (320, 380), (316, 446)], p.base)
    toes = [
        limb([(190, 452), (248 + dx, y)], [36, 30]) for dx, y in ((0, 446), (8, 468), (-22, 472))
    ]
    scene.part(foot, limb([(130, 456), (220, 458)], [40, 40]), *toes)
    thigh = ellipse(158, 394, 92, 66, -24)
    marks = _back(thigh, dice, coat)
    if coat.pattern == "stripes":
        marks += [Mark(limb([(90 + d, 380), (150 + d, 330)], [22, 22]), p.mark) for d in (0, 56)]
    scene.part(p.base, thigh, marks=[*marks, shade(thigh, p.dark, scene.light, 12)])


def _back(curve: Curve, dice: Dice, coat: Coat) -> list[Mark]:
    return spots(curve, dice, coat.palette.mark, 17, 2.8) if coat.pattern == "spots" else []


def _hind_leg(scene: Scene, dice: Dice, coat: Coat, side: int) -> None:
    p = coat.palette
    foot_fill = p.accent if coat.socks else p.base
    x = 256 + side * 172 * coat.leg
    ends = ((34, 438), (30, 462), (-2, 470))
    toes = [limb([(x - side * 34, 446), (x + side * dx, y)], [34, 32]) for dx, y in ends]
    scene.part(foot_fill, *toes)
    thigh = ellipse(256 + side * 132 * coat.leg, 388, 76, 62, side * 28)
    marks = _back(thigh, dice, coat)
    if coat.pattern == "stripes":
        band = limb([(256 + side * 90, 350), (256 + side * 190, 340)], [28, 24])
        marks += [Mark(move(band, 0, dy), p.mark) for dy in (0, 56)]
    scene.part(p.base, thigh, marks=[*marks, shade(thigh, p.dark, scene.light, 10)])


def _arm(scene: Scene, coat: Coat, spine: list[tuple[float, float]], fill: str) -> None:
    x, _ = spine[-1]
    widths = [46, 42, 40]
    toes = [limb([(x, 448), (x + dx, 466)], [28, 28]) for dx in (-27, 0, 27)]
    tips = [Mark(ellipse(x, 476, 62, 28), coat.palette.accent)] if coat.socks else []
    edges = [sleeve(spine, widths, 0.3), *toes]
    scene.part(fill, limb(spine, widths), *toes, marks=tips, edges=edges)


def _head(scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, wide: float) -> None:
    p = coat.palette
    tall = dice.between(92, 108)
    half = [(0, -tall * 0.86), (wide * 0.6, -tall * 0.8), (wide, 4), (wide * 0.7, tall * 0.78)]
    half += [(0, tall)]
    head = symmetric(cx, [(x * coat.head, cy + y) for x, y in half])
    gap, top = wide * dice.between(0.52, 0.6), cy - 84
    size = dice.between(0.94, 1.12)
    bumps = [ellipse(cx + side * gap, top, 60 * size, 58 * size) for side in (-1, 1)]
    marks: list[Mark] = []
    if coat.pattern == "spots":
        for dx, dy, r in ((0, -52, 19), (-38, -66, 13), (36, -70, 15)):
            marks.append(Mark(ellipse(cx + dx, cy + dy, r, r * 0.9), p.mark))
    elif coat.pattern == "stripes":
        for side in (-1, 1):
            spine = [(cx + side * wide * 1.02, cy - 40), (cx + side * wide * 1.1, cy + 40)]
            marks.append(Mark(limb(spine, [60, 60]), p.mark))
    jaw = Mark(ellipse(cx, cy + tall * 1.02, wide * 0.9, tall * 0.62), p.belly)
    marks += [jaw, shade(head, p.dark, scene.light, 14)]
    fill = Gradient(p.mark, p.base) if coat.pattern == "gradient" else p.base
    scene.part(fill, head, *bumps, marks=marks)
    eyes = roll_eyes(dice, coloured=0.5)
    for side in (-1, 1):
        eye(scene, cx + side * gap, top, 39 * size, Eyes(1.0, eyes.iris, eyes.gaze))
    _mouth(scene, dice, coat, cx, cy, wide)


def _mouth(scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, wide: float) -> None:
    p = coat.palette
    for side in (-1, 1):
        scene.mark(ellipse(cx + side * 20, cy - 24, 7, 8), mix(p.base, p.dark, 0.7))
        cheek(scene, cx + side * wide * 0.74 * coat.head, cy + 16, 24)
    if dice.chance(0.4):
        open_mouth(scene, cx, cy + 8, wide * 0.95, 70)
    else:
        smile(scene, cx, cy + 4, wide * dice.between(1.0, 1.24), dice.between(32, 50), 12)
