"""train_upscaler: small pictures, few steps, real networks, and what goes wrong in between."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from core.data.prepare import PrepareConfig, prepare
from core.files import digest_file
from exporters.training.config import UpscalerConfig
from jobs.train_upscaler import main

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = (
    *("--features", "4", "--convolutions", "1", "--steps", "6", "--batch-size", "2"),
    *("--patch-px", "8", "--checkpoint-every", "3", "--log-every", "2", "--threads", "1"),
    *("--held-out", "2", "--cluster", "inline", "--cpu"),
)


def run(out, *flags):
    return main([*TINY, "--per-class", "1", "--out", str(out), *map(str, flags)])


def photographs(folder, count=5, size=(48, 40)):
    folder.mkdir()
    for number in range(count):
        dice = np.random.default_rng(number)
        coarse = dice.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(
            folder / f"{number}.png"
        )
    return folder


def the_line(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


def test_a_dry_run_prints_the_config_and_makes_nothing(tmp_path, capsys):
    assert run(tmp_path / "run", "--dry-run") == 0
    assert json.loads(capsys.readouterr().out)["channels"] == 4
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_training_ends_with_weights_that_spandrel_loads_and_is_left_alone_then(tmp_path, capsys):
    from exporters.superres import load_upscaler

    assert run(tmp_path / "run") == 0
    model = tmp_path / "run" / "model"
    assert f"model: {model}/upscaler.safetensors" in capsys.readouterr().out
    plain, published = (load_upscaler(model / f"upscaler.{end}") for end in ("safetensors", "pth"))
    assert plain[1:] == published[1:] == (4, 4)
    import torch

    batch = torch.rand(1, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain.model(batch), published.model(batch))
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [2, 3, 4, 6]
    assert [row["step"] for row in rows if "held_out_psnr_db" in row] == [3, 6]
    before = (model / "upscaler.pth").read_bytes()
    assert run(tmp_path / "run") == 0
    assert "finished already" in capsys.readouterr().out
    assert (model / "upscaler.pth").read_bytes() == before
    assert run(tmp_path / "run", "--steps", "7") == 2
    assert "holds a training with other settings, {'steps': 6}" in the_line(capsys)


@pytest.mark.slow
def test_a_training_begins_from_published_weights_and_says_so(tmp_path, capsys):
    assert run(tmp_path / "first", "--steps", "3") == 0
    weights = tmp_path / "first" / "model" / "upscaler.pth"
    # So small a rate that what comes out is what went in, but for rounding.
    more = ("--init-from", weights, "--learning-rate", "1e-7", "--steps", "3")
    assert run(tmp_path / "second", *more) == 0
    before, after = (
        load_file(tmp_path / name / "model" / "upscaler.safetensors")
        for name in ("first", "second")
    )
    assert all(np.allclose(before[name], after[name], atol=1e-5) for name in before)
    facts = json.loads((tmp_path / "second" / "model" / "upscaler.json").read_text())
    assert facts["init_from"] == digest_file(weights)
    assert facts["config"]["init_from"] == "upscaler.pth"  # no folder of this machine
    capsys.readouterr()
    assert run(tmp_path / "third", "--init-from", weights, "--features", "5") == 2
    assert "upscaler.pth does not fit the network" in the_line(capsys)
    assert run(tmp_path / "fourth", "--init-from", "/nowhere.pth") == 2
    assert "--init-from /nowhere.pth does not exist" in the_line(capsys)


@pytest.mark.slow
def test_a_training_told_to_stop_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    from exporters.training import loop

    undisturbed, stopped = tmp_path / "a", tmp_path / "b"
    assert run(undisturbed, "--steps", "24", "--log-every", "8") == 0
    real_step = loop._one_step

    def one_step(state, *rest):
        if state.step == 4:  # between checkpoints and between rows of the metrics
            os.kill(os.getpid(), signal.SIGTERM)
        real_step(state, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_one_step", one_step)
        assert run(stopped, "--steps", "24", "--log-every", "8") == 130
    assert sorted(path.name for path in (stopped / "checkpoints").glob("step_*")) == [
        *("step_00000003", "step_00000005"),
    ]
    assert not (stopped / "model").exists()
    assert run(stopped, "--steps", "24", "--log-every", "8") == 0
    for name in ("upscaler.safetensors", "upscaler.pth", "upscaler.json"):
        assert (stopped / "model" / name).read_bytes() == (
            undisturbed / "model" / name
        ).read_bytes()


@pytest.mark.slow
def test_photographs_of_a_folder_and_a_pinned_dataset_train_together(tmp_path, capsys):
    from exporters.superres import load_upscaler

    folder = photographs(tmp_path / "photos")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    Image.fromarray(np.zeros((9, 9, 3), dtype=np.uint8)).save(folder / "tiny.png")
    pinned = tmp_path / "pinned"
    prepare(PrepareConfig(source="starter", size_px=32, per_class=1), pinned)
    out = tmp_path / "run"
    preset = ("--preset", "photographs", "--data", folder, pinned)
    assert run(out, *preset) == 0
    assert load_upscaler(out / "model" / "upscaler.safetensors").channels == 3
    facts = json.loads((out / "data.json").read_text())
    assert facts["train"] + facts["held_out"] >= 5 + 1
    capsys.readouterr()
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(folder / "0.png")
    (out / "model").rename(tmp_path / "elsewhere")
    assert run(out, *preset) == 2
    assert "changed since it began" in the_line(capsys)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--preset", "photographs"], "needs --data, a folder of photographs"),
        (["--data", "/nowhere"], "/nowhere is no folder: give --data a folder of pictures"),
        (["--patch-px", "4"], "--patch-px is 4: from 8 to 256"),
        (["--channels", "2"], "--channels"),
        (["--loss", "guess"], "--loss"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, capsys, flags, complaint):
    assert run(tmp_path / "run", *flags) == 2
    assert complaint in the_line(capsys)
    assert not (tmp_path / "run" / "model").exists()


def test_pictures_that_are_all_too_small_are_one_line(tmp_path, capsys):
    folder = photographs(tmp_path / "photos", size=(31, 31))
    assert run(tmp_path / "run", "--data", folder) == 2
    line = the_line(capsys)
    assert "0 pictures are at least 32 px high and wide and 5 are not; 3 or more" in line


def test_without_basicsr_one_line_says_how_to_install_it(tmp_path):
    code = (
        "import sys; sys.modules['basicsr'] = None; from jobs.train_upscaler import main; "
        f"sys.exit(main({[*TINY, '--per-class', '1', '--out', str(tmp_path / 'run')]!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "pip install --no-build-isolation --no-deps basicsr==1.4.2" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_step_draws_the_same_pairs_each_time_and_spoils_only_the_small_ones():
    from core.data.starter import draw_animal
    from core.images import premultiply
    from exporters.training.patches import draw_batch, shrink

    pictures = [premultiply(draw_animal("fish", seed, 128)) for seed in range(3)]
    config = UpscalerConfig(batch_size=8, patch_px=16)
    small, large = draw_batch(pictures, config, 5)
    again, _ = draw_batch(pictures, config, 5)
    other, _ = draw_batch(pictures, config, 6)
    np.testing.assert_array_equal(small, again)
    assert not np.array_equal(small, other)
    assert (small.shape, large.shape) == ((8, 4, 16, 16), (8, 4, 64, 64))
    for batch in (small, large):
        assert (batch[:, :3] <= batch[:, 3:]).all()
        assert batch.min() >= 0
        assert batch.max() <= 1
    clean = UpscalerConfig(batch_size=8, patch_px=16, spoilt=0.0)
    small, large = draw_batch(pictures, clean, 5)
    for one, whole in zip(small, large, strict=True):
        levels = np.rint(whole.transpose(1, 2, 0) * 255).astype(np.uint8)
        versions = [shrink(levels, shrinking="area", in_light=light) for light in (False, True)]
        wanted = [np.abs(version / 255 - one.transpose(1, 2, 0)).max() for version in versions]
        assert min(wanted) < 1e-6
