"""An SVG looks the same in every renderer, and no gap opens between its shapes."""

import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.starter import draw_animal
from core.images import over
from core.render import render_svg
from core.sampleset import Sample
from exporters.config import ExportConfig
from exporters.drawing.fidelity import psnr_db
from exporters.drawing.sticker import Sticker, make_sticker
from exporters.vision import depth
from tests.needs import missing

AGREE_DB = 38
PACKAGES = {"rsvg-convert": "librsvg2-bin", "inkscape": "inkscape", "chromium": "chromium"}
"""Debian's package for each program."""


def command_of(program, source, target, size_px):
    if program == "rsvg-convert":
        return [program, "-w", str(size_px), "-h", str(size_px), "-o", str(target), str(source)]
    if program == "inkscape":
        return [program, "-w", str(size_px), "-h", str(size_px), "-o", str(target), str(source)]
    return [
        *(program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--force-device-scale-factor=1", "--default-background-color=00000000"),
        *(f"--user-data-dir={target.parent / 'profile'}", f"--window-size={size_px},{size_px}"),
        *(f"--screenshot={target}", str(source)),
    ]


def render_with(program, svg, size_px, folder: Path):
    """Straight RGBA by another renderer; skips, or in CI fails, when it is not installed."""
    if shutil.which(program) is None:
        message = f"no {program}: apt-get install {PACKAGES[program]}"
        missing(message)
    source, target = folder / "picture.svg", folder / f"{program}.png"
    sized = svg.replace('width="512" height="512"', f'width="{size_px}" height="{size_px}"', 1)
    source.write_text(sized, encoding="utf-8")
    home = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = command_of(program, source, target, size_px)
    subprocess.run(command, check=True, timeout=120, capture_output=True, env=home)
    return np.asarray(Image.open(io.BytesIO(target.read_bytes())).convert("RGBA"))


@pytest.fixture(scope="module")
def frog():
    config = ExportConfig(samples=Path("unused"), border_px=12, shadow_px=6)
    sample = Sample(image_hwc=draw_animal("frog", 11, 64), label="frog", seed=11)
    made = make_sticker(sample, config, {})
    assert isinstance(made, Sticker)
    return made.svg


@pytest.fixture(scope="module")
def bare_dog():
    sample = Sample(image_hwc=draw_animal("dog", 4, 64), label="dog", seed=4)
    made = make_sticker(sample, ExportConfig(samples=Path("unused")), {})
    assert isinstance(made, Sticker)
    return made.svg


@pytest.mark.parametrize("program", PACKAGES)
def test_renderers_agree(frog, program, tmp_path):
    ours, theirs = render_svg(frog, 512), render_with(program, frog, 512, tmp_path)
    for ground in ((255, 255, 255), (0, 0, 0)):
        assert psnr_db(over(ours, ground), over(theirs, ground)) >= AGREE_DB


@pytest.mark.parametrize("program", ["resvg", *PACKAGES])
def test_no_gap_opens_between_shapes_at_three_times_the_size(bare_dog, program, tmp_path):
    if program == "resvg":
        drawn = render_svg(bare_dog, 1536)
    else:
        drawn = render_with(program, bare_dog, 1536, tmp_path)
    inner = depth(drawn[..., 3] >= 128) > 4
    assert inner.mean() > 0.1
    # what is behind the sticker shows nowhere inside it
    assert drawn[..., 3][inner].min() == 255
