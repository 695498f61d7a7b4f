"""From a sample to a sticker: what passes, what is refused, and what a sticker looks like."""

from pathlib import Path

import numpy as np
import pytest

from core.data.starter import draw_animal
from core.images import over
from core.render import render_svg
from core.sampleset import Sample
from exporters.config import ExportConfig
from exporters.drawing import vectorize
from exporters.drawing.fidelity import psnr_db
from exporters.drawing.sticker import Refused, Sticker, make_sticker
from exporters.drawing.svg import lint_svg

CONFIG = ExportConfig(samples=Path("unused"))
VTRACER = ExportConfig(samples=Path("unused"), tracer="vtracer")
ORIGIN = {"samples": "5" * 64, "model": "m" * 64, "dataset": "d" * 64}


def sticker_of(image_hwc, config=CONFIG):
    sample = Sample(image_hwc=image_hwc, label="cat", seed=7)
    return make_sticker(sample, config, ORIGIN)


def disc(size_px=64, colour=(230, 120, 40)):
    rows, columns = np.indices((size_px, size_px))
    inside = (rows - size_px / 2) ** 2 + (columns - size_px / 2) ** 2 < (0.4 * size_px) ** 2
    picture = np.zeros((size_px, size_px, 4), dtype=np.uint8)
    picture[inside] = (*colour, 255)
    return picture


@pytest.mark.parametrize("label", ["cat", "fish", "turtle"])
def test_a_starter_animal_becomes_a_small_safe_and_faithful_sticker(label):
    made = sticker_of(draw_animal(label, 3, 64))
    assert isinstance(made, Sticker)
    assert lint_svg(made.svg) == []
    assert made.fidelity.psnr_white_db >= 28
    assert made.fidelity.psnr_black_db >= 28
    assert made.fidelity.alpha_iou >= 0.97
    assert len(made.svg) < 60 * 1024
    assert made.sample_psnr_db > 24  # at 64 px, against the picture that nothing has touched


def test_the_same_sample_gives_the_same_bytes():
    first, second = (sticker_of(draw_animal("frog", 1, 64)) for _ in range(2))
    assert first == second


def test_origin_travels_in_the_svg_and_in_both_pngs():
    made = sticker_of(disc())
    for text in ('"label":"cat"', '"seed":7', f'"dataset":"{"d" * 64}"', f'"model":"{"m" * 64}"'):
        assert text in made.svg
    for png in (made.png_large, made.png_small):
        assert b"menagerie:dataset" in png
        assert ("d" * 64).encode() in png


def test_a_disc_stays_round_and_in_place():
    made = sticker_of(disc())
    alpha = render_svg(made.svg, 512)[..., 3] >= 128
    rows, columns = np.nonzero(alpha)
    assert abs(rows.mean() - 255.5) < 4.5
    assert abs(columns.mean() - 255.5) < 4.5
    assert abs(np.sqrt(alpha.sum() / np.pi) - 0.4 * 512) < 3
    assert made.paths == 1


def test_nothing_shows_through_between_regions():
    """Stacked shapes leave no hairlines: inside the silhouette every pixel is opaque."""
    made = sticker_of(draw_animal("bird", 5, 64))
    alpha = render_svg(made.svg, 512)[..., 3]
    core = np.ones_like(alpha, dtype=bool)
    for shift in range(-4, 5):
        core &= np.roll(alpha > 0, shift, 0) & np.roll(alpha > 0, shift, 1)
    assert (alpha[core] < 250).mean() < 0.001


def test_an_opaque_photograph_is_traced_as_a_whole_square():
    rows, columns = np.indices((64, 64)) / 63
    sky = np.stack([80 + 100 * rows, 120 + 80 * rows, 230 - 60 * columns], axis=2)
    sky[40:, :20] = (60, 120, 50)
    made = sticker_of(sky.astype(np.uint8))
    assert isinstance(made, Sticker)
    rendered = render_svg(made.svg, 512)
    assert rendered[..., 3].min() == 255
    assert made.fidelity.alpha_iou == 1.0


def test_a_picture_that_is_not_square_is_centred():
    made = sticker_of(np.full((20, 60, 3), 90, dtype=np.uint8))
    alpha = render_svg(made.svg, 512)[..., 3] >= 128
    rows, columns = np.nonzero(alpha)
    assert (columns.min(), columns.max()) == (0, 511)
    assert abs(rows.min() - 512 / 3) < 4
    assert abs(rows.max() - 2 * 512 / 3) < 4


def test_a_white_eye_of_a_few_pixels_is_kept():
    face = disc()
    face[24:27, 24:27] = (255, 255, 255, 255)
    rendered = render_svg(sticker_of(face).svg, 512)
    assert over(rendered, (0, 0, 0))[204, 204].min() > 200


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.zeros((64, 64, 4), dtype=np.uint8), "nothing to trace"),
        (np.zeros((1, 1, 4), dtype=np.uint8), "nothing to trace"),
        (np.zeros((64, 64), dtype=np.uint8), "shape"),
        (np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "dB"),
        (np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8), "under"),
    ],
    ids=["clear", "one clear pixel", "grey", "noise", "noise with alpha"],
)
def test_what_is_no_picture_is_refused_with_the_reason(picture, reason):
    refused = sticker_of(picture)
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert "\n" not in refused.reason
    assert (refused.label, refused.seed) == ("cat", 7)


def test_one_opaque_pixel_among_clear_ones_is_nothing_to_trace():
    picture = np.zeros((64, 64, 4), dtype=np.uint8)
    picture[30, 30] = 255
    assert isinstance(sticker_of(picture), Refused)


def test_one_pixel_and_one_colour_make_a_plain_square():
    made = sticker_of(np.full((1, 1, 3), 200, dtype=np.uint8))
    assert isinstance(made, Sticker)
    assert made.colours == made.paths == 1
    assert (render_svg(made.svg, 64) == (200, 200, 200, 255)).all()


def test_more_colours_are_tried_before_a_picture_is_refused():
    shades = np.zeros((64, 64, 3), dtype=np.uint8)
    for index in range(16):
        row, column = divmod(index, 4)
        hue = (37 * index % 256, 91 * index % 256, 151 * index % 256)
        shades[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = hue
    few = ExportConfig(samples=Path("unused"), colours=4, max_colours=4, edges="crisp")
    many = ExportConfig(samples=Path("unused"), colours=4, max_colours=48, edges="crisp")
    assert isinstance(sticker_of(shades, few), Refused)
    made = sticker_of(shades, many)
    assert isinstance(made, Sticker)
    assert made.colours > 12


def test_the_size_gate_names_the_size():
    refused = sticker_of(draw_animal("dog", 2, 64), ExportConfig(samples=Path("x"), max_kb=0.5))
    assert isinstance(refused, Refused)
    assert "KiB, over 0.5" in refused.reason


def test_a_tracer_that_panics_costs_one_picture_only(monkeypatch):
    class PanicException(BaseException):
        pass

    def panic(*_, **__):
        raise PanicException("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(vectorize.vtracer, "convert_raw_image_to_svg", panic)
    refused = sticker_of(disc(), VTRACER)
    assert isinstance(refused, Refused)
    assert "vtracer could not trace" in refused.reason


def test_an_interrupt_is_not_taken_for_a_panic(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(vectorize.vtracer, "convert_raw_image_to_svg", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sticker_of(disc(), VTRACER)


@pytest.mark.realdata
def test_a_real_photograph_at_64_px_is_traced_or_refused_for_its_detail(real_data):
    from PIL import Image

    outcomes = []
    for label in ("fish", "rabbit", "horse"):
        photograph = Image.open(real_data / "animals8" / label / f"{label}_0003.jpg")
        pixels = np.asarray(photograph.convert("RGB").resize((64, 64), Image.Resampling.BOX))
        made = sticker_of(pixels)
        outcomes.append(isinstance(made, Sticker))
        if isinstance(made, Refused):
            assert "dB" in made.reason
        else:
            assert psnr_db(over(render_svg(made.svg, 64), (0, 0, 0)), pixels) > 22
    assert any(outcomes)
