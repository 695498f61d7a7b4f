"""Postcards in their pieces: paths, letters, colours, sides as SVG and as PDF."""

import io
import math
import re
import zlib

import numpy as np
import pytest
from PIL import Image as PillowImage

from core.errors import UserError
from core.images import png_bytes
from core.render import render_svg
from exporters.postcard import geometry
from exporters.postcard.back import BARS, Words, draw_back
from exporters.postcard.card import PRINT_PX, print_png
from exporters.postcard.colours import contrast, hex_of, mean_colour, oklab, scheme_of
from exporters.postcard.front import draw_front
from exporters.postcard.lettering import balanced, fitting_size, lettering, width_of, wrapped
from exporters.postcard.names import name_of
from exporters.postcard.pdf import pdf_bytes
from exporters.postcard.scene import Fill, Image, Line, Scene, from_svg, to_svg
from exporters.postcard.subject import figure_of_pixels, figure_of_svg, placed
from exporters.postcard.waveform import loudness_bars

DISC = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 640 640">'
    '<path fill="#3a7" d="M20 320c0-200 100-300 300-300c200 0 300 100 300 300v300h-600z"/>'
    '<path fill="#112233" d="M200 200h80v80h-80zM360 200h80v80h-80z"/></svg>'
)


def picture(rgb, size=16):
    image = np.zeros((size, size, 4), dtype=np.uint8)
    image[3:13, 2:14] = (*rgb, 255)
    return image


def front_of(figure, rgb=(60, 160, 70), **more):
    scheme = scheme_of(picture(rgb), 7)
    given = {"label": "frog", "seed": 7, "name": "The lesser moss frog", "line": "Zoo · Nº 7"}
    return draw_front(figure, scheme, alt="A green frog", **(given | more))


def back_of(figure, phrase="Mruu-mrau kwaekk, pfiiy!", **more):
    given = {"name": "The lesser moss frog", "set_title": "Menagerie", "seed": 7, "seconds": 1.2}
    words = Words(phrase=phrase, small_print=["No such animal exists."], **(given | more))
    return draw_back(figure, scheme_of(picture((60, 160, 70)), 7), words, [0.5] * BARS)


def test_path_data_is_read_as_the_renderer_reads_it():
    relative = "m2 3c1-1 2-1 4 0l2 4h-3v2zm8 8l.5-2e0z"
    path = geometry.parse_path(relative)
    assert path[0] == ("M", ((2.0, 3.0),))
    assert path[1] == ("C", ((3.0, 2.0), (4.0, 2.0), (6.0, 3.0)))
    assert [points[-1] for name, points in path if name == "L"][:3] == [(8, 7), (5, 7), (5, 9)]
    assert path[6] == ("M", ((10.0, 11.0),))  # counted from where the first outline began


@pytest.mark.parametrize("data", ["M1 2 A3 4", "1 2", "M1", "M1 2 C3 4", "M0 0z5 5"])
def test_path_data_that_is_none_is_refused(data):
    with pytest.raises(ValueError, match=r"few|more than|stands"):
        geometry.parse_path(data)


def test_a_line_of_text_is_as_wide_as_it_says_and_fits_where_it_shall():
    line = "The lesser moss frog"
    left, _, wide, _ = geometry.bounds([lettering(line, "title", 8, 10, 20)])
    assert left == pytest.approx(10, abs=0.5)
    assert wide == pytest.approx(width_of(line, "title", 8), rel=0.03)
    size = fitting_size(line, "title", 8, 30)
    assert width_of(line, "title", size) == pytest.approx(30)
    lines = wrapped("a bee-bee cee", "speech", 8, width_of("bee cee", "speech", 8) + 0.1)
    assert lines == ["a bee-", "bee cee"]
    even = balanced("one two three four five six", "speech", 8, 60)
    assert max(map(len, even)) - min(map(len, even)) < 8


def test_signs_that_no_font_has_and_those_of_formulas_are_letters_like_others():
    stand_in = lettering("猫", "title", 8, 0, 0)
    assert stand_in
    assert stand_in == lettering("犬", "title", 8, 0, 0)
    assert lettering("$x_1$ ж", "title", 8, 0, 0)
    assert lettering("a\x00b\n", "plain", 8, 0, 0) == lettering("ab", "plain", 8, 0, 0)


def test_colours_keep_their_hue_and_letters_their_contrast():
    for rgb in ((200, 40, 40), (240, 180, 40), (60, 160, 70), (70, 90, 220), (250, 250, 250)):
        for seed in range(4):
            scheme = scheme_of(picture(rgb), seed)
            assert contrast(scheme.light, scheme.ground) >= 4.5
            assert contrast(scheme.ink, scheme.paper) >= 7
    _, chroma, hue = mean_colour(picture((60, 160, 70)))
    made = hex_of(0.6, chroma, hue)
    rgb = np.array([[int(made[k : k + 2], 16) for k in (1, 3, 5)]], dtype=np.uint8)
    lab = oklab(rgb)[0]
    assert math.degrees(math.atan2(lab[2], lab[1])) % 360 == pytest.approx(hue, abs=2)


def test_names_say_the_colour_and_differ_by_seed():
    green = scheme_of(picture((60, 160, 70)), 0)
    names = {name_of("frog", seed, green) for seed in range(30)}
    assert len(names) > 15
    assert all(re.fullmatch(r"The [\w-]+ (moss|fern|clover|reed) frog", name) for name in names)
    assert name_of("frog", 3, green) == name_of("frog", 3, green)


def test_a_side_is_the_same_after_a_way_through_svg():
    png = png_bytes(picture((9, 9, 9)))
    items = (
        Fill(geometry.ellipse(20, 20, 5), "#ff0000", 0.5, even_odd=True),
        Line(geometry.smooth([(0, 0), (5, 9), (9, 1)]), "#00ff00", 0.7),
        Image(png, (1.0, 2.0, 3.0, 4.0)),
    )
    svg = to_svg(Scene(title='He said "<&"', items=items))
    again = from_svg(svg)
    assert again.title == 'He said "<&"'
    assert again.items[0].even_odd
    assert again.items[0].opacity == 0.5
    assert again.items[2] == items[2]
    assert to_svg(again) == svg


def test_the_front_shows_the_animal_whole_on_a_card_of_print_size():
    figure = figure_of_svg(DISC)
    scene = front_of(figure)
    with PillowImage.open(io.BytesIO(print_png(scene, {"label": "frog"}))) as image:
        assert image.size == PRINT_PX == (1819, 1311)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.text["menagerie:label"] == "frog"
        pixels = np.asarray(image)
    green = (np.abs(pixels.astype(int) - (0x33, 0xAA, 0x77)).sum(axis=2) < 12).sum()
    assert green > 0.15 * pixels.shape[0] * pixels.shape[1]
    assert (pixels[0] == pixels[2]).all(axis=1).mean() > 0.9  # painted to the very edge


def test_a_photograph_gets_a_frame_and_a_cut_out_picture_an_own_shadow():
    photo = figure_of_pixels(np.full((20, 30, 3), 120, dtype=np.uint8))
    assert photo.opaque
    assert photo.box[2:] == (30, 20)
    cut = figure_of_pixels(picture((9, 99, 9)))
    assert not cut.opaque
    assert cut.box[2:] == (12, 10)
    for figure in (photo, cut):
        assert sum(isinstance(item, Image) for item in front_of(figure).items) == 1
    with pytest.raises(UserError, match="is empty"):
        figure_of_pixels(np.zeros((8, 8, 4), dtype=np.uint8))


def test_a_strange_svg_is_no_sticker():
    for svg in (
        "<svg",
        "<svg xmlns='http://www.w3.org/2000/svg'/>",
        DISC.replace("#3a7", "url(#a)"),
    ):
        with pytest.raises(UserError, match="not one of our stickers"):
            figure_of_svg(svg)


def test_a_figure_fills_its_room_and_stands_on_its_floor():
    items = placed(figure_of_svg(DISC), (10, 10, 50, 40))
    left, top, wide, high = geometry.bounds([item.path for item in items])
    assert (top, high) == pytest.approx((10, 40))
    assert left + wide / 2 == pytest.approx(35)


@pytest.mark.parametrize(
    "phrase", ["Mru", "Kwaekk " * 8, "Kwaekk-" * 9 + "x", "w" * 300, "Mru! " * 99]
)
def test_every_phrase_fits_into_its_bubble(phrase):
    scene = back_of(figure_of_svg(DISC), phrase)
    fills = [item for item in scene.items if isinstance(item, Fill)]
    white = next(item for item in fills if item.colour == "#ffffff")
    left, top, wide, _ = geometry.bounds([white.path])
    boxes = [geometry.bounds([item.path]) for item in fills if item.colour != white.colour]
    lines = [box for box in boxes if 20 < box[1] < 60 and box[0] < 78 and box[3] > 0]
    assert lines
    for line in lines:
        assert left < line[0]
        assert line[0] + line[2] < left + wide
        assert top < line[1]
        assert line[1] + line[3] < 56  # where the bubble's tail begins


def test_bars_follow_the_loudness():
    wave = np.concatenate([np.zeros(1000), np.ones(1000), 0.1 * np.ones(1000)])
    bars = loudness_bars(wave, 6)
    assert bars[2:4] == [1, 1]
    assert bars[0] < bars[4] < 0.5
    assert loudness_bars(np.zeros(100), 4) == [0.04] * 4
    assert len(loudness_bars(np.ones(3), 8)) == 8


def test_a_pdf_has_pages_of_exact_size_and_whole_tables():
    figure = figure_of_pixels(picture((9, 99, 9)))
    scenes = [front_of(figure), back_of(figure)]
    pdf = pdf_bytes(scenes, "Zoo “1”")
    assert pdf == pdf_bytes(scenes, "Zoo “1”")
    sides = [float(side) for side in re.search(rb"/MediaBox \[0 0 (\S+) (\S+)\]", pdf).groups()]
    assert [side * 25.4 / 72 for side in sides] == pytest.approx([154, 111], abs=0.01)
    trim = [float(n) for n in re.search(rb"/TrimBox \[([^\]]+)\]", pdf)[1].split()]
    assert [(trim[2] - trim[0]) * 25.4 / 72, (trim[3] - trim[1]) * 25.4 / 72] == pytest.approx(
        [148, 105], abs=0.01
    )
    assert pdf.count(b"/Type /Page ") == 2
    table = int(re.search(rb"startxref\n(\d+)", pdf)[1])
    rows = re.findall(rb"(\d{10}) 00000 n ", pdf[table:])
    for number, row in enumerate(rows, 1):
        assert pdf[int(row) :].startswith(f"{number} 0 obj".encode())
    for stream in re.finditer(rb"/Length (\d+) >>\nstream\n", pdf):
        assert zlib.decompress(pdf[stream.end() : stream.end() + int(stream[1])])


def test_what_is_not_square_is_rendered_in_its_shape():
    side = to_svg(front_of(figure_of_svg(DISC)), size_px=(182, 131))
    assert render_svg(side, 182, 131).shape == (131, 182, 4)
    assert render_svg(DISC, 32).shape == (32, 32, 4)
