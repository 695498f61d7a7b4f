"""A picture as regions at many sizes of file: one plan per palette, cut at any price."""

import dataclasses

import numpy as np

from core.images import Picture
from exporters.drawing.adjacency import find_borders, relabel, split_regions, values_of
from exporters.drawing.fidelity import to_db
from exporters.drawing.merging import Level, merge_regions
from exporters.drawing.palette import Colours, assign, find_palette
from exporters.drawing.regions import absorb_small, smooth_labels
from exporters.drawing.subject import Subject
from exporters.vision import Labels, lab_to_rgb8

PHOTO_COLOURS = ((64, 1.5), (160, 0.8))
"""Colours, and their least distance (ΔE), that a photograph is cut into before its regions find
their own; more are taken for the closest drawings."""
MOST_BEGINNINGS = 20000
"""Regions that merging begins with, at most."""
MOST_REGIONS = 6000
"""More are no drawing: their outlines lose what they gain."""
PALETTE_SAMPLE = 5
"""Every so many pixels are looked at to choose the palette."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Regions of one palette, merged step by step."""

    regions: Labels
    """H×W: the first level's region of each pixel; -1 where it is clear."""
    levels: list[Level]
    """From fine to coarse."""
    palette_rgb: Picture | None
    """K×3; None where each region has its own colour."""
    values: int
    """Pixels of the whole square times 3 channels, over which errors are averaged."""

    def ceiling_db(self, index: int) -> float:
        """PSNR of a level before tracing: outlines only lose."""
        return to_db(self.levels[index].squared_error / self.values)

    def coarsest(self, ceiling_db: float) -> int:
        """The last level that reaches a PSNR before tracing; 0 when none does."""
        reached = [i for i in range(len(self.levels)) if self.ceiling_db(i) >= ceiling_db]
        return max(reached, default=0)

    def labels(self, index: int) -> tuple[Labels, Picture]:
        """A level's label for each pixel (-1: clear), and the colour of each label (K×3)."""
        level = self.levels[index]
        owner = np.append(level.owner, -1)
        if self.palette_rgb is None:
            colours = np.rint(np.clip(level.colours, 0, 255)).astype(np.uint8)
            return relabel(owner, self.regions), colours
        return relabel(np.append(level.labels, -1)[owner], self.regions), self.palette_rgb


def plan_flat(
    subject: Subject,
    *,
    colours: int,
    step: int,
    speckle_source_px: float,
    palette: Colours | None = None,
    least_db: float = 0.0,
) -> Plan:
    """Few colours for all; each later `step` keeps more detail. `palette` (Lab) may be given.

    A plan that stays under `least_db` has one level only: merging would be in vain.
    """
    fineness, gap = 0.75**step, max(2.5, 6.0 - step)
    own = palette is None
    if palette is None:
        palette = _palette(subject, colours, gap)
    labels = assign(subject.lab_hwc, palette)
    sigma_px = max(0.5, 0.2 * fineness * subject.source_px)
    labels = smooth_labels(labels, len(palette), sigma_px)
    regions = split_regions(labels, subject.mask)
    if int(regions.max()) < MOST_REGIONS:  # else it is but noise
        labels = absorb_small(
            labels,
            regions,
            palette,
            speckle_px=speckle_source_px * fineness * subject.source_px**2,
            source_px=subject.source_px * fineness,
        )
    # A palette that was given is the same in every picture of the class.
    colours_rgb = _mean_colours(subject, labels, len(palette)) if own else lab_to_rgb8(palette)
    return plan_of(subject, labels, colours_rgb, least_db=least_db)


def plan_photo(subject: Subject, aim_db: float) -> Plan:
    """As many regions as pay for themselves, each in its own colour, so that `aim_db` is in reach.

    When it is not, the closest that there is.
    """
    for colours, gap in PHOTO_COLOURS:
        plan = _plan_photo(subject, colours, gap)
        if plan.ceiling_db(0) >= aim_db + 1:
            break
    return plan


def _plan_photo(subject: Subject, colours: int, gap: float) -> Plan:
    palette = _palette(subject, colours, gap)
    labels = assign(subject.lab_hwc, palette)
    sigma_px = max(0.5, 0.12 * subject.source_px)
    labels = smooth_labels(labels, len(palette), sigma_px)
    while sigma_px < 8 and int(split_regions(labels, subject.mask).max()) > MOST_BEGINNINGS:
        sigma_px *= 2  # noise: nothing that small can be drawn
        labels = smooth_labels(labels, len(palette), sigma_px)
    plan = plan_of(subject, labels, None)
    few = [level for level in plan.levels if len(level.colours) <= MOST_REGIONS]
    return dataclasses.replace(plan, levels=few)


def plan_of(
    subject: Subject, labels: Labels, palette_rgb: Picture | None, *, least_db: float = 0.0
) -> Plan:
    """Regions of a map of labels, merged by price; with a palette they keep to its colours."""
    regions = split_regions(labels, subject.mask)
    values = 3 * subject.reference_hwc[..., 0].size
    levels = merge_regions(
        regions,
        subject.colour_hwc,
        find_borders(regions),
        # a photograph is felt as a whole; in a drawing the eyes count
        np.ones_like(subject.weights) if palette_rgb is None else subject.weights,
        labels=None if palette_rgb is None else values_of(regions, labels),
        palette_rgb=None if palette_rgb is None else palette_rgb.astype(np.float64),
        most_error=values * 255**2 / 10 ** (least_db / 10),
    )
    return Plan(
        regions=regions,
        levels=levels,
        palette_rgb=palette_rgb,
        values=values,
    )


def _palette(subject: Subject, colours: int, gap: float) -> Colours:
    seen = np.flatnonzero(subject.mask)[::PALETTE_SAMPLE]
    weights = subject.weights.ravel()[seen]
    return find_palette(subject.lab_hwc.reshape(-1, 3)[seen], colours, gap=gap, weights_n=weights)


def _mean_colours(subject: Subject, labels: Labels, count: int) -> Picture:
    """Each label's colour is the mean of its pixels, which is what PSNR asks for."""
    owner = np.where(subject.mask, labels, np.int64(count)).ravel()  # what is clear is left out
    counts = np.maximum(np.bincount(owner, minlength=count)[:count], 1)
    planes = (subject.colour_hwc[..., axis].ravel() for axis in range(3))
    sums = [np.bincount(owner, plane, count)[:count] for plane in planes]
    return np.rint(np.clip(np.stack(sums, axis=1) / counts[:, None], 0, 255)).astype(np.uint8)
