"""The whole road, as `make demo` goes it, and with real photographs."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from core.files import read_json
from core.training.record import read_metrics
from exporters.drawing.svg import lint_svg

ROOT = Path(__file__).resolve().parents[1]


def job(verb: str, *flags: object) -> str:
    """Run a verb as a person would; what it printed."""
    command = [sys.executable, str(ROOT / "jobs" / f"{verb}.py"), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


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


@pytest.mark.slow
@pytest.mark.realdata
def test_photographs_become_a_pack_though_training_is_killed(
    real_data: Path, tmp_path: Path
) -> None:
    job(
        *("prepare", "--source", real_data / "animals8", "--out", tmp_path / "data"),
        *("--classes", "cat", "fish", "--size-px", 32),
    )
    train = [
        *("--preset", "animals-64", "--data", tmp_path / "data", "--out", tmp_path / "run"),
        *("--steps", 24, "--batch-size", 8, "--evaluate-every", 8, "--checkpoint-every", 4),
        *("--warmup-steps", 4, "--log-every", 2),
    ]
    command = [sys.executable, str(ROOT / "jobs/train.py"), *map(str, train)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("checkpoints/step_*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "going on from step" in job("train", *train)
    rows = read_metrics(tmp_path / "run/metrics.jsonl")
    held_out = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
    assert [row["step"] for row in rows if "held_out_loss" in row] == [8, 16, 24]
    assert held_out[-1] < held_out[0]
    job(
        *("sample", "--run", tmp_path / "run", "--out", tmp_path / "samples"),
        *("--per-class", 2, "--steps", 8),
    )
    job(
        *("export", "--samples", tmp_path / "samples", "--out", tmp_path / "pack"),
        *("--min-psnr-db", 18, "--min-ssim", 0, "--max-edge-px", 50, "--cut-out", "none"),
    )
    pack = json.loads((tmp_path / "pack/pack.json").read_text())
    assert pack["stickers"]
    assert "DO NOT REDISTRIBUTE" in (tmp_path / "pack/LICENSE").read_text().upper()
