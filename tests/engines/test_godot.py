"""Godot 3, headless, imports a pack's SVGs and its atlas, and they look as they should."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.files import read_json
from core.render import render_svg
from tests.engines.conftest import premultiplied, rgba
from tests.needs import missing

pytestmark = [pytest.mark.engines]
PROJECT = """config_version=4

[application]
config/name="Zoo"
"""
SCRIPT = """extends SceneTree

func _init():
    for name in OS.get_cmdline_args()[-1].split(","):
        var frame = load("res://atlas/godot3/%s.tres" % name)
        var whole = Image.new()
        whole.create(frame.get_width(), frame.get_height(), false, Image.FORMAT_RGBA8)
        var sheet = frame.atlas.get_data()
        sheet.convert(Image.FORMAT_RGBA8)
        whole.blit_rect(sheet, frame.region, frame.margin.position)
        whole.save_png("res://drawn/atlas_%s.png" % name)
        var svg = load("res://svg/%s.svg" % name).get_data()
        svg.convert(Image.FORMAT_RGBA8)
        svg.save_png("res://drawn/svg_%s.png" % name)
    quit()
"""


def godot(project: Path, *arguments: str) -> str:
    """Run Godot in the project; what it said."""
    program = shutil.which("godot3-server") or shutil.which("godot3")
    if program is None:
        missing("Godot 3 is not installed (apt-get install godot3-server)")
    done = subprocess.run(
        [program, "--path", str(project), *arguments],
        env={**os.environ, "HOME": str(project / "home"), "LANG": "en_US.UTF-8"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    return said


@pytest.fixture(scope="module")
def drawn(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Godot makes of the pack, as PNGs."""
    project = tmp_path_factory.mktemp("godot") / "project"
    for name in ("atlas", "svg"):
        shutil.copytree(pack / name, project / name)
    for name in ("drawn", "home"):
        (project / name).mkdir()
    (project / "project.godot").write_text(PROJECT)
    (project / "draw.gd").write_text(SCRIPT)
    godot(project, "--editor", "--quit")
    names = ",".join(one["name"] for one in read_json(pack / "pack.json")["stickers"])
    said = godot(project, "--script", "draw.gd", names)
    assert "ERROR" not in said, said[-2000:]
    return project / "drawn"


def test_godot_cuts_every_frame_out_of_the_atlas(
    drawn: Path, wanted: dict[str, np.ndarray[Any, Any]]
) -> None:
    for name, hoped in wanted.items():
        found = rgba(drawn / f"atlas_{name}.png")
        assert found.shape == hoped.shape
        assert np.array_equal(found[..., 3], hoped[..., 3]), name
        # Godot's import recolours what is nearly clear (alpha below 20 of 255), on purpose.
        solid = hoped[..., 3] >= 20 / 255
        assert np.abs(found - hoped)[solid].max() <= 1 / 255, name


def test_godot_draws_the_svgs_as_we_do(drawn: Path, pack: Path) -> None:
    for sticker in read_json(pack / "pack.json")["stickers"]:
        found = rgba(drawn / f"svg_{sticker['name']}.png")
        assert found.shape == (128, 128, 4)
        hoped = premultiplied(render_svg((pack / sticker["file"]).read_text(), 128))
        error = float(np.square(found - hoped).mean())
        assert 10 * np.log10(1 / max(error, 1e-12)) >= 34, sticker["name"]
