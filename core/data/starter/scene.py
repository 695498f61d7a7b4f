"""A scene: parts and marks from back to front, fitted into the frame and written as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from core.data.starter.palettes import mix
from core.data.starter.shapes import Curve, bounds

VIEW = 512
MARGIN = 30.0
_SEAM_WIDTH = 7.0


@dataclass(frozen=True)
class Mark:
    """A detail inside a part, clipped to it; or on top of everything, when given to the scene."""

    curve: Curve
    fill: str
    width: float = 0.0
    """Stroke width; 0 means that the curve is filled."""
    hole: Curve | None = None
    """Left out of the fill."""
    opacity: float = 1.0


@dataclass(frozen=True)
class Gradient:
    """A fill that runs from top to bottom."""

    top: str
    bottom: str


Fill = str | Gradient


@dataclass(frozen=True)
class Part:
    """One piece of the animal: the union of its curves in one fill, with marks clipped to it."""

    fill: Fill
    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...]
    edges: tuple[Curve, ...]
    """What to outline instead of the curves, if not empty: open curves let parts melt together."""


@dataclass
class Scene:
    """What is drawn so far. Recipes draw animals facing right, in any convenient scale."""

    dark: str
    """The colour of outlines, mouths and pupils."""
    outline: float
    """Width of the outline in the finished frame; 0 for none."""
    mirrored: bool
    """Whether the finished animal faces left."""
    items: list[Part | Mark] = field(default_factory=list)

    @property
    def light(self) -> float:
        """Where light comes from in x (-1 or 1), so that it falls from the upper left at last."""
        return 1.0 if self.mirrored else -1.0

    def part(
        self, fill: Fill, *curves: Curve, marks: Sequence[Mark] = (), edges: Sequence[Curve] = ()
    ) -> None:
        """Add a piece of the animal in front of those before."""
        self.items.append(Part(fill, curves, tuple(marks), tuple(edges)))

    def mark(self, curve: Curve, fill: str, width: float = 0.0, opacity: float = 1.0) -> None:
        """Add a detail, such as an eye, that takes no outline."""
        self.items.append(Mark(curve, fill, width=width, opacity=opacity))

    def svg(self) -> str:
        """The finished picture, 512×512, centred, equally large for all animals."""
        return _Writer(self).write()


class _Writer:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.definitions: list[str] = []
        self.body: list[str] = []
        self.part_ids: list[str] = []
        boxes = [bounds(curve) for item in scene.items for curve in _silhouette(item)]
        left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
        right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
        room = VIEW - 2 * (MARGIN + scene.outline)
        self.factor = room / max(right - left, bottom - top)
        self.centre = ((left + right) / 2, (top + bottom) / 2)

    def write(self) -> str:
        for index, item in enumerate(self.scene.items):
            if isinstance(item, Part):
                self._part(item, index)
            else:
                self.body.append(self._mark(item))
        definitions = "".join(self.definitions)
        body = "\n".join(self.body)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {VIEW} {VIEW}">\n'
            f"<defs>{definitions}</defs>\n"
            f'<g stroke-linecap="round" stroke-linejoin="round">\n{body}\n</g>\n</svg>\n'
        )

    def _part(self, part: Part, index: int) -> None:
        ids = [f"p{index}-{number}" for number in range(len(part.curves))]
        for name, curve in zip(ids, part.curves, strict=True):
            self.definitions.append(f'<path id="{name}" d="{self._d(curve)}Z"/>')
        uses = "".join(f'<use href="#{name}"/>' for name in ids)
        self._edge(part, index, uses)
        self.body.append(f'<g fill="{self._fill(part.fill, index)}">{uses}</g>')
        if part.marks:
            self.definitions.append(f'<clipPath id="c{index}">{uses}</clipPath>')
            inner = "".join(self._mark(mark) for mark in part.marks)
            self.body.append(f'<g clip-path="url(#c{index})">{inner}</g>')
        self.part_ids += ids

    def _edge(self, part: Part, index: int, uses: str) -> None:
        """An outline; or, without one, a soft seam where the part lies over earlier ones."""
        scene = self.scene
        if part.edges:
            uses = "".join(f'<path d="{self._d(c)}" fill="none"/>' for c in part.edges)
        if scene.outline:
            width = _number(2 * scene.outline)
            self.body.append(f'<g stroke="{scene.dark}" stroke-width="{width}">{uses}</g>')
        elif self.part_ids:
            below = "".join(f'<use href="#{name}"/>' for name in self.part_ids)
            self.definitions.append(f'<clipPath id="s{index}">{below}</clipPath>')
            fill = part.fill.bottom if isinstance(part.fill, Gradient) else part.fill
            seam = mix(fill, scene.dark, 0.24)
            self.body.append(
                f'<g clip-path="url(#s{index})"><g stroke="{seam}" '
                f'stroke-width="{_number(2 * _SEAM_WIDTH)}">{uses}</g></g>'
            )

    def _fill(self, fill: Fill, index: int) -> str:
        if isinstance(fill, str):
            return fill
        self.definitions.append(
            f'<linearGradient id="g{index}" x1="0" y1="0" x2="0" y2="1">'
            f'<stop offset=".2" stop-color="{fill.top}"/>'
            f'<stop offset=".9" stop-color="{fill.bottom}"/></linearGradient>'
        )
        return f"url(#g{index})"

    def _mark(self, mark: Mark) -> str:
        faint = f' opacity="{_number(mark.opacity, 2)}"' if mark.opacity < 1 else ""
        if mark.width:
            width = _number(max(8.0, mark.width * self.factor))
            return (
                f'<path d="{self._d(mark.curve)}" fill="none" stroke="{mark.fill}" '
                f'stroke-width="{width}"{faint}/>'
            )
        d, rule = f"{self._d(mark.curve)}Z", ""
        if mark.hole is not None:
            d, rule = f"{d}{self._d(mark.hole)}Z", ' fill-rule="evenodd"'
        return f'<path d="{d}" fill="{mark.fill}"{rule}{faint}/>'

    def _d(self, curve: Curve) -> str:
        placed = (curve - self.centre) * self.factor
        if self.scene.mirrored:
            placed = placed * (-1.0, 1.0)
        # Rounding first, then adding zero, turns -0.0 into 0.0; one format call for all is quick.
        numbers = np.round(placed + VIEW / 2, 1).ravel() + 0.0
        return ("M%.1f %.1fC" + "%.1f " * (len(numbers) - 2)) % tuple(numbers.tolist())


def _silhouette(item: Part | Mark) -> tuple[Curve, ...]:
    return item.curves if isinstance(item, Part) else (item.curve,)


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}"
