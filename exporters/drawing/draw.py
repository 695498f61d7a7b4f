"""Regions to SVG: borders smoothed, shapes stacked, outlines fitted."""

import numpy as np

from core.images import Picture
from exporters.drawing.adjacency import (
    Borders,
    Indices,
    find_borders,
    relabel,
    split_regions,
    values_of,
)
from exporters.drawing.curves import fit_outlines
from exporters.drawing.layers import depths_of, join_own_paint, outlines_of, stack
from exporters.drawing.regions import enlarge_labels
from exporters.drawing.subject import TRACE_SCALE, Subject
from exporters.drawing.vectorize import Shape, trace
from exporters.vision import Labels

CRUMB_PX = 4.0
"""Regions smaller than this, in pixels of the SVG, join the neighbour with the longest border."""
SMOOTH_PX = 1.0
"""How far outlines are smoothed, in pixels of the SVG."""
SPECK_PX = 4
"""vtracer drops what is smaller than a square of this side, in pixels of the tracing."""


def draw_layers(
    subject: Subject, labels: Labels, colours_rgb: Picture, *, tolerance_px: float, scale: int
) -> list[Shape]:
    """Stacked shapes, in pixels of `scale` times the SVG's size; each border is drawn once."""
    smooth = _smooth(subject, labels, len(colours_rgb), scale)
    mask = subject.mask if scale == 1 else subject.fine_mask
    regions, paint = _without_crumbs(split_regions(smooth, mask), smooth, CRUMB_PX * scale**2)
    parent = stack(regions, paint)
    regions, parent = join_own_paint(regions, parent, paint)
    depth = depths_of(parent)
    order = depth * len(colours_rgb) + paint  # as they are painted below
    outlines = outlines_of(regions, parent, order)
    rows, columns = subject.window
    origin = np.array([columns.start, rows.start], dtype=np.float64) * scale
    curves = fit_outlines(
        [item.points + origin for item in outlines],
        tolerance_px=tolerance_px * scale,
        frame_px=float(subject.reference_hwc.shape[0] * scale),
        stepped=True,
        smooth_px=SMOOTH_PX * scale,
    )
    groups: dict[tuple[int, int], list[int]] = {}
    for index, item in enumerate(outlines):
        place = int(depth[item.region]), int(paint[item.region])
        groups.setdefault(place, []).append(index)
    return [
        Shape(
            fill="#{:02x}{:02x}{:02x}".format(*colours_rgb[place[1]]),
            outlines=tuple(curves[index] for index in groups[place]),
        )
        for place in sorted(groups)
    ]


def draw_vtracer(
    subject: Subject, labels: Labels, colours_rgb: Picture, *, tolerance_px: float
) -> list[Shape]:
    """The same with outlines and stacking by vtracer, at `TRACE_SCALE` times the SVG's size."""
    fine = _smooth(subject, labels, len(colours_rgb), TRACE_SCALE)
    height, width = fine.shape
    fine[~subject.fine_mask] = len(colours_rgb)
    paints = np.zeros((len(colours_rgb) + 1, 4), dtype=np.uint8)  # the last one is clear
    paints[:-1, :3] = colours_rgb
    paints[:-1, 3] = 255
    flat = paints.view(np.uint32)[:, 0][fine].view(np.uint8).reshape(height, width, 4)
    rows, columns = subject.window
    return trace(
        flat,
        speckle_px=SPECK_PX,
        tolerance_px=tolerance_px * TRACE_SCALE,
        origin_xy=(columns.start * TRACE_SCALE, rows.start * TRACE_SCALE),
        frame_px=subject.reference_hwc.shape[0] * TRACE_SCALE,
    )


def _smooth(subject: Subject, labels: Labels, count: int, scale: int) -> Labels:
    """Borders without pixel stairs, carried over the silhouette's edge."""
    if not subject.mask.all():
        labels = labels.ravel()[subject.inwards]
    return enlarge_labels(labels, count, 0.1 * subject.source_px, scale)


def _without_crumbs(regions: Labels, labels: Labels, least_px: float) -> tuple[Labels, Indices]:
    """The regions without tiny ones, numbered anew, and the paint of each."""
    area = np.bincount(regions.ravel() + 1)[1:]
    paint = values_of(regions, labels)
    if not (area < least_px).any():
        return regions, paint
    target = _longest_neighbour(find_borders(regions), area, area < least_px)
    kept, numbers = np.unique(target, return_inverse=True)
    numbers = np.append(numbers.ravel(), -1)
    return relabel(numbers, regions), paint[kept]


def _longest_neighbour(
    borders: Borders, area: Indices, small: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> Indices:
    """For each small region the large one with the longest common border; else itself."""
    both = np.concatenate([borders.one, borders.other])
    facing = np.concatenate([borders.other, borders.one])
    length = np.concatenate([borders.length_px, borders.length_px])
    fit = (both >= 0) & (facing >= 0)
    both, facing, length = both[fit], facing[fit], length[fit]
    fit = small[both] & ~small[facing]
    both, facing, length = both[fit], facing[fit], length[fit]
    order = np.lexsort((facing, -length, both))
    target = np.arange(len(area), dtype=np.int64)
    chosen, place = np.unique(both[order], return_index=True)
    target[chosen] = facing[order][place]
    return target
