"""Sets, runs and folders side by side: all figures in metrics.json, and a report for people."""

import shutil

import numpy as np
import pytest
import torch

from core.data.pinned import open_pinned
from core.data.starter import draw_animal
from core.files import read_json
from core.images import png_bytes
from core.sampleset import Sample
from core.training.loop import train
from jobs import evaluate
from tests.samplesets import animal, write_sample_set
from tests.tiny import tiny_config, tiny_dataset

QUICK = ["--epochs", "4", "--draws", "2", "--per-class", "3", "--cluster", "inline"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "animals", per_split=8).folder


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    rows = [animal(label, seed) for seed in range(500, 512) for label in ("cat", "fish")]
    return write_sample_set(tmp_path_factory.mktemp("sets") / "fresh", [rows[:9], rows[9:]]).folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noisy opaque pictures of another size, in class folders, one of them damaged."""
    root = tmp_path_factory.mktemp("pictures") / "noisy"
    noise = np.random.default_rng(0)
    for label in ("cat", "fish"):
        for seed in range(8):
            picture = draw_animal(label, 700 + seed, 40)[..., :3]
            spoilt = np.clip(picture + noise.normal(0, 70, picture.shape), 0, 255)
            path = root / label / f"{seed}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png_bytes(spoilt.astype(np.uint8)))
    (root / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return root


@pytest.fixture(scope="module")
def compared(data, samples, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "both" / "metrics.json"
    argv = ["--samples", str(samples), str(folder), "--data", str(data), "--out", str(out)]
    assert evaluate.main([*argv, *QUICK, "--vectorise", "2"]) == 0
    return out


def test_two_sets_are_compared_at_one_count_with_floor_and_spread(compared):
    metrics = read_json(compared)
    fresh, noisy = metrics["sets"]
    assert (fresh["kind"], noisy["kind"]) == ("sample set", "pictures")
    assert (fresh["count"], noisy["count"], noisy["left_out"]) == (24, 16, 1)
    assert len(metrics["features"]["digest"]) == 64
    for name in ("frechet", "kernel", "precision", "coverage"):
        figure, other = fresh["figures"][name], noisy["figures"][name]
        assert figure["equal_count"] == other["equal_count"] == 8
        assert figure["floor_count"] == 24
        assert figure["draws"] == 2
        assert figure["drawn_std"] > 0 or name != "frechet"
        assert figure["floor_drawn_mean"] == pytest.approx(other["floor_drawn_mean"], rel=0.5)
    assert fresh["figures"]["frechet"]["drawn_mean"] < noisy["figures"]["frechet"]["drawn_mean"]
    assert noisy["figures"]["precision"]["value"] < fresh["figures"]["precision"]["value"]
    assert fresh["vectorisability"]["drawn"] == 2
    assert metrics["vectorisability_floor"]["count"] == 2
    assert set(noisy["classes"]) == {"cat", "fish"}
    assert [row["closeness"] for row in fresh["copies"]["closest"]] == sorted(
        row["closeness"] for row in fresh["copies"]["closest"]
    )


def test_the_report_is_one_file_with_every_part(compared):
    text = compared.with_name("report.html").read_text(encoding="utf-8")
    titles = ("Figures", "Classes", "Pictures to look at", "Copies", "As flat SVGs")
    for title in (*titles, "What made these figures"):
        assert f"<h2>{title}</h2>" in text
    assert "Evaluation of fresh and noisy" in text
    assert "fresh is nearest to the training pictures" in text
    assert "cat/0.png" in text or "cat/1.png" in text  # a picture is named by its file
    assert "http" not in text.replace("http://www.w3.org", "").split("<body>")[1]
    assert "1 damaged ones left out" in text


@pytest.mark.slow
def test_it_is_done_once_and_the_same_inputs_give_the_same_bytes(
    compared, data, samples, folder, tmp_path, capsys
):
    inputs = ["--samples", str(samples), str(folder), "--data", str(data)]
    argv = [*inputs, *QUICK, "--vectorise", "2", "--out"]
    assert evaluate.main([*argv, str(compared)]) == 0
    assert "finished already" in capsys.readouterr().out
    again = tmp_path / "metrics.json"
    assert evaluate.main([*argv, str(again)]) == 0
    for name in ("metrics.json", "report.html", "recognised.jsonl"):
        assert (tmp_path / name).read_bytes() == compared.with_name(name).read_bytes()


def test_pictures_without_classes_are_measured_without_recognising_them(data, folder, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for place, path in enumerate(sorted((folder / "cat").glob("[0-9].png"))):
        shutil.copy(path, plain / f"{place}.png")
    out = tmp_path / "out" / "metrics.json"
    argv = ["--samples", str(plain), "--data", str(data), "--out", str(out), "--vectorise", "0"]
    assert evaluate.main([*argv, *QUICK]) == 0
    (one,) = read_json(out)["sets"]
    assert one["recognised"] is None
    assert one["classes"] == {}
    assert one["figures"]["frechet"]["value"] > 0
    assert one["vectorisability"] is None
    assert "state no classes" in out.with_name("report.html").read_text(encoding="utf-8")


def test_distances_in_dinov2s_features_name_its_weights(data, samples, tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, patch_size=14, image_size=224
    )
    Dinov2Model(config).save_pretrained(tmp_path / "dinov2")
    out = tmp_path / "out" / "recognition.json"
    argv = ["--samples", str(samples), "--data", str(data), "--out", str(out), "--vectorise", "0"]
    argv += ["--features", "dinov2", "--weights", str(tmp_path / "dinov2")]
    assert evaluate.main([*argv, *QUICK]) == 0
    metrics, ours = read_json(out.with_name("metrics.json")), read_json(out)
    assert metrics["features"]["kind"] == "dinov2"
    assert metrics["features"]["dimensions"] == 24
    assert metrics["features"]["digest"] != metrics["classifier"]["digest"] == ours["classifier"]
    (one,) = metrics["sets"]
    assert one["figures"]["frechet"]["value"] != ours["frechet"]  # the chain's, in our own features
    assert one["figures"]["score"]["value"] is None  # DINOv2 has no classes


@pytest.mark.slow
def test_a_run_is_what_it_draws_and_how_it_denoises(data, tmp_path, capsys):
    run = tmp_path / "run"
    train(tiny_config(), open_pinned(data), run)
    argv = ["--samples", str(run), "--data", str(data), *QUICK, "--vectorise", "0"]
    assert evaluate.main(argv) == 0
    out = run / "evaluation" / "metrics.json"
    (one,) = read_json(out)["sets"]
    assert (one["kind"], one["count"]) == ("run", 6)
    loss = one["held_out_loss"]
    assert set(loss["by_class"]) == {"cat", "fish"}
    assert set(loss["by_level"]) == {"0.1", "0.3", "1", "3", "10"}
    assert loss["mean"] == pytest.approx(sum(loss["by_level"].values()) / 5)
    assert "Held-out denoising loss" in out.with_name("report.html").read_text(encoding="utf-8")
    assert len(list(out.parent.glob("drawn-*/sampleset.json"))) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--out", "x.json", "--samples", "nowhere"], "nowhere is not a finished sample set"),
        ([], "name a file for them, --out FOLDER/metrics.json"),
        (["--out", "x.json", "--draws", "1"], "--draws is 1; it must be 2 or more"),
        (["--out", "x.json", "--weights", "w"], "--weights goes with --features"),
        (["--out", "x.json", "--features", "inception"], "fetch https://"),
    ],
)
def test_what_cannot_be_is_one_line(changes, said, data, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["--samples", str(folder), "--data", str(data), "--cluster", "inline", "--epochs", "1"]
    assert evaluate.main([*argv, *changes]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("evaluate: error: ")
    assert said in last


def test_a_class_that_the_dataset_has_not_is_named(data, tmp_path):
    dog = Sample(image_hwc=draw_animal("dog", 1, 32), label="dog", seed=1)
    other = write_sample_set(tmp_path / "dogs", [[dog]]).folder
    assert evaluate.main(["--samples", str(other), "--data", str(data), *QUICK]) == 2
