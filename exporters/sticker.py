"""One sample in, one sticker out: a pure function that worker processes run.

The order is the one that measured best: premultiplied enlargement, silhouette, crisp edges,
palette, clean regions, outlines, curves, SVG, render, compare, metadata, lint.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping

import numpy as np

from core.data.transform import use_one_thread
from core.errors import UserError
from core.images import Picture, png_bytes
from core.render import render_svg
from core.sampleset import Sample
from exporters.alt_text import describe
from exporters.config import ExportConfig
from exporters.cutout import carry_outwards, find_silhouette
from exporters.fidelity import Fidelity, complaints, measure, to_db
from exporters.palette import Colours, assign, find_palette
from exporters.regions import absorb_small, bounds, enlarge_labels, smooth_labels
from exporters.sharpen import walk_off_edges
from exporters.svg import add_metadata, build_svg, count_paths, fills, lint_svg
from exporters.upscale import enlarge
from exporters.vectorize import trace
from exporters.vision import Field, Labels, Mask, resize_linear, rgb_to_lab

TRACE_SCALE = 2
"""Outlines are taken at this many times the SVG's size: half a pixel is too coarse for hair."""
SPECK_PX = 4
"""vtracer drops what is smaller than a square of this side, in pixels of the tracing."""
REACH_DB = 1.0
"""How much curves fitted twice as closely can gain; a picture further off needs more colours."""
PALETTE_SAMPLE = 5
"""Every so many pixels are looked at to choose the palette."""


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
    """PSNR at the sample's own size against the untouched sample, the worse of two grounds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refused:
    """A picture that became no sticker, and why."""

    label: str
    seed: int
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Subject:
    """What all attempts at one picture share; all but the reference is the picture's window."""

    reference_hwc: Picture
    """The enlarged cut-out picture, straight RGBA: what the sticker is measured against."""
    window: tuple[slice, slice]
    """Rows and columns of the reference that hold the silhouette."""
    colour_hwc: Field
    lab_hwc: Field
    """Colours without noise, in Lab."""
    mask: Mask
    fine_mask: Mask
    """The silhouette at `TRACE_SCALE` times the resolution."""
    source_px: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Detail:
    """How finely one attempt looks."""

    colours: int
    step: int
    """0 for the first attempt; each later one keeps more detail."""

    @property
    def gap(self) -> float:
        """ΔE within which a colour needs no entry of its own."""
        return max(2.5, 6.0 - self.step)

    @property
    def fineness(self) -> float:
        """Factor on smoothing and speckle size."""
        return 0.75**self.step


def make_sticker(
    sample: Sample, config: ExportConfig, provenance: Mapping[str, object]
) -> Sticker | Refused:
    """Trace one sample; Refused when it is no picture or no palette passes the gate."""
    use_one_thread()
    try:
        return _trace_sample(sample, config, provenance)
    except UserError as error:
        return Refused(label=sample.label, seed=sample.seed, reason=str(error))


def _trace_sample(
    sample: Sample, config: ExportConfig, provenance: Mapping[str, object]
) -> Sticker | Refused:
    subject = _prepare(sample.image_hwc, config)
    reason = ""
    for colours, step in config.attempts():
        detail = _Detail(colours=colours, step=step)
        labels, palette_rgb = _find_regions(subject, config, detail)
        ceiling_db = _ceiling_db(subject, labels, palette_rgb)
        if ceiling_db < config.min_psnr_db:  # spare the tracing
            reason = f"{colours} colours reach {ceiling_db} dB, under {config.min_psnr_db:g}"
            continue
        alt = describe(sample.label, palette_rgb, np.bincount(labels[subject.mask]))
        for tolerance_px in (config.tolerance_px, config.tolerance_px / 2):
            svg = _draw(subject, labels, palette_rgb, config, tolerance_px, alt)
            rendered = render_svg(svg, config.size_px)
            fidelity = measure(rendered, subject.reference_hwc)
            found = complaints(
                fidelity, min_psnr_db=config.min_psnr_db, min_alpha_iou=config.min_alpha_iou
            )
            if not found:
                return _finish(sample, config, provenance, svg, rendered, fidelity, alt)
            reason = f"with {colours} colours: {'; '.join(found)}"
            if fidelity.psnr_db < config.min_psnr_db - REACH_DB:
                break
    return Refused(label=sample.label, seed=sample.seed, reason=reason)


def _prepare(image_hwc: Picture, config: ExportConfig) -> _Subject:
    """Enlarge, cut out and sharpen."""
    enlarged = enlarge(
        image_hwc,
        size_px=config.size_px,
        upscaler=config.upscaler,
        noise_levels=config.noise_levels,
    )
    ramp_px = enlarged.ramp_px
    level = find_silhouette(enlarged.picture_hwc, threshold=config.alpha_threshold, ramp_px=ramp_px)
    crisp = config.edges == "crisp" or (config.edges == "auto" and bool((level < 0).any()))
    window = bounds(level >= 0, math.ceil(2 * ramp_px))
    mask, fine_mask, alpha = _supersample(level[window])
    calm = carry_outwards(enlarged.calm_hwc[window], ramp_px)
    walk = walk_off_edges(calm, ramp_px if crisp else 0)
    colour = walk.apply(carry_outwards(enlarged.picture_hwc[window], ramp_px))
    reference = np.zeros((config.size_px, config.size_px, 4), dtype=np.uint8)
    reference[window][..., :3] = np.rint(colour)
    reference[window][..., 3] = alpha
    return _Subject(
        reference_hwc=reference,
        window=window,
        colour_hwc=colour,
        lab_hwc=rgb_to_lab(walk.apply(calm)),
        mask=mask,
        fine_mask=fine_mask,
        source_px=config.size_px / max(image_hwc.shape[:2]),
    )


def _supersample(level: Field) -> tuple[Mask, Mask, Picture]:
    """The silhouette, the same at `TRACE_SCALE` times the resolution, and its share of each pixel.

    The alpha is thresholded on the fine grid: a hard staircase would count the renderer's smooth
    edges as errors.
    """
    height, width = level.shape
    fine = resize_linear(level, width * TRACE_SCALE, height * TRACE_SCALE) >= 0
    parts = fine.reshape(height, TRACE_SCALE, width, TRACE_SCALE).sum(axis=(1, 3))
    alpha = (parts * 255 + TRACE_SCALE) // TRACE_SCALE**2
    return level >= 0, fine, alpha.astype(np.uint8)


def _find_regions(
    subject: _Subject, config: ExportConfig, detail: _Detail
) -> tuple[Labels, Picture]:
    """A map of flat regions, and the colour of each label (K×3, RGB)."""
    seen = subject.lab_hwc[subject.mask][::PALETTE_SAMPLE]
    palette = find_palette(seen, detail.colours, gap=detail.gap)
    count = len(palette)
    labels = assign(subject.lab_hwc, palette)
    labels = smooth_labels(labels, count, max(0.5, 0.2 * detail.fineness * subject.source_px))
    labels = absorb_small(
        labels,
        subject.mask,
        palette,
        speckle_px=config.speckle_source_px * detail.fineness * subject.source_px**2,
        source_px=subject.source_px * detail.fineness,
    )
    return labels, _mean_colours(subject, labels, palette)


def _mean_colours(subject: _Subject, labels: Labels, palette: Colours) -> Picture:
    """Each region's colour is the mean of its pixels, which is what PSNR asks for."""
    owner = labels[subject.mask]
    counts = np.maximum(np.bincount(owner, minlength=len(palette)), 1)
    inside = subject.colour_hwc[subject.mask]
    sums = [np.bincount(owner, inside[:, axis], len(palette)) for axis in range(3)]
    return np.rint(np.clip(np.stack(sums, axis=1) / counts[:, None], 0, 255)).astype(np.uint8)


def _ceiling_db(subject: _Subject, labels: Labels, palette_rgb: Picture) -> float:
    """PSNR of the flat picture before tracing: outlines only lose."""
    wanted = subject.reference_hwc[subject.window][subject.mask][:, :3].astype(np.int32)
    errors = np.square(palette_rgb[labels[subject.mask]] - wanted)
    return to_db(float(errors.sum()) / (3 * subject.reference_hwc[..., 0].size))


def _draw(
    subject: _Subject,
    labels: Labels,
    palette_rgb: Picture,
    config: ExportConfig,
    tolerance_px: float,
    title: str,
) -> str:
    """The regions as SVG."""
    fine = enlarge_labels(labels, len(palette_rgb), 0.1 * subject.source_px, TRACE_SCALE)
    height, width = fine.shape
    fine[~subject.fine_mask] = len(palette_rgb)
    paints = np.zeros((len(palette_rgb) + 1, 4), dtype=np.uint8)  # the last one is clear
    paints[:-1, :3] = palette_rgb
    paints[:-1, 3] = 255
    flat = paints.view(np.uint32)[:, 0][fine].view(np.uint8).reshape(height, width, 4)
    rows, columns = subject.window
    shapes = trace(
        flat,
        speckle_px=SPECK_PX,
        tolerance_px=tolerance_px * TRACE_SCALE,
        origin_xy=(columns.start * TRACE_SCALE, rows.start * TRACE_SCALE),
        frame_px=config.size_px * TRACE_SCALE,
    )
    return build_svg(shapes, size_px=config.size_px, scale=1 / TRACE_SCALE, title=title)


def _finish(
    sample: Sample,
    config: ExportConfig,
    provenance: Mapping[str, object],
    svg: str,
    rendered: Picture,
    fidelity: Fidelity,
    alt: str,
) -> Sticker | Refused:
    """Add the origin, lint, and render the small picture."""
    facts = {**provenance, "label": sample.label, "seed": sample.seed}
    complete = add_metadata(svg, facts)
    problems = lint_svg(complete)
    if problems:
        raise RuntimeError(f"{sample.name} came out unsafe: {'; '.join(problems)}")
    kib = len(complete.encode()) / 1024
    if config.max_kb is not None and kib > config.max_kb:
        reason = f"the SVG has {kib:.1f} KiB, over {config.max_kb:g}"
        return Refused(label=sample.label, seed=sample.seed, reason=reason)
    text = {f"menagerie:{key}": str(value) for key, value in facts.items()}
    text["menagerie:svg_sha256"] = hashlib.sha256(complete.encode()).hexdigest()
    return Sticker(
        label=sample.label,
        seed=sample.seed,
        svg=complete,
        png_large=png_bytes(rendered, text),
        png_small=png_bytes(render_svg(complete, config.small_px), text),
        alt=alt,
        paths=count_paths(complete),
        colours=len(fills(complete)),
        fidelity=fidelity,
        sample_psnr_db=_sample_psnr_db(sample.image_hwc, complete),
    )


def _sample_psnr_db(image_hwc: Picture, svg: str) -> float:
    """The sticker at the sample's size against the sample itself, which no step has touched."""
    height, width = image_hwc.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 4), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width, 3] = 255
    square[top : top + height, left : left + width, : image_hwc.shape[2]] = image_hwc
    return measure(render_svg(svg, side), square).psnr_db
