"""What an export depends on."""

import dataclasses
import math
from pathlib import Path
from typing import Literal

from core.errors import UserError

COLOUR_LADDER = (12, 16, 24, 32, 48)
"""Palette sizes tried in turn until the gate lets a picture pass."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """How a sample set becomes a sticker pack."""

    samples: Path
    """Folder of the finished sample set."""
    name: str = ""
    """Name of the pack, shown on its pages; empty: the sample set's folder name."""
    labels: tuple[str, ...] = ()
    """Export only these classes; empty: all."""
    only: Path | None = None
    """JSON file with the seeds to export, `kept.json` of `menagerie evaluate`; unset: all."""
    approved: bool = False
    """Export only what was approved in the curation app, as SAMPLES/approved.json says; together
    with --only, what both name."""
    without_tags: tuple[str, ...] = ()
    """Leave out approved samples with any of these tags, such as "extra ear"."""
    limit: int | None = None
    """At most so many stickers of each class, the first in the sample set; unset: all."""
    size_px: int = 512
    """Width and height of an SVG and of the larger PNG, in pixels (64…2048)."""
    small_px: int = 128
    """Width and height of the smaller PNG, in pixels."""
    upscaler: str = "lanczos"
    """`lanczos`, or the path of super-resolution weights (.safetensors or .pth, 3 channels)."""
    noise_levels: float = 0.0
    """Mottling of the samples, in grey levels (0…255), that is smoothed away before anything else,
    edges kept; 30 suits models that trained for minutes, 0 leaves every sample as it is."""
    edges: Literal["auto", "crisp", "soft"] = "auto"
    """Draw blurred edges up to steps (crisp) or leave them (soft); auto: crisp, but for opaque
    pictures, which are photographs more often than drawings."""
    alpha_threshold: float = 0.5
    """Opacity (0…1) from which a pixel belongs to the sticker."""
    colours: int = 12
    """Palette size (2…48); a picture that fails the gate is tried again with 16, 24, 32."""
    max_colours: int = 32
    """Largest palette tried."""
    speckle_source_px: float = 0.125
    """Regions smaller than this are dropped; an area, in pixels of the sample."""
    tolerance_px: float = 0.5
    """How far a curve may stray from the picture's regions, in pixels of the SVG."""
    min_psnr_db: float = 28.0
    """Gate: least PSNR over white and over black, against the enlarged cut-out picture."""
    min_alpha_iou: float = 0.97
    """Gate: least overlap (intersection over union) of the silhouettes."""
    max_kb: float | None = None
    """Gate: largest SVG, in KiB; unset: no limit."""

    def __post_init__(self) -> None:
        _within("size_px", self.size_px, 64, 2048)
        _within("small_px", self.small_px, 16, self.size_px)
        _within("noise_levels", self.noise_levels, 0, 255)
        _within("alpha_threshold", self.alpha_threshold, 0.02, 0.98)
        _within("colours", self.colours, 2, 48)
        _within("max_colours", self.max_colours, self.colours, 48)
        _within("speckle_source_px", self.speckle_source_px, 0, 64)
        _within("tolerance_px", self.tolerance_px, 0.1, 10)
        _within("min_psnr_db", self.min_psnr_db, 0, 99)
        _within("min_alpha_iou", self.min_alpha_iou, 0, 1)
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit is {self.limit}: at least one sticker of each class")
        if self.max_kb is not None and not self.max_kb > 0:
            raise UserError(f"max_kb is {self.max_kb}: more than 0, or leave it out")
        if self.without_tags and not self.approved:
            raise UserError("without_tags goes with --approved, whose list says who is tagged")
        if self.edges not in ("auto", "crisp", "soft"):
            raise UserError(f"edges is {self.edges!r}: auto, crisp or soft")

    @property
    def pack_name(self) -> str:
        """The pack's name."""
        return self.name or self.samples.resolve().name

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
