"""The pixel style: the sample's own squares as exact shapes, in the sample's own grid."""

import dataclasses

import numpy as np
from PIL import Image

from core.data.transform import resize
from core.errors import UserError
from core.images import Picture, unpremultiply
from exporters.config import ExportConfig
from exporters.drawing.adjacency import split_regions, values_of
from exporters.drawing.curves import Curves, Points
from exporters.drawing.layers import depths_of, join_own_paint, outlines_of, stack
from exporters.drawing.merging import Level
from exporters.drawing.palette import Colours, assign, find_palette
from exporters.drawing.plan import Plan
from exporters.drawing.svg import build_svg
from exporters.drawing.vectorize import Shape
from exporters.vision import Labels, lab_to_rgb8, rgb_to_lab

MOST_SQUARES = 128
"""A sample with more pixels a side is shrunk to `FEWER_SQUARES` first."""
FEWER_SQUARES = 64
GAP = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelPicture:
    """Labels on a square grid of few cells."""

    labels: Labels
    """N×N; -1 where it is clear."""
    palette_rgb: Picture
    plan: Plan

    def reference(self, size_px: int) -> Picture:
        """The grid enlarged to straight RGBA, each cell a square."""
        cells = np.zeros((*self.labels.shape, 4), dtype=np.uint8)
        seen = self.labels >= 0
        cells[seen, :3] = self.palette_rgb[self.labels[seen]]
        cells[seen, 3] = 255
        enlarged = Image.fromarray(cells).resize((size_px, size_px), Image.Resampling.NEAREST)
        return np.asarray(enlarged)


def pixel_picture(
    image_hwc: Picture, config: ExportConfig, palette: Colours | None = None
) -> PixelPicture:
    """A sample (straight RGB or RGBA) in few colours; UserError when all of it is clear."""
    rgba = _on_square(image_hwc)
    mask = rgba[..., 3] >= config.alpha_threshold * 255
    if not mask.any():
        raise UserError("no pixel of the picture is opaque: there is nothing to draw")
    lab = rgb_to_lab(rgba[..., :3].astype(np.float32))
    own = palette is None
    if palette is None:
        palette = find_palette(lab[mask], config.colours, gap=GAP)
    labels = np.where(mask, assign(lab, palette), -1).astype(np.int32)
    palette_rgb = _means(rgba, labels, len(palette)) if own else lab_to_rgb8(palette)
    return PixelPicture(
        labels=labels, palette_rgb=palette_rgb, plan=_only_level(labels, palette_rgb)
    )


def _means(rgba: Picture, labels: Labels, count: int) -> Picture:
    """The mean colour of each label's cells, K×3."""
    owner = labels[labels >= 0]
    counts = np.maximum(np.bincount(owner, minlength=count), 1)
    means = [np.bincount(owner, rgba[labels >= 0][:, i], count) / counts for i in range(3)]
    return np.rint(np.stack(means, axis=1)).astype(np.uint8)


def draw_pixels(picture: PixelPicture, size_px: int, title: str) -> str:
    """The cells as SVG, in whole cells."""
    cells = picture.labels.shape[0]
    regions = split_regions(picture.labels, picture.labels >= 0)
    paint = values_of(regions, picture.labels)
    parent = stack(regions, paint)
    regions, parent = join_own_paint(regions, parent, paint)
    depth = depths_of(parent)
    groups: dict[tuple[int, int], list[Curves]] = {}
    for item in outlines_of(regions, parent, depth * len(picture.palette_rgb) + paint):
        place = int(depth[item.region]), int(paint[item.region])
        groups.setdefault(place, []).append(_sides(item.points))
    shapes = [
        Shape(
            fill="#{:02x}{:02x}{:02x}".format(*picture.palette_rgb[place[1]]),
            outlines=tuple(groups[place]),
        )
        for place in sorted(groups)
    ]
    return build_svg(shapes, size_px=size_px, scale=size_px / cells, title=title, view_units=cells)


def _sides(middles: Points) -> Curves:
    """Straight sides between the corners of an outline of unit steps."""
    ahead = np.roll(middles, -1, axis=0)
    turns = np.abs(ahead - middles).max(axis=1) < 1  # half a step both ways: round a corner
    level = middles[:, 0] % 1 != 0  # steps along x have their middle between two columns
    x = np.where(level, ahead[:, 0], middles[:, 0])
    y = np.where(level, middles[:, 1], ahead[:, 1])
    corners = np.stack([x, y], axis=1)[turns]
    ends = np.roll(corners, -1, axis=0)
    shares = np.array([0, 1 / 3, 2 / 3, 1])[:, None]
    return np.asarray(corners[:, None] + (ends - corners)[:, None] * shares)


def _only_level(labels: Labels, palette_rgb: Picture) -> Plan:
    regions = split_regions(labels, labels >= 0)
    paint = values_of(regions, labels)
    level = Level(
        price=0.0,
        owner=np.arange(len(paint)),
        squared_error=0.0,
        bytes=0.0,
        colours=palette_rgb[paint].astype(np.float64),
        labels=paint,
    )
    return Plan(regions=regions, levels=[level], palette_rgb=palette_rgb, values=1)


def _on_square(image_hwc: Picture) -> Picture:
    """Straight RGBA on a clear square of few cells."""
    if image_hwc.ndim != 3 or image_hwc.shape[2] not in (3, 4) or 0 in image_hwc.shape:
        raise UserError(f"a picture has the shape {image_hwc.shape}; wanted are H×W×3 or H×W×4")
    height, width = image_hwc.shape[:2]
    side = max(height, width)
    rgba = np.zeros((side, side, 4), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    rgba[top : top + height, left : left + width, 3] = 255
    rgba[top : top + height, left : left + width, : image_hwc.shape[2]] = image_hwc
    if side > MOST_SQUARES:
        rgba = unpremultiply(resize(rgba, (FEWER_SQUARES, FEWER_SQUARES), colour_space="srgb"))
    return rgba
