"""The two bodies that cats and dogs share: sitting, seen from the front; standing, from the side.

Both are drawn without tail and head. `Coat` carries what makes a breed.
"""

from dataclasses import dataclass

from core.data.starter.dice import Dice
from core.data.starter.palettes import Palette, mix
from core.data.starter.patterns import patches, shade, spots, stripes
from core.data.starter.scene import Mark, Scene
from core.data.starter.shapes import Curve, ellipse, limb, sleeve, smooth, symmetric


@dataclass(frozen=True)
class Coat:
    """Colours, pattern and build of one animal."""

    palette: Palette
    pattern: str
    """plain, bib, stripes, spots, patches, saddle or points."""
    socks: bool
    girth: float
    """Width of the body, 1 being average."""
    head: float
    """Size of the head, 1 being average."""
    leg: float
    """Length of the legs when standing, 1 being average."""

    @property
    def foot(self) -> str:
        """The colour of the paws."""
        if self.pattern == "points":
            return self.palette.mark
        return self.palette.belly if self.socks else self.palette.base


def fur_marks(curve: Curve, dice: Dice, coat: Coat) -> list[Mark]:
    """The coat's pattern on one part of the body."""
    colour = coat.palette.mark
    if coat.pattern == "stripes":
        return stripes(curve, dice, colour, 5, reach=0.42)
    if coat.pattern == "spots":
        return spots(curve, dice, colour, 15)
    if coat.pattern == "patches":
        return patches(curve, dice, [colour, mix(colour, coat.palette.dark, 0.75)])
    return []


def sitting(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A body that sits and looks at us; its head belongs at about (256, 175)."""
    p, g = coat.palette, coat.girth
    body = symmetric(
        256,
        [(0, 222), (62 * g, 250), (92 * g, 330), (112 * g, 410), (88 * g, 462), (0, 470)],
    )
    marks = fur_marks(body, dice, coat)
    if coat.pattern == "saddle":
        marks += [Mark(ellipse(256 - 110 * g, 330, 52, 130), p.mark)]
        marks += [Mark(ellipse(256 + 110 * g, 330, 52, 130), p.mark)]
    if coat.pattern in ("bib", "saddle", "points") or coat.socks:
        marks.append(Mark(ellipse(256, 318, 48 * g, 88), p.belly))
    marks.append(shade(body, p.dark, scene.light))
    scene.part(p.base, body, marks=marks)
    for side in (-1, 1):
        foot = ellipse(256 + side * 92 * g, 452, 44, 27)
        scene.part(coat.foot, foot, marks=[shade(foot, p.dark, scene.light, 9)])
    for side in (-1, 1):
        x = 256 + side * 36 * g
        spine, widths = [(x + side * 4, 335), (x, 410), (x - side * 2, 450)], [44, 50, 60]
        leg = limb(spine, widths)
        paw = [Mark(ellipse(x, 462, 46, 44), coat.foot)] if coat.foot != p.base else []
        edge = sleeve(spine, widths, 0.38)
        scene.part(p.base, leg, marks=[*paw, shade(leg, p.dark, scene.light, 8)], edges=[edge])
        for toe in (-10, 10):
            notch = limb([(x + toe, 458), (x + toe, 474)], [6, 6])
            scene.mark(notch, mix(coat.foot, p.dark, 0.55))


def standing(scene: Scene, dice: Dice, coat: Coat) -> None:
    """A body on four legs, facing right; its head belongs at about (372, 190)."""
    p = coat.palette
    floor = 400 + 66 * coat.leg
    far = mix(p.base, p.dark, 0.22)
    for x in (206.0, 368.0):
        _leg(scene, coat, x, floor - 6, far, mix(coat.foot, p.dark, 0.18))
    belly = 352 + 34 * coat.girth
    body = smooth(
        [
            *((112, 300), (140, 254), (240, 250), (340, 240), (400, 290)),
            *((390, 360), (320, belly), (210, belly), (128, belly - 14)),
        ]
    )
    marks = fur_marks(body, dice, coat)
    if coat.pattern == "saddle":
        marks.append(Mark(ellipse(230, 250, 100, 74), p.mark))
    if coat.pattern in ("bib", "saddle", "points") or coat.socks:
        marks.append(Mark(ellipse(268, belly + 14, 120, 40), p.belly))
        marks.append(Mark(ellipse(400, 325, 40, 62), p.belly))
    marks.append(shade(body, p.dark, scene.light))
    scene.part(p.base, body, marks=marks)
    for x in (158.0, 326.0):
        _leg(scene, coat, x, floor, p.base, coat.foot)


def _leg(scene: Scene, coat: Coat, x: float, floor: float, fill: str, foot: str) -> None:
    spine, widths = [(x - 3, 340), (x, (340 + floor) / 2), (x + 2, floor - 26)], [66, 56, 52]
    toe = ellipse(x + 9, floor - 22, 35, 24)
    marks = [Mark(ellipse(x + 4, floor - 8, 60, 44), foot)] if foot != fill else []
    edges = [sleeve(spine, widths, 0.3), toe]
    scene.part(fill, limb(spine, widths), toe, marks=marks, edges=edges)
