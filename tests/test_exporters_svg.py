"""Engine-safe SVG: what is written, and what the lint finds."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from core.render import render_svg
from exporters.drawing.curves import fit_outlines
from exporters.drawing.svg import add_metadata, build_svg, lint_svg
from exporters.drawing.vectorize import Shape, trace

SAFE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8" width="8" height="8">{}</svg>'
PATH = '<path fill="#abc" d="M0 0h8v8z"/>'


def square(low, high):
    return np.array([[low, low], [high, low], [high, high], [low, high]], dtype=np.float64)


def test_a_plain_path_is_safe():
    assert lint_svg(SAFE.format(PATH)) == []


@pytest.mark.parametrize(
    ("svg", "complaint"),
    [
        ("<svg", "is not XML"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]>' + SAFE.format(PATH), "document type"),
        ("<html/>", "root is html"),
        (SAFE.format(PATH).replace('viewBox="0 0 8 8"', ""), "has no viewBox"),
        (SAFE.format(PATH).replace('width="8"', ""), "has no width"),
        (SAFE.format(PATH).replace('height="8"', 'height="8" onload="x()"'), "svg has onload"),
        (SAFE.format(""), "has no path"),
        (SAFE.format(PATH + "<filter/>"), "holds <filter>"),
        (SAFE.format(PATH + "<text>hello</text>"), "holds <text>"),
        (SAFE.format(f"<g>{PATH}</g>"), "holds <g>"),
        (SAFE.format(PATH + '<image href="x.png"/>'), "holds <image>"),
        (SAFE.format(PATH + "<style>path{fill:red}</style>"), "holds <style>"),
        (SAFE.format('<path fill="url(#g)" d="M0 0h8z"/>'), "filled with 'url(#g)'"),
        (SAFE.format('<path d="M0 0h8z"/>'), "filled with None"),
        (SAFE.format('<path fill="#abc" style="x" d="M0 0h8z"/>'), "has style"),
        (SAFE.format('<path fill="#abc" opacity=".5" d="M0 0h8z"/>'), "has opacity"),
        (SAFE.format('<path fill="#abc" d="M0 0 nan 1z"/>'), "no plain path data"),
        (SAFE.format('<path fill="#abc"/>'), "no plain path data"),
        (SAFE.format(f'<path fill="#abc" d="M0 0h8z">{PATH}</path>'), "has children"),
    ],
)
def test_the_lint_names_what_engines_cannot_draw(svg, complaint):
    assert any(complaint in problem for problem in lint_svg(svg))


def test_a_hostile_label_cannot_break_out_of_the_svg():
    shape = Shape(fill="#112233", outlines=tuple(fit([square(2, 30)])))
    label = '"/><script>alert(1)</script>]]>&'
    svg = add_metadata(build_svg([shape], size_px=32, scale=1, title=label), {"label": label})
    assert lint_svg(svg) == []
    root = ET.fromstring(svg)
    assert root.get("aria-label") == label
    assert json.loads(root[-1].text) == {"label": label}


def fit(outlines, frame_px=1000.0):
    return fit_outlines(outlines, tolerance_px=0.8, frame_px=frame_px)


def test_a_large_square_keeps_its_straight_sides_in_few_bytes():
    svg = build_svg(
        [Shape(fill="#ff0000", outlines=tuple(fit([square(20, 80)])))],
        size_px=100,
        scale=1,
        title="A square",
    )
    data = svg.split(' d="')[1].split('"')[0]
    assert len(data) < 60
    alpha = render_svg(svg, 100)[..., 3] >= 128
    wanted = np.zeros((100, 100), dtype=bool)
    wanted[20:80, 20:80] = True
    assert (alpha != wanted).sum() == 0


def test_what_touches_the_frame_reaches_it():
    svg = build_svg(
        [Shape(fill="#00ff00", outlines=tuple(fit([square(0, 100)], frame_px=100.0)))],
        size_px=100,
        scale=1,
        title="All",
    )
    assert (render_svg(svg, 100)[..., 3] >= 254).mean() > 0.998


def test_curves_of_a_circle_are_unbiased_where_vtracers_own_lie_outside():
    rows, columns = np.indices((400, 400)) + 0.5
    inside = (rows - 200) ** 2 + (columns - 190) ** 2 < 150**2
    picture = np.zeros((400, 400, 4), dtype=np.uint8)
    picture[inside] = (0, 0, 0, 255)
    shapes = trace(picture, speckle_px=4, tolerance_px=1.0, origin_xy=(0, 0), frame_px=400)
    svg = build_svg(shapes, size_px=400, scale=1, title="A disc")
    drawn = render_svg(svg, 400)[..., 3].astype(np.float64).sum() / 255
    assert abs(drawn - inside.sum()) < 0.1 * 2 * np.pi * 150  # a tenth of a pixel of outline
    assert len(svg) < 1024


def test_a_hole_stays_a_hole():
    picture = np.zeros((128, 128, 4), dtype=np.uint8)
    picture[20:108, 20:108] = (10, 200, 30, 255)
    picture[50:78, 50:78] = 0
    shapes = trace(picture, speckle_px=4, tolerance_px=1.0, origin_xy=(0, 0), frame_px=128)
    alpha = render_svg(build_svg(shapes, size_px=128, scale=1, title="Ring"), 128)[..., 3]
    assert alpha[64, 64] == 0
    assert alpha[30, 64] == 255


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_tiny_outlines_do_not_break_the_fit(size):
    (curves,) = fit([square(10, 10 + size)])
    assert np.isfinite(curves).all()
    assert np.allclose(curves[0, 0], curves[-1, 3])
