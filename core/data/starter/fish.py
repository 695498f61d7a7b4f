"""Fish: from the side, with a fanned tail, fins and a round eye."""

from core.data.starter.dice import Dice
from core.data.starter.faces import cheek, eye, open_mouth, roll_eyes, smile
from core.data.starter.mammals import Coat
from core.data.starter.palettes import choose, mix
from core.data.starter.patterns import bands, shade, spots
from core.data.starter.scene import Gradient, Mark, Scene
from core.data.starter.shapes import Curve, arc, ellipse, limb, smooth, turn

# Half length, height above and below the middle, and the nose's height, of each build.
_BUILDS = ((158, 112, 108), (164, 90, 88), (136, 134, 128), (150, 120, 132))


def draw(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A fish of one of four builds."""
    long, up, down = (value * dice.between(0.95, 1.05) for value in dice.pick(_BUILDS))
    cx, cy = 290.0, 256.0
    _tail(scene, dice, coat, cx - long, cy, up)
    _fins(scene, dice, coat, cx, cy, up, down)
    body = smooth(
        [
            (cx + long, cy + 6),
            (cx + long * 0.72, cy - up * 0.7),
            (cx + long * 0.08, cy - up),
            (cx - long * 0.58, cy - up * 0.66),
            (cx - long * 1.02, cy - 20),
            (cx - long * 1.02, cy + 20),
            (cx - long * 0.58, cy + down * 0.66),
            (cx + long * 0.08, cy + down),
            (cx + long * 0.74, cy + down * 0.66),
        ]
    )
    _body(scene, dice, coat, body, cx, cy, long, down)
    fin = smooth([(cx - 6, cy + 26), (cx - 66, cy + 16), (cx - 84, cy + 52), (cx - 40, cy + 70)])
    scene.part(coat.palette.accent, fin)
    _face(scene, dice, cx, cy, long)


def roll_coat(dice: Dice) -> Coat:
    """Draw lots for the species."""
    patterns = ("plain", "bands", "bands", "bands", "spots", "gradient", "mask", "stripe")
    return Coat(
        palette=choose("fish", dice),
        pattern=dice.pick(patterns),
        socks=dice.chance(0.6),
        girth=1.0,
        head=1.0,
        leg=1.0,
    )


def _tail(scene: Scene, dice: Dice, coat: Coat, x: float, y: float, up: float) -> None:
    root, reach = x + 24, dice.between(88, 112)
    high = up * dice.between(0.8, 1.0)
    kind = dice.pick(("fork", "fan", "veil"))
    end = root - reach
    if kind == "fork":
        points = [(root, y - 24), (end + 10, y - high), (end + 44, y), (end + 10, y + high)]
        tail = smooth([*points, (root, y + 24)], corners=())
    elif kind == "fan":
        points = [(root, y - 24), (end + 34, y - high * 0.8), (end, y - high * 0.4), (end, y)]
        points += [(end, y + high * 0.4), (end + 34, y + high * 0.8), (root, y + 24)]
        tail = smooth(points)
    else:
        points = [(root, y - 24), (end + 30, y - high), (end - 14, y - high * 0.5), (end + 30, y)]
        points += [(end - 14, y + high * 0.5), (end + 30, y + high), (root, y + 24)]
        tail = smooth(points)
    marks = []
    if dice.chance(0.5):
        marks.append(
            Mark(
                ellipse(end - 20, y, 60, high * 1.4),
                mix(coat.palette.accent, coat.palette.belly, 0.5),
            )
        )
    scene.part(coat.palette.accent, tail, marks=marks)


def _fins(
    scene: Scene, dice: Dice, coat: Coat, cx: float, cy: float, up: float, down: float
) -> None:
    rise = dice.between(34, 62)
    kind = dice.pick(("swept", "round", "crown"))
    if kind == "swept":
        top = [(cx + 70, cy - up * 0.7), (cx + 20, cy - up - rise * 0.7)]
        top += [(cx - 96, cy - up - rise), (cx - 84, cy - up * 0.9), (cx - 96, cy - up * 0.3)]
    elif kind == "round":
        top = [(cx + 80, cy - up * 0.6), (cx + 50, cy - up - rise * 0.6)]
        top += [(cx - 50, cy - up - rise * 0.8), (cx - 112, cy - up * 0.7), (cx - 60, cy - 20)]
    else:
        top = [(cx + 76, cy - up * 0.6), (cx + 62, cy - up - rise * 0.5), (cx + 26, cy - up - 10)]
        top += [(cx - 4, cy - up - rise * 0.9), (cx - 36, cy - up - 8)]
        top += [(cx - 74, cy - up - rise * 0.7), (cx - 96, cy - up * 0.5), (cx, cy - 20)]
    scene.part(coat.palette.accent, smooth(top))
    low = [(cx + 30, cy + down * 0.7), (cx - 20, cy + down + rise * 0.7)]
    low += [(cx - 66, cy + down + rise * 0.6), (cx - 60, cy + down * 0.4)]
    scene.part(coat.palette.accent, smooth(low))


def _body(
    scene: Scene,
    dice: Dice,
    coat: Coat,
    body: Curve,
    cx: float,
    cy: float,
    long: float,
    down: float,
) -> None:
    p = coat.palette
    marks: list[Mark] = []
    if coat.socks and coat.pattern not in ("gradient", "mask"):
        marks.append(Mark(ellipse(cx + 20, cy + down * 1.02, long * 0.95, down * 0.6), p.belly))
    if coat.pattern == "bands":
        edge = p.dark if dice.chance(0.4) else ""
        places = dice.pick(([0.16, 0.48], [0.2, 0.5], [0.08, 0.3, 0.52]))
        marks += bands(body, dice, p.mark, places, dice.between(30, 40), edge)
    elif coat.pattern == "spots":
        marks += spots(ellipse(cx - long * 0.4, cy - 20, long * 0.6, 80), dice, p.mark, 15)
    elif coat.pattern == "mask":
        marks.append(Mark(ellipse(cx + long * 0.95, cy, long * 0.8, 200), p.belly))
    elif coat.pattern == "stripe":
        spine = [(cx - long * 1.2, cy), (cx - 10, cy - 14), (cx + long * 1.2, cy)]
        marks.append(Mark(limb(spine, [30, 40, 30]), p.mark))
    marks.append(shade(body, p.dark, scene.light))
    fill = Gradient(p.base, p.belly) if coat.pattern == "gradient" else p.base
    scene.part(fill, body, marks=marks)
    gill = turn(arc(cx + 44, cy + 2, 104, 20), 90, cx + 44, cy + 2)
    scene.mark(gill, mix(p.base, p.dark, 0.3), 9)


def _face(scene: Scene, dice: Dice, cx: float, cy: float, long: float) -> None:
    eye(scene, cx + long * 0.56, cy - 22, 34, roll_eyes(dice, coloured=0.25))
    if dice.chance(0.5):
        cheek(scene, cx + long * 0.5, cy + 32, 18)
    if dice.chance(0.5):
        open_mouth(scene, cx + long * 0.8, cy + 26, 34, 28)
    else:
        smile(scene, cx + long * 0.8, cy + 34, 36, 12)
