"""What an export depends on."""

import dataclasses
import math
from pathlib import Path
from typing import Literal

from core.errors import UserError
from exporters.drawing.options import TraceOptions
from exporters.packoptions import PackOptions

CUT_OUTS = ("auto", "alpha", "plain", "grabcut", "rembg", "none")
"""Ways to cut out that need no file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(PackOptions, TraceOptions):
    """How a sample set becomes a sticker pack."""

    samples: Path | None = None
    """Folder of the finished sample set."""
    pictures: Path | None = None
    """Instead of a sample set: a folder or zip of pictures of your own, one folder per class or
    with metadata.jsonl."""
    licence: str = "unknown"
    """With --pictures: the licence of those that state none (SPDX identifier)."""
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
    """Width and height of an SVG, in pixels (64…2048)."""
    small_px: int = 128
    """Width and height of a PNG at @1x, in pixels (16…size_px)."""
    upscaler: str = "lanczos"
    """`lanczos`; `starter`, our own network for drawings; or the path of super-resolution weights
    (.safetensors or .pth, 3 channels or premultiplied RGBA)."""
    cut_out: str = "auto"
    """How the animal leaves its background: `alpha` (the picture's own), `plain` (a plain or softly
    shaded background), `grabcut`, `rembg`, the path of a segmentation model (.onnx or .tflite), or
    `none`; `auto` takes the first of alpha, plain, --cut-out-model and grabcut that fits."""
    cut_out_model: Path | None = None
    """With auto: a segmentation model (.onnx, .tflite) for pictures without a plain background."""
    keep: Literal["largest", "all"] = "all"
    """Keep only the largest animal of a picture, or all."""
    min_cut_out_confidence: float = 0.7
    """Gate: how sure a cut-out must be: the likely overlap with the true animal (0…1)."""
    noise_levels: float = 0.0
    """Mottling of the samples, in grey levels (0…255), that is smoothed away before anything else,
    edges kept; 30 suits models that trained for minutes, 0 leaves every sample as it is."""

    def __post_init__(self) -> None:
        if (self.samples is None) == (self.pictures is None):
            raise UserError("give either --samples FOLDER, a sample set, or --pictures FOLDER")
        if self.pictures is not None and (self.approved or self.only is not None):
            raise UserError("only and approved are lists of a sample set: leave out --pictures")
        if self.licence != "unknown" and self.pictures is None:
            raise UserError("licence goes with --pictures: a sample set states its data's licence")
        check_cut_out(self.cut_out, self.cut_out_model)
        _within("min_cut_out_confidence", self.min_cut_out_confidence, 0, 1)
        _within("size_px", self.size_px, 64, 2048)
        _within("small_px", self.small_px, 16, self.size_px)
        self.check_pack(self.small_px)
        self.check_trace()
        _within("noise_levels", self.noise_levels, 0, 255)
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit is {self.limit}: at least one sticker of each class")
        if self.without_tags and not self.approved:
            raise UserError("without_tags goes with --approved, whose list says who is tagged")
        if self.keep not in ("largest", "all"):
            raise UserError(f"keep is {self.keep!r}: largest or all")

    @property
    def pack_name(self) -> str:
        """The pack's name."""
        return self.name or self.origin.resolve().name

    @property
    def origin(self) -> Path:
        """Where the pictures come from."""
        origin = self.samples or self.pictures
        assert origin is not None  # one of them is given
        return origin


def check_cut_out(cut_out: str, model: Path | None) -> None:
    """UserError unless a way to cut out, and its model, are among what is known."""
    paths = [cut_out] if cut_out not in CUT_OUTS else []
    if model is not None:
        if cut_out != "auto":
            raise UserError(f"cut_out_model goes with --cut-out auto, not with {cut_out}")
        paths.append(str(model))
    for path in paths:
        if Path(path).suffix.lower() not in (".onnx", ".tflite"):
            raise UserError(
                f"cut_out is {path!r}: {', '.join(CUT_OUTS)}, or a model's .onnx or .tflite file"
            )


def _within(name: str, value: float, least: float, most: float) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise UserError(f"{name} is {value:g}: allowed are {least:g} to {most:g}")
