"""One palette per class, so that a pack looks like one set: found before anything is traced."""

from collections.abc import Iterable, Mapping

import numpy as np

from core.data.transform import shrink
from core.errors import UserError
from core.sampleset import Sample
from exporters.config import ExportConfig
from exporters.cutting.cut import cut_out
from exporters.drawing.palette import Colours, bin_colours, find_palette
from exporters.drawing.subject import salience
from exporters.vision import Field, rgb_to_lab

SIDE_PX = 64
"""Pictures are looked at in this size: a palette needs no more."""
GAP = 4.0
"""ΔE within which a colour needs no entry of its own."""

Palettes = Mapping[str, list[list[float]]]
"""K×3 in Lab, by class; as JSON keeps it."""


def class_palettes(samples: Iterable[Sample], config: ExportConfig) -> dict[str, list[list[float]]]:
    """At most `config.colours` colours for each class, from all of its pictures.

    The same pictures in the same order give the same palettes. What cannot be cut out is passed
    over here and refused when it is traced.
    """
    points: dict[str, list[tuple[Field, Field]]] = {}
    for sample in samples:
        seen = _colours_of(sample, config)
        if seen is not None:
            points.setdefault(sample.label, []).append(seen)
    found = {}
    for label, parts in sorted(points.items()):
        lab = np.concatenate([part[0] for part in parts])
        weights = np.concatenate([part[1] for part in parts])
        palette = find_palette(lab, config.colours, gap=GAP, weights_n=weights)
        found[label] = [[round(float(value), 2) for value in colour] for colour in palette]
    return found


def palette_of(palettes: Palettes, label: str) -> Colours | None:
    """A class's palette; None without one."""
    found = palettes.get(label)
    return None if found is None else np.array(found, dtype=np.float64)


def _colours_of(sample: Sample, config: ExportConfig) -> tuple[Field, Field] | None:
    """A picture's colours in Lab (N×3) and how much each counts; None when nothing is left."""
    try:
        image_hwc = cut_out(sample.image_hwc, config, label=sample.label).image_hwc
    except UserError:
        return None
    height, width = image_hwc.shape[:2]
    share = SIDE_PX / max(height, width)
    if share < 1:
        size_wh = max(1, round(width * share)), max(1, round(height * share))
        image_hwc = shrink(image_hwc, size_wh, straight=True)
    lab = rgb_to_lab(image_hwc[..., :3].astype(np.float32))
    solid = np.ones(lab.shape[:2], dtype=np.bool_)
    if image_hwc.shape[2] == 4:
        solid = image_hwc[..., 3] >= 255 * config.alpha_threshold
    if not solid.any():
        return None
    colours, weights = bin_colours(lab[solid], salience(lab, 1.0)[solid])
    return colours.astype(np.float32), weights.astype(np.float32)
