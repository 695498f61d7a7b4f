"""Real engines: PixiJS and Phaser from npm in Chromium, Godot 3 from Debian.

An engine's package is fetched once, to MENAGERIE_ENGINES (default: a folder of the user's cache).
Where npm or Godot is missing, a test skips and says so; in CI that is a failure.
"""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Playwright

from core.files import read_json
from exporters.build import build_pack
from exporters.config import ExportConfig
from tests.browser.conftest import CHROMIUM
from tests.needs import missing
from tests.samplesets import animal, write_sample_set

PINNED = {"pixi.js": "8.22.0", "phaser": "3.90.0"}
ANIMALS = ("bird", "cat", "dog", "fish", "frog", "horse", "rabbit", "turtle")


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of eight animals whose frames need several sheets."""
    root = tmp_path_factory.mktemp("engines")
    samples = [animal(label, seed) for seed, label in enumerate(ANIMALS)]
    write_sample_set(root / "set", [samples])
    config = ExportConfig(
        samples=root / "set",
        name="Small zoo",
        size_px=128,
        small_px=48,
        densities=(1, 2),
        atlas_max_px=128,
        min_psnr_db=10,
        min_alpha_iou=0.5,
    )
    built = build_pack(config, root / "pack")
    assert len(built.facts["stickers"]) == len(ANIMALS)
    assert len(built.facts["atlas"]["sheets"]) > 1
    return built.folder


@pytest.fixture(scope="session")
def wanted(pack: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What each frame has to look like: the PNG that it was cut from."""
    facts = read_json(pack / "pack.json")
    return {one["name"]: rgba(pack / one["pngs"]["@2x"]) for one in facts["stickers"]}


def rgba(path: Path) -> np.ndarray[Any, Any]:
    """A picture as premultiplied RGBA, 0…1."""
    with Image.open(path) as image:
        return premultiplied(np.asarray(image.convert("RGBA")))


def premultiplied(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    floats = picture.astype(np.float32) / 255
    floats[..., :3] *= floats[..., 3:]
    return floats


def fetch(package: str, file: str) -> Path:
    """A file of an npm package, fetched once for this machine."""
    version = PINNED[package]
    cache = Path(os.environ.get("MENAGERIE_ENGINES") or Path.home() / ".cache/menagerie-engines")
    path = cache / f"{package}-{version}" / Path(file).name
    if path.is_file():
        return path
    npm = shutil.which("npm")
    if npm is None:
        missing("npm is not installed (apt-get install npm)")
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", "--silent", "--pack-destination", str(path.parent)]
    done = subprocess.run(
        [*command, f"{package}@{version}"], capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode != 0:
        missing(f"npm cannot fetch {package}: {done.stderr.strip()[-300:]}")
    archive = path.parent / f"{package}-{version}.tgz"
    with tarfile.open(archive) as tar:
        source = tar.extractfile(f"package/{file}")
        assert source is not None
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(source.read())
    temporary.replace(path)
    archive.unlink()
    return path


@pytest.fixture(scope="module")
def webgl(playwright: Playwright) -> Iterator[Browser]:
    """Chromium that computes WebGL in software."""
    if CHROMIUM is None:
        missing("Chromium is not installed (apt-get install chromium)")
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, args=[*flags, "--enable-unsafe-swiftshader"]
    )
    yield browser
    browser.close()
