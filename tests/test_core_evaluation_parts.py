"""Evaluations in parts: the same figures whoever makes them, one classifier, and a threshold."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.evaluation.config import EvaluateConfig
from core.evaluation.parts import EvaluateParts
from core.files import digest_file, read_json
from core.parts import make_everything, make_parts
from core.sampleset import Sample
from exporters.config import ExportConfig
from exporters.parts import ExportParts
from jobs import evaluate
from tests.samplesets import animal, write_sample_set
from tests.tiny import tiny_dataset
from tests.verbs import trouble_of

ROOT = Path(__file__).resolve().parents[1]
FILES = ("recognition.json", "recognised.jsonl", "kept.json", "metrics.json", "report.html")
MAKE = """
import sys
from pathlib import Path
from core.evaluation.config import EvaluateConfig
from core.evaluation.parts import EvaluateParts
from core.parts import make_parts

samples, data, out, *parts = sys.argv[1:]
config = EvaluateConfig(samples=Path(samples), data=Path(data), epochs=10, draws=2, vectorise=0)
make_parts(EvaluateParts(config, Path(out)), map(int, parts))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "animals").folder


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Cats and fish in three shards, one of them another size; the last cat is a fish."""
    shards = [
        [animal("cat", 1), animal("fish", 2), animal("cat", 3)],
        [animal("fish", 4, 48), animal("fish", 5)],
        [animal("cat", 6), Sample(image_hwc=animal("fish", 7).image_hwc, label="cat", seed=7)],
    ]
    return write_sample_set(tmp_path_factory.mktemp("sets") / "set", shards).folder


def config(samples, data, **changes):
    values = {"samples": samples, "data": data, "epochs": 10, "draws": 2, "vectorise": 0}
    return EvaluateConfig(**{**values, **changes})


@pytest.fixture(scope="module")
def whole(samples, data, tmp_path_factory):
    """The figures made in one go by one process."""
    out = tmp_path_factory.mktemp("whole") / "recognition.json"
    make_everything(EvaluateParts(config(samples, data), out))
    return out


def rows(out):
    text = out.with_name("recognised.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_figures_and_each_picture_are_told(whole, samples):
    figures, told = read_json(whole), rows(whole)
    assert sorted(path.name for path in whole.parent.iterdir()) == sorted(FILES)
    assert [row["seed"] for row in told] == [1, 2, 3, 4, 5, 6, 7]
    right = [row["seed"] for row in told if row["guess"] == row["label"]]
    assert figures["count"] == 7
    assert figures["recognised"] == len(right) / 7
    assert figures["count_by_class"] == {"cat": 4, "fish": 3}
    assert 0 <= figures["held_out_accuracy"] <= 1
    assert figures["sample_set"] == read_json(samples / "sampleset.json")["digest"]
    assert figures["copy_rate"] == sum(row["copy"] for row in told) / 7
    assert figures["frechet"] > 0
    assert figures["frechet_floor"] > 0
    assert figures["frechet_floor_count"] == 7
    kept = read_json(whole.with_name("kept.json"))
    assert kept["seeds"] == right
    assert kept["sample_set"] == figures["sample_set"]
    assert all(0.5 <= row["confidence"] <= 1 for row in told)  # of two classes


def test_evaluations_in_one_folder_have_files_of_their_own(samples, data, tmp_path):
    config = EvaluateConfig(samples=(samples,), data=data)
    seen = set()
    for name in ("recognition.json", "cats.json", "dogs.json"):
        work = EvaluateParts(config, tmp_path / name)
        files = {work.metrics_path, work.report_path, work.pictures_path, work.kept_path}
        assert not files & seen
        seen |= files
    assert tmp_path / "cats-report.html" in seen
    assert tmp_path / "report.html" in seen


@pytest.mark.slow
def test_three_processes_tell_the_same(whole, samples, data, tmp_path):
    out = tmp_path / "recognition.json"
    environments = [{"OMP_NUM_THREADS": str(1 + number)} for number in range(3)]
    command = [sys.executable, "-c", MAKE, str(samples), str(data), str(out)]
    with contextlib.ExitStack() as stack:
        makers = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, str(part)],
                    env={**os.environ, **environments[part], "PYTHONPATH": str(ROOT)},
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for part in range(3)
        ]
        said = [maker.communicate(timeout=120)[1] for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0, 0], said
    assert sum("learning the classes" in text for text in said) == 1  # one trained for all
    for name in FILES:
        assert (tmp_path / name).read_bytes() == whole.with_name(name).read_bytes()
    assert not list(tmp_path.glob(".evaluate-*/part-*"))


def test_an_interrupted_evaluation_neither_trains_nor_judges_again(
    whole, samples, data, tmp_path, monkeypatch
):
    out = tmp_path / "recognition.json"
    first = EvaluateParts(config(samples, data), out)
    make_parts(first, [1])
    kept = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.*") if path.is_file()}
    assert {path.name for path in kept} >= {"network.safetensors", "part-00001.json"}
    second = EvaluateParts(config(samples, data), out)
    monkeypatch.setattr(second, "finish", lambda: None)
    make_everything(second)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    make_everything(EvaluateParts(config(samples, data), out))
    for name in FILES:
        assert (tmp_path / name).read_bytes() == whole.with_name(name).read_bytes()


def copy_of(whole, folder):
    for name in FILES:
        (folder / name).write_bytes(whole.with_name(name).read_bytes())
    return folder / "recognition.json"


def test_another_confidence_sorts_out_again_without_a_classifier(whole, samples, data, tmp_path):
    out = copy_of(whole, tmp_path)
    digest = digest_file(tmp_path / "recognised.jsonl")
    sure = sorted(row["confidence"] for row in rows(out) if row["guess"] == row["label"])[-1]
    strict = EvaluateParts(config(samples, data, min_confidence=sure), out)
    assert not strict.finished()
    assert strict.missing() == []
    make_everything(strict)
    kept = read_json(strict.kept_path)["seeds"]
    assert kept == [
        row["seed"]
        for row in rows(out)
        if row["guess"] == row["label"] and row["confidence"] >= sure
    ]
    assert 0 < len(kept) < 7
    assert digest_file(tmp_path / "recognised.jsonl") == digest
    assert strict.figures()["recognised"] == read_json(whole)["recognised"]


def test_rows_that_were_altered_are_judged_again(whole, samples, data, tmp_path):
    out = copy_of(whole, tmp_path)
    (tmp_path / "recognised.jsonl").write_text("")
    work = EvaluateParts(config(samples, data, min_confidence=0.9), out)
    assert work.missing() == [0, 1, 2]


def test_too_few_recognised_is_an_error_each_time_with_the_figures_there(
    whole, samples, data, tmp_path
):
    out = copy_of(whole, tmp_path)
    work = EvaluateParts(config(samples, data, min_recognised=1.0), out)
    complaint = r"of 7 samples are recognised, fewer than --min-recognised 100\.0%; worst is \w+"
    for _ in range(2):
        assert not work.finished()
        with pytest.raises(UserError, match=complaint):
            make_everything(work)
        with pytest.raises(UserError, match=complaint):
            make_parts(work, [0])
    assert work.has_figures()
    assert EvaluateParts(config(samples, data), out).finished()


def test_what_is_kept_is_what_export_takes(whole, samples, tmp_path):
    only = ExportConfig(samples=samples, only=whole.with_name("kept.json"))
    kept = read_json(whole.with_name("kept.json"))["seeds"]
    assert sum(ExportParts(only, tmp_path / "pack")._selection.counts()) == len(kept)


def test_the_job_prints_the_figures_and_fails_below_the_threshold(
    whole, samples, data, tmp_path, capsys
):
    out = copy_of(whole, tmp_path)
    flags = ["--samples", samples, "--data", data, "--out", out, "--epochs", 10, "--draws", 2]
    flags += ["--vectorise", 0]
    flags = [*map(str, flags), "--cluster", "inline"]
    assert evaluate.main(flags) == 0
    said = capsys.readouterr().out
    assert "finished already" in said
    assert "of 7 samples (the classifier is right on" in said
    assert "Fréchet distance: " in said
    assert "7 held-out pictures are at " in said
    assert "copies of training pictures: " in said
    assert f"figures: {out}" in said
    assert f"kept: {tmp_path / 'kept.json'}" in said
    assert "next: python jobs/export.py" in said
    assert evaluate.main([*flags, "--min-recognised", "1"]) == 2
    said = capsys.readouterr()
    assert "recognised: " in said.out
    assert "next: " not in said.out
    assert said.err.splitlines()[-1].startswith("evaluate: error: ")


def test_planning_an_evaluation_loads_no_torch(samples, data, tmp_path):
    code = (
        "import sys; from pathlib import Path; "
        "from core.evaluation.config import EvaluateConfig as C; "
        "from core.evaluation.parts import EvaluateParts; a = list(map(Path, sys.argv[1:])); "
        "work = EvaluateParts(C(samples=a[0], data=a[1]), a[2]); work.begin(); "
        "assert work.missing() == [0, 1, 2]; assert 'torch' not in sys.modules"
    )
    assert trouble_of(code, samples, data, tmp_path / "figures.json") == ""


def test_a_dataset_that_does_not_fit_is_one_error(samples, data, tmp_path):
    with pytest.raises(UserError, match="not a finished sample set"):
        EvaluateParts(config(tmp_path / "none", data))
    dog = write_sample_set(tmp_path / "dog", [[animal("dog", 1)]]).folder
    with pytest.raises(UserError, match="has no class 'dog', which the samples have"):
        EvaluateParts(config(dog, data))
    opaque = Sample(image_hwc=np.zeros((8, 8, 3), dtype=np.uint8), label="cat", seed=0)
    flat = write_sample_set(tmp_path / "flat", [[opaque]]).folder
    with pytest.raises(UserError, match="3 channels, but the classifier learned from 4"):
        make_everything(EvaluateParts(config(flat, data, epochs=1)))


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"min_confidence": 1.1}, {"min_recognised": float("nan")}]
)
def test_senseless_settings_are_refused(changes):
    (name,) = changes
    with pytest.raises(UserError, match=name.replace("_", "-")):
        config(Path("s"), Path("d"), **changes)
