"""Five styles, the solver that chooses among sizes, shared palettes, and the die-cut border."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from core.data.starter import draw_animal
from core.errors import UserError
from core.images import over
from core.render import render_svg
from core.sampleset import Sample
from exporters.config import ExportConfig
from exporters.drawing.adjacency import find_borders, gather, split_regions
from exporters.drawing.classpalette import class_palettes, palette_of
from exporters.drawing.fidelity import Gate, edge_error_px, ssim
from exporters.drawing.layers import join_own_paint, outlines_of, stack
from exporters.drawing.solver import complaints, solve
from exporters.drawing.sticker import Refused, Sticker, make_sticker
from exporters.drawing.styles import attempts
from exporters.drawing.svg import fills, lint_svg


def config(**settings):
    return ExportConfig(samples=Path("unused"), **settings)


def sticker(image_hwc, palette=None, **settings):
    sample = Sample(image_hwc=image_hwc, label="cat", seed=7)
    made = make_sticker(sample, config(**settings), {}, palette)
    assert isinstance(made, Sticker), made
    return made


CAT = draw_animal("cat", 3, 64)


def test_every_style_passes_the_gate_and_the_lint():
    made = {
        style: sticker(CAT, style=style) for style in ("flat", "photo", "cartoon", "silhouette")
    }
    assert all(lint_svg(item.svg) == [] for item in made.values())
    assert made["silhouette"].colours == 1
    assert made["flat"].colours <= 16
    assert made["photo"].colours > made["flat"].colours
    assert len(made["silhouette"].svg) < len(made["flat"].svg) < len(made["photo"].svg)


def test_pixel_art_is_exact_in_the_samples_own_grid():
    made = sticker(CAT, style="pixel", colours=8)
    assert 'viewBox="0 0 64 64"' in made.svg
    assert made.fidelity.psnr_db == 99
    assert len(fills(made.svg)) <= 8
    cells = render_svg(made.svg, 512).reshape(64, 8, 64, 8, 4)
    assert (cells == cells[:, :1, :, :1]).all()
    assert ((cells[:, 0, :, 0, 3] == 255) == (CAT[..., 3] >= 128)).all()


def test_a_cartoon_has_ink_along_its_silhouette():
    drawn = render_svg(sticker(CAT, style="cartoon").svg, 512)
    inside = drawn[..., 3] >= 128
    rim = inside & ~(np.roll(inside, 4, 0) & np.roll(inside, -4, 0))
    assert over(drawn, (255, 255, 255))[rim].mean() < over(drawn, (255, 255, 255))[inside].mean()
    assert np.median(over(drawn, (255, 255, 255))[rim].max(axis=1)) < 60


def test_the_solver_spends_more_bytes_for_a_closer_picture():
    sizes = []
    for aim in (24.0, 28.0):
        made = sticker(CAT, style="photo", aim_psnr_db=aim, min_psnr_db=20, min_ssim=0)
        assert made.fidelity.psnr_db >= aim
        sizes.append(len(made.svg))
    assert sizes[0] < 0.8 * sizes[1]


def test_under_a_limit_the_closest_picture_is_taken():
    loose = {"min_psnr_db": 15, "min_ssim": 0, "min_alpha_iou": 0.9, "max_edge_px": 8}
    small = sticker(CAT, style="photo", max_kb=6, **loose)
    large = sticker(CAT, style="photo", max_kb=20, **loose)
    assert len(small.svg) <= 6.5 * 1024
    assert len(large.svg) <= 20.5 * 1024
    assert large.fidelity.psnr_db > small.fidelity.psnr_db + 1


def test_a_picture_that_cannot_reach_the_gate_is_not_traced_over_and_over():
    (attempt, *_) = attempts(CAT, config(), title="a cat")
    drawn = []

    def draw(level):
        drawn.append(level)
        return attempt.draw(level)

    aim = attempt.plan.ceiling_db(0) - 0.1  # tracing loses more than that
    gate = Gate(min_psnr_db=aim)
    best = solve(attempt.plan, draw, attempt.reference_hwc, gate=gate, aim_db=aim)
    assert complaints(gate, best, None)
    assert len(drawn) <= 2
    assert best.fidelity.psnr_db > attempt.plan.ceiling_db(0) - 3


def test_the_gate_says_all_that_it_misses():
    made = sticker(CAT)
    gate = Gate(min_psnr_db=60, min_alpha_iou=1, min_ssim=1, max_edge_px=0)
    found = "; ".join(gate.complaints(made.fidelity))
    for word in ("dB over white", "dB over black", "silhouette", "SSIM", "edges"):
        assert word in found


def test_structure_and_edges_are_measured():
    columns = np.indices((64, 64))[1]
    step = np.where(columns < 32, 20, 220).astype(np.float32)
    moved = np.where(columns < 35, 20, 220).astype(np.float32)
    assert ssim(step, step) == 1.0
    assert ssim(step, moved) < 0.99
    assert edge_error_px(step, step) == 0
    assert 2 < edge_error_px(moved, step) < 4
    assert edge_error_px(np.zeros_like(step), step) == 8


def test_all_cats_share_their_class_palette():
    cats = [draw_animal("cat", seed, 64) for seed in range(4)]
    samples = [Sample(image_hwc=cat, label="cat", seed=i) for i, cat in enumerate(cats)]
    palettes = class_palettes(samples, config(colours=10))
    assert palettes == class_palettes(samples, config(colours=10))
    shared = palette_of(palettes, "cat")
    assert shared is not None
    assert 4 <= len(shared) <= 10
    assert palette_of(palettes, "dog") is None
    made = sticker(cats[0], shared, min_psnr_db=15, min_ssim=0)
    assert made.colours <= 10


def test_the_die_cut_border_is_one_closed_path_under_the_picture():
    bare, cut = sticker(CAT), sticker(CAT, border_px=16, border_colour="#FFFFFF", shadow_px=6)
    assert lint_svg(cut.svg) == []
    assert cut.paths == bare.paths + 2
    first, second = (path.attrib for path in list(ET.fromstring(cut.svg))[:2])
    assert (first["fill"], second["fill"]) == ("#c8c8d0", "#fff")
    assert second["d"].count("z") == 1
    view = [int(value) for value in re.findall(r'viewBox="([^"]*)"', cut.svg)[0].split()]
    scale = 512 / (view[2] / 2)  # the picture is drawn in half pixels
    alone, framed = (render_svg(item.svg, 512)[..., 3] >= 128 for item in (bare, cut))
    assert framed.sum() > scale**2 * alone.sum() * 1.15
    edge = np.concatenate([framed[0], framed[-1], framed[:, 0], framed[:, -1]])
    assert not edge.any()  # nothing is cut off
    assert cut.fidelity == bare.fidelity


@pytest.mark.parametrize(
    ("setting", "value", "word"),
    [
        ("style", "oil", "photo, flat, cartoon, silhouette or pixel"),
        ("border_colour", "white", "six hexadecimal digits"),
        ("border_px", -1, "allowed are 0 to 128"),
        ("tracer", "potrace", "layers or vtracer"),
        ("min_ssim", 2, "allowed are -1 to 1"),
        ("max_kb", 0, "more than 0"),
    ],
)
def test_a_setting_that_cannot_be_names_what_can(setting, value, word):
    with pytest.raises(UserError, match=word):
        config(**{setting: value})


def test_a_large_or_long_or_noisy_picture_is_traced_or_refused_in_one_line():
    rows, columns = np.indices((4096, 4096), dtype=np.uint16)
    large = np.zeros((4096, 4096, 4), dtype=np.uint8)
    large[(rows - 2048) ** 2.0 + (columns - 2048) ** 2.0 < 1500**2] = (200, 90, 40, 255)
    assert sticker(large).fidelity.psnr_db > 30
    long = np.full((8, 300, 3), 120, dtype=np.uint8)
    assert sticker(long).colours == 1
    noise = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    sample = Sample(image_hwc=noise, label="cat", seed=7)
    for style in ("photo", "cartoon"):
        refused = make_sticker(sample, config(style=style), {})
        assert isinstance(refused, Refused)
        assert "\n" not in refused.reason
        assert "dB" in refused.reason


def test_clear_pictures_are_refused_by_every_style():
    clear = Sample(image_hwc=np.zeros((16, 16, 4), dtype=np.uint8), label="cat", seed=1)
    for style in ("flat", "photo", "cartoon", "silhouette", "pixel"):
        refused = make_sticker(clear, config(style=style), {})
        assert isinstance(refused, Refused)
        assert "nothing to" in refused.reason


def rings():
    """A square in a square in a square, and a bar beside it."""
    labels = np.zeros((40, 40), dtype=np.int32)
    labels[4:30, 4:30] = 1
    labels[4:30, 30:36] = 2
    labels[10:24, 10:24] = 3
    return labels


def test_regions_and_their_borders():
    labels = rings()
    regions = split_regions(labels, np.ones_like(labels, dtype=bool))
    assert np.array_equal(regions, labels)  # in reading order
    borders = find_borders(regions)
    pairs = zip(borders.one.tolist(), borders.other.tolist(), strict=True)
    lengths = dict(zip(pairs, borders.length_px, strict=True))
    assert lengths == {(0, 1): 78, (0, 2): 38, (1, 2): 26, (1, 3): 56}
    joined = gather(borders, np.array([0, 1, 0, 1]))
    assert joined.length_px.tolist() == [104]


def test_a_border_is_drawn_by_the_shape_on_top_alone():
    regions = rings()
    parent = stack(regions, np.arange(4))
    assert parent[3] == 1
    assert (parent == -1).sum() == 1
    area = {}
    for item in outlines_of(regions, parent):
        x, y = item.points.T
        shoelace = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
        area[item.region] = area.get(item.region, 0) + shoelace
    assert area[3] > 14 * 14 - 8  # rounded by its steps' middles alone
    below = area[1] + area[2]
    assert below > 26 * 32 - 12  # one of the two reaches under the other: no gap can open
    assert below < 26 * 32 + 2 * 26


def test_a_region_on_its_own_paint_needs_no_shape():
    labels = rings()
    parent = np.array([-1, 0, 1, 1])
    regions, parent = join_own_paint(labels, parent, np.array([5, 6, 6, 7]))
    assert not (regions == 2).any()
    assert {item.region for item in outlines_of(regions, parent)} == {0, 1, 3}
