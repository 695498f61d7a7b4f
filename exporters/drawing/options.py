"""How pictures are drawn as SVG: style, colours, the gate, the outline cut along."""

import dataclasses
import math
import re
from typing import Literal, get_args

from core.errors import UserError

COLOUR_LADDER = (12, 16, 24, 32, 48)
"""Palette sizes tried in turn until the gate lets a picture pass."""
StyleName = Literal["photo", "flat", "cartoon", "silhouette", "pixel"]
Tracer = Literal["layers", "vtracer"]
STYLES: tuple[str, ...] = get_args(StyleName)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """What the drawing of a picture depends on."""

    style: StyleName = "flat"
    """`flat` (few colours), `photo` (as many as the picture needs), `cartoon` (fewer, with ink
    lines), `silhouette` (one colour), `pixel` (the sample's own squares)."""
    edges: Literal["auto", "crisp", "soft"] = "auto"
    """Draw blurred edges up to steps (crisp) or leave them (soft); auto: crisp, but for opaque
    pictures, which are photographs more often than drawings, and for the photo style."""
    alpha_threshold: float = 0.5
    """Opacity (0…1) from which a pixel belongs to the sticker."""
    colours: int = 12
    """Palette size (2…48) of flat, cartoon and pixel; a flat picture that fails the gate is tried
    again with 16, 24, 32."""
    max_colours: int = 32
    """Largest palette tried."""
    class_palette: bool = False
    """All pictures of a class share one palette, so that a pack looks like one set."""
    silhouette_colour: str = "#26262b"
    """What the silhouette style paints with."""
    tracer: Tracer = "layers"
    """`layers` draws each border once, stacked; `vtracer` leaves outlines and stacking to it."""
    speckle_source_px: float = 0.125
    """Regions smaller than this are dropped; an area, in pixels of the sample."""
    tolerance_px: float = 0.5
    """How far a curve may stray from the picture's regions, in pixels of the SVG; farther in
    photographs of few regions."""
    aim_psnr_db: float = 32.0
    """The solver looks for the smallest SVG that is this close to the picture (PSNR), or else takes
    the closest that passes the gate; 0: the smallest that passes the gate."""
    min_psnr_db: float = 28.0
    """Gate: least PSNR over white and over black, against the enlarged cut-out picture."""
    min_alpha_iou: float = 0.97
    """Gate: least overlap (intersection over union) of the silhouettes."""
    min_ssim: float = 0.75
    """Gate: least structural similarity (0…1)."""
    max_edge_px: float = 2.0
    """Gate: how far edges may lie off on average, in pixels of the SVG."""
    max_kb: float | None = None
    """Gate: largest SVG, in KiB: the closest one under it is taken; unset: no limit."""
    border_px: float = 0.0
    """Width of the die-cut border around the sticker, in pixels of the SVG; 0: none."""
    border_colour: str = "#ffffff"
    """Colour of the border, #rrggbb."""
    shadow_px: float = 0.0
    """How far a flat shadow falls to the lower right, in pixels of the SVG; 0: none."""
    shadow_colour: str = "#c8c8d0"
    """Colour of the shadow, #rrggbb."""

    def check_trace(self) -> None:
        """UserError names the first option that cannot be."""
        _one_of("style", self.style, STYLES)
        _one_of("edges", self.edges, ("auto", "crisp", "soft"))
        _one_of("tracer", self.tracer, get_args(Tracer))
        for name, least, most in (
            ("alpha_threshold", 0.02, 0.98),
            ("colours", 2, 48),
            ("max_colours", self.colours, 48),
            ("speckle_source_px", 0, 64),
            ("tolerance_px", 0.1, 10),
            ("aim_psnr_db", 0, 99),
            ("min_psnr_db", 0, 99),
            ("min_alpha_iou", 0, 1),
            ("min_ssim", -1, 1),
            ("max_edge_px", 0, 1000),
            ("border_px", 0, 128),
            ("shadow_px", 0, 128),
        ):
            _within(name, getattr(self, name), least, most)
        for name in ("silhouette_colour", "border_colour", "shadow_colour"):
            value = getattr(self, name)
            if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
                raise UserError(f"{name} is {value!r}: six hexadecimal digits after #, as #ffffff")
        if self.max_kb is not None and not 0 < self.max_kb < math.inf:
            raise UserError(f"max_kb is {self.max_kb}: more than 0, or leave it out")

    def attempts(self) -> tuple[tuple[int, int], ...]:
        """The palettes to try, smallest first, each with its step towards more detail.

        The largest is tried twice, the second time with far finer regions.
        """
        more = (size for size in COLOUR_LADDER if self.colours < size <= self.max_colours)
        sizes = (self.colours, *more)
        return (*((size, step) for step, size in enumerate(sizes)), (sizes[-1], len(sizes) + 1))


def _within(name: str, value: float, least: float, most: float) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise UserError(f"{name} is {value:g}: allowed are {least:g} to {most:g}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name} is {value!r}: {', '.join(known[:-1])} or {known[-1]}")
