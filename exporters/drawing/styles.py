"""The five ways to draw a picture, each as plans for the solver and a hand to draw them with."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from core.images import Picture
from exporters.config import ExportConfig
from exporters.drawing.draw import draw_layers, draw_vtracer
from exporters.drawing.ink import ink_lines
from exporters.drawing.palette import Colours
from exporters.drawing.pixels import draw_pixels, pixel_picture
from exporters.drawing.plan import Plan, plan_flat, plan_of, plan_photo
from exporters.drawing.subject import TRACE_SCALE, Subject, prepare
from exporters.drawing.svg import build_svg
from exporters.vision import Labels

INK_SHARE = 0.6
"""Ink lines are thin: their outlines keep to this share of the tolerance."""
PHOTO_REGIONS = 2500
"""A photograph of so many regions is drawn at the tolerance, one of fewer by rougher curves and
one of more by closer ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """A plan, how its levels become SVG, and what the SVG is measured against."""

    name: str
    """Such as `12 colours`."""
    plan: Plan
    draw: Callable[[int], str]
    reference_hwc: Picture
    labels: Callable[[int], tuple[Labels, Picture]]
    """A level's label per pixel (-1: clear), and the colour of each label."""
    last: bool = True
    """Whether no attempt follows."""


def attempts(
    image_hwc: Picture, config: ExportConfig, *, title: str, palette: Colours | None = None
) -> Iterator[Attempt]:
    """The attempts at one picture, cheapest first; UserError when there is nothing to trace.

    `palette` (K×3, Lab) replaces the picture's own.
    """
    if config.style == "pixel":
        yield _pixels(image_hwc, config, title, palette)
        return
    subject = prepare(image_hwc, config)
    if config.style == "photo":
        plan = plan_photo(subject, max(config.aim_psnr_db, config.min_psnr_db))
        yield _attempt("own colours", plan, subject, config, title)
    elif config.style == "silhouette":
        yield _silhouette(subject, config, title)
    else:
        for colours, step in config.attempts():
            plan = plan_flat(
                subject,
                colours=colours,
                step=step,
                speckle_source_px=config.speckle_source_px,
                palette=palette,
                least_db=config.min_psnr_db - 1,
            )
            name = f"{colours} colours"
            if config.style == "cartoon" and plan.ceiling_db(0) >= config.min_psnr_db:
                yield _cartoon(name, plan, subject, config, title)
                return
            more = (colours, step) != config.attempts()[-1] and palette is None
            yield dataclasses.replace(_attempt(name, plan, subject, config, title), last=not more)
            if not more:
                return


def _attempt(name: str, plan: Plan, subject: Subject, config: ExportConfig, title: str) -> Attempt:
    return Attempt(
        name=name,
        plan=plan,
        draw=lambda level: _draw(plan, level, subject, config, title),
        reference_hwc=subject.reference_hwc,
        labels=plan.labels,
    )


def _draw(plan: Plan, level: int, subject: Subject, config: ExportConfig, title: str) -> str:
    labels, colours = plan.labels(level)
    tolerance_px, units = config.tolerance_px, 2
    if config.style == "cartoon":
        tolerance_px *= INK_SHARE
    elif config.style == "photo":
        # what a closer outline costs and what another region costs shall gain the same
        tolerance_px *= min(max((PHOTO_REGIONS / len(colours)) ** 0.5, 0.6), 2.4)
        units = 1
    if config.tracer == "vtracer":
        shapes = draw_vtracer(subject, labels, colours, tolerance_px=tolerance_px)
    else:
        shapes = draw_layers(subject, labels, colours, tolerance_px=tolerance_px, scale=TRACE_SCALE)
    return build_svg(
        shapes,
        size_px=config.size_px,
        scale=1 / TRACE_SCALE,
        title=title,
        view_units=units * config.size_px,
    )


def _silhouette(subject: Subject, config: ExportConfig, title: str) -> Attempt:
    """One colour; the picture to reach is the silhouette itself."""
    rgb = np.array([[int(config.silhouette_colour[i : i + 2], 16) for i in (1, 3, 5)]], np.uint8)
    return _recoloured(
        "silhouette", np.zeros(subject.mask.shape, np.int32), rgb, subject, config, title
    )


def _cartoon(name: str, plan: Plan, subject: Subject, config: ExportConfig, title: str) -> Attempt:
    """Flat colours with ink along the silhouette and between colours that differ much."""
    labels, palette = plan.labels(plan.coarsest(config.min_psnr_db))
    inked, colours = ink_lines(labels, palette, subject)
    return _recoloured(f"{name} and ink", inked, colours, subject, config, title)


def _recoloured(
    name: str,
    labels: Labels,
    colours_rgb: Picture,
    subject: Subject,
    config: ExportConfig,
    title: str,
) -> Attempt:
    """An attempt whose picture to reach is a map of colours instead of the sample."""
    reference = subject.reference_hwc.copy()
    reference[subject.window][..., :3] = colours_rgb[np.maximum(labels, 0)]
    painted = dataclasses.replace(
        subject,
        reference_hwc=reference,
        colour_hwc=reference[subject.window][..., :3].astype(np.float32),
    )
    return _attempt(name, plan_of(painted, labels, colours_rgb), painted, config, title)


def _pixels(
    image_hwc: Picture, config: ExportConfig, title: str, palette: Colours | None
) -> Attempt:
    """The sample's squares; nothing is smoothed, so one level is all there is."""
    picture = pixel_picture(image_hwc, config, palette)
    return Attempt(
        name=f"{len(picture.palette_rgb)} colours",
        plan=picture.plan,
        draw=lambda _: draw_pixels(picture, config.size_px, title),
        reference_hwc=picture.reference(config.size_px),
        labels=picture.plan.labels,
    )
