"""The whole road, as `make demo` goes it."""

import zipfile
from pathlib import Path

import pytest

from core.files import read_json
from exporters.drawing.svg import lint_svg
from tests.verbs import job


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make demo` makes, with the same commands."""
    folder = tmp_path_factory.mktemp("demo")
    job("prepare", "--source", "starter", "--size-px", 32, "--out", folder / "data")
    job("train", "--preset", "starter", "--data", folder / "data", "--out", folder / "run")
    job("sample", "--run", folder / "run", "--per-class", 12, "--out", folder / "samples")
    job(
        *("export", "--samples", folder / "samples", "--out", folder / "pack"),
        *("--noise-levels", 25, "--upscaler", "starter", "--platforms", "all"),
    )
    return folder


@pytest.mark.slow
def test_the_demo_ends_with_a_pack_over_all_classes(demo: Path) -> None:
    pack = read_json(demo / "pack/pack.json")
    assert len(pack["stickers"]) >= 64
    assert {sticker["label"] for sticker in pack["stickers"]} == {
        *("bird", "cat", "dog", "fish", "frog", "horse", "rabbit", "turtle")
    }
    assert (demo / "pack/index.html").exists()
    assert (demo / "samples/contact_sheet.png").exists()
    assert zipfile.ZipFile(demo / "pack.zip").testzip() is None


@pytest.mark.slow
def test_a_classifier_of_the_starter_animals_recognises_the_demos_samples(demo: Path) -> None:
    job("evaluate", "--samples", demo / "samples", "--data", demo / "data")
    figures = read_json(demo / "samples/recognition.json")
    assert figures["held_out_accuracy"] >= 0.99
    assert figures["recognised"] >= 0.90


@pytest.mark.slow
def test_every_sticker_of_the_demo_is_engine_safe_faithful_and_small(demo: Path) -> None:
    stickers = read_json(demo / "pack/pack.json")["stickers"]
    sizes = []
    for sticker in stickers:
        svg = (demo / "pack" / sticker["file"]).read_text(encoding="utf-8")
        assert lint_svg(svg) == []
        assert min(sticker["psnr_white_db"], sticker["psnr_black_db"]) >= 28
        assert sticker["alpha_iou"] >= 0.97
        sizes.append(len(svg.encode()))
    assert sorted(sizes)[len(sizes) // 2] <= 30 * 1024
