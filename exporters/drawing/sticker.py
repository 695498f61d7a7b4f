"""One sample in, one sticker out: a pure function that worker processes run.

The order is the one that measured best: premultiplied enlargement, silhouette, crisp edges,
palette, clean regions, merging, stacking, curves, SVG, render, compare, border, metadata, lint.
"""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from core.data.transform import use_one_thread
from core.errors import UserError
from core.images import Picture, png_bytes
from core.render import render_smaller, render_svg
from core.sampleset import Sample
from exporters.alt_text import describe
from exporters.config import ExportConfig
from exporters.drawing.diecut import add_die_cut
from exporters.drawing.fidelity import Fidelity, Gate, measure_colours
from exporters.drawing.palette import Colours
from exporters.drawing.solver import Drawn, complaints, solve
from exporters.drawing.styles import Attempt, attempts
from exporters.drawing.svg import add_metadata, count_paths, fills, lint_svg, name_svg

TITLE = "?"
"""Stands in the SVG until its colours are known."""
REACH_DB = 0.3
"""A palette is traced when its ceiling is this far above the gate; the last one, at most so far
under it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sticker:
    """A sticker that passed the gate."""

    label: str
    seed: int
    svg: str
    png_large: bytes
    png_small: bytes
    alt: str
    """A sentence for those who do not see it."""
    paths: int
    colours: int
    fidelity: Fidelity
    sample_psnr_db: float
    """PSNR at the sample's own size against the cut-out sample, the worse of two grounds."""
    more: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """What earlier steps say of it in pack.json: how it was cut out, which file it was."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refused:
    """A picture that became no sticker, and why."""

    label: str
    seed: int
    reason: str


def make_sticker(
    sample: Sample,
    config: ExportConfig,
    provenance: Mapping[str, object],
    palette: Colours | None = None,
) -> Sticker | Refused:
    """Trace one sample; Refused when it is no picture or nothing passes the gate.

    `palette` (K×3, Lab) is the class's, where pictures share one.
    """
    use_one_thread()
    try:
        return _trace_sample(sample, config, provenance, palette)
    except UserError as error:
        return Refused(label=sample.label, seed=sample.seed, reason=str(error))


def _trace_sample(
    sample: Sample,
    config: ExportConfig,
    provenance: Mapping[str, object],
    palette: Colours | None,
) -> Sticker | Refused:
    """The first attempt that passes the gate."""
    gate = Gate(
        min_psnr_db=config.min_psnr_db,
        min_alpha_iou=config.min_alpha_iou,
        min_ssim=config.min_ssim,
        max_edge_px=config.max_edge_px,
    )
    max_bytes = None if config.max_kb is None else 1024 * config.max_kb
    aim_db = max(config.aim_psnr_db, config.min_psnr_db)
    reason = "nothing was tried"
    for attempt in attempts(sample.image_hwc, config, title=TITLE, palette=palette):
        ceiling_db = attempt.plan.ceiling_db(0)
        if ceiling_db < config.min_psnr_db + (-REACH_DB if attempt.last else REACH_DB):
            reason = f"{attempt.name} reach {ceiling_db} dB, under {config.min_psnr_db:g}"
            continue
        drawn = solve(
            attempt.plan,
            attempt.draw,
            attempt.reference_hwc,
            gate=gate,
            aim_db=aim_db,
            max_bytes=max_bytes,
        )
        found = complaints(gate, drawn, max_bytes)
        if found:
            reason = f"with {attempt.name}: {'; '.join(found)}"
            continue
        return _finish(sample, config, provenance, attempt, drawn)
    return Refused(label=sample.label, seed=sample.seed, reason=reason)


def _finish(
    sample: Sample,
    config: ExportConfig,
    provenance: Mapping[str, object],
    attempt: Attempt,
    drawn: Drawn,
) -> Sticker:
    """Add what people read, the border and the origin; lint, and render both pictures."""
    labels, colours_rgb = attempt.labels(drawn.level)
    alt = describe(sample.label, colours_rgb, np.bincount(labels[labels >= 0]))
    facts = {**provenance, "label": sample.label, "seed": sample.seed}
    bare = name_svg(drawn.svg, alt)
    cut = add_die_cut(bare, attempt.reference_hwc[..., 3], config)
    large_hwc = drawn.rendered_hwc if cut == bare else render_svg(cut, config.size_px)
    complete = add_metadata(cut, facts)
    problems = lint_svg(complete)
    if problems:
        raise RuntimeError(f"{sample.name} came out unsafe: {'; '.join(problems)}")
    text = {f"menagerie:{key}": str(value) for key, value in facts.items()}
    text["menagerie:svg_sha256"] = hashlib.sha256(complete.encode()).hexdigest()
    return Sticker(
        label=sample.label,
        seed=sample.seed,
        svg=complete,
        png_large=png_bytes(large_hwc, text),
        png_small=png_bytes(render_smaller(complete, config.small_px, large_hwc), text),
        alt=alt,
        paths=count_paths(complete),
        colours=len(fills(complete)),
        fidelity=drawn.fidelity,
        sample_psnr_db=_sample_psnr_db(sample.image_hwc, bare, drawn.rendered_hwc),
    )


def _sample_psnr_db(image_hwc: Picture, svg: str, rendered_hwc: Picture) -> float:
    """The sticker at the sample's size against the sample itself, which no step has touched."""
    height, width = image_hwc.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 4), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width, 3] = 255
    square[top : top + height, left : left + width, : image_hwc.shape[2]] = image_hwc
    return measure_colours(render_smaller(svg, side, rendered_hwc), square).psnr_db
