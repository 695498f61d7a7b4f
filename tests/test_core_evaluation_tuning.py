"""Tuning: the search by known landscapes, then a real run whose defaults it changes."""

import math
import shutil

import pytest

from core.diffusion.defaults import BUILT_IN
from core.diffusion.pipeline import ClassConditionalPipeline
from core.errors import UserError
from core.evaluation.tune import dataset_of
from core.evaluation.tuning import Cell, best_of, search
from core.files import read_json
from core.sampleset import open_sample_set
from core.training.loop import train
from jobs import sample
from tests.tiny import tiny_config, tiny_dataset


def cell(frechet, *, recognised=0.9, copies=0.0, count=64, seed=0, **settings):
    return Cell(
        settings={**BUILT_IN, **settings},
        count=count,
        first_seed=seed,
        frechet=frechet,
        recognised=recognised,
        copy_rate=copies,
        seconds=1.0,
    )


def test_of_nearly_the_same_distance_the_least_work_is_best_then_the_most_recognised():
    ours = cell(1.0)
    assert best_of([ours, cell(0.5, steps=35), cell(0.505, steps=18)], ours).work == 36
    assert best_of([ours, cell(0.5, steps=35), cell(0.52, steps=18)], ours).work == 70
    clear = cell(0.505, recognised=0.95, guide="early")
    assert best_of([ours, cell(0.5), clear], ours) == clear
    assert best_of([ours, cell(0.5, recognised=0.8), cell(0.5, copies=0.1)], ours) == ours


def landscape(settings, count, seed):
    """The nearer to guidance 2 up to 5, orthogonal, width 0.08, with 25 steps, the better."""
    misses = (
        abs(settings["guidance"] - 2),
        settings["guidance_interval"] != (0.2, 5.0),
        settings["guidance_parallel"],
        abs(settings["ema_width"] - 0.08) * 10,
        abs(math.log(settings["steps"] / 25)) + (settings["solver"] != "dpmpp-2m"),
    )
    if settings["ema_width"] == 0.03:
        return None  # too short an average for the snapshots
    return cell(1 + sum(misses), count=count, seed=seed, **settings)


def test_the_search_finds_the_best_and_confirms_it_on_other_seeds():
    asked = []

    def measure(settings, count, seed):
        asked.append((tuple(settings.items()), count, seed))
        return landscape(settings, count, seed)

    found = search(measure, {}, count=64, seed=5, early=True)
    assert found.best.settings == {
        **BUILT_IN,
        "guidance": 2.0,
        "guidance_interval": (0.2, 5.0),
        "guidance_parallel": 0.0,
        "ema_width": 0.08,
        "steps": 25,
    }
    assert len(asked) == len(set(asked)) <= 40
    assert found.ours.settings == BUILT_IN
    assert {(c.count, c.first_seed) for c in found.finals} == {(256, 69)}
    assert {(c.count, c.first_seed) for c in found.swept} == {(64, 5)}
    assert "early" not in {
        c.settings["guide"] for c in search(measure, {}, count=8, early=False).swept
    }


def test_what_is_stated_is_kept():
    stated = {"solver": "euler", "guidance": 1.0, "ema_width": 0.05}
    found = search(landscape, stated, count=64, early=True)
    for known in (*found.finals, *found.swept):
        assert {name: known.settings[name] for name in stated} == stated
    assert {known.settings["steps"] for known in found.swept} == {18, 35}
    assert {known.settings["guidance_parallel"] for known in found.swept} == {1.0}  # has no effect
    noisy = search(landscape, {"solver": "ddpm"}, count=64, early=True)
    assert {c.settings["steps"] for c in noisy.swept} >= {25, 50, 100}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning")
    dataset = tiny_dataset(folder / "data")
    config = tiny_config(data=folder / "data", steps=8, snapshots=4)
    train(config, dataset, folder / "run", cpu=True)
    return folder / "run"


STATED = (
    *("--solver", "euler", "--steps", "2", "--guide", "label", "--guidance-parallel", "1"),
    *("--guidance-interval", "0.2", "20", "--guidance", "2"),
)


def flags(run, *more):
    return ["--run", str(run), "--cluster", "inline", "--device", "cpu", *more]


@pytest.fixture
def drawn(monkeypatch):
    """Batches drawn so far, at the third of which the process is stopped."""
    batches = []
    draw = ClassConditionalPipeline.generate

    def counted(pipeline, labels, seeds, **how):
        batches.append(seeds[0])
        if len(batches) == 3:
            raise KeyboardInterrupt
        return draw(pipeline, labels, seeds, **how)

    monkeypatch.setattr(ClassConditionalPipeline, "generate", counted)
    return batches


def test_tuning_makes_the_models_defaults_and_goes_on_where_it_was(run, tmp_path, capsys, drawn):
    command = flags(run, "--tune-guidance", "--tune-samples", "8", "--batch-size", "8", *STATED)

    def kept():
        paths = [*(run / "tuning").rglob("*.json"), *(run / "tuning").rglob("*.safetensors")]
        return {path: path.stat().st_mtime_ns for path in paths}

    assert sample.main(command) == 130
    assert "defaults" not in (run / "model" / "README.md").read_text(encoding="utf-8")
    first = kept()
    assert sample.main(command) == 0
    assert first.items() <= kept().items()
    said = capsys.readouterr().out
    assert "settings of 8 pictures, then at most 4 of 32" in said
    assert "| settings | Fréchet distance | recognised | copies | pictures/s |" in said
    figures = [read_json(path) for path in kept() if path.parent.name == "tuning"]
    swept = [known for known in figures if known["count"] == 8]
    finals = [known for known in figures if known["count"] == 32]
    assert len(drawn) == 1 + len(swept) + 4 * len(finals)  # but for the one that was stopped

    defaults = read_json(run / "model" / "model_index.json")["defaults"]
    assert defaults in [known["settings"] for known in finals]
    assert (defaults["solver"], defaults["steps"], defaults["guidance"]) == ("euler", 2, 2.0)
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "Found by `--tune-guidance`" in card
    assert "**(best)**" in card
    assert sample.main(flags(run, "--per-class", "1", "--out", str(tmp_path / "set"))) == 0
    settings = open_sample_set(tmp_path / "set").settings
    assert {name: settings[name] for name in defaults} == defaults

    before, known = len(drawn), kept()
    assert sample.main(command) == 0
    assert (len(drawn), kept()) == (before, known)
    assert read_json(run / "model" / "model_index.json")["defaults"] == defaults


def test_what_cannot_be_tuned_is_one_error(run, tmp_path, capsys):
    def complaint(*more):
        assert sample.main(flags(run, *more)) == 2
        return capsys.readouterr().err

    assert "--data goes with --tune-guidance" in complaint("--data", "x")
    assert "draws all classes" in complaint("--tune-guidance", "--labels", "cat")
    assert "width of 0.01 cannot be made" in complaint("--tune-guidance", "--ema-width", "0.01")
    assert "must be 8 or more" in complaint("--tune-guidance", "--tune-samples", "7")
    assert "is not a pinned dataset" in complaint("--tune-guidance", "--data", str(tmp_path))
    moved = tmp_path / "moved"
    shutil.copytree(run, moved, ignore=shutil.ignore_patterns("tuning", "checkpoints"))
    (moved / "data.json").unlink()
    with pytest.raises(UserError, match="name the pinned dataset: --data"):
        dataset_of(moved, None)
    assert dataset_of(run, None).digest == read_json(run / "data.json")["digest"]
