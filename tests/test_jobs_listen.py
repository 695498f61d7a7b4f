"""Listening on the command line, and drawing the class that a sound names."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.audio import write_wav
from core.sampleset import open_sample_set
from core.training.loop import train
from jobs import listen, sample
from tests.hearing import write_call, write_tagger
from tests.tiny import tiny_config, tiny_dataset


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows cats and fish."""
    folder = tmp_path_factory.mktemp("tiny")
    dataset = tiny_dataset(folder / "data")
    train(tiny_config(data=folder / "data", steps=2), dataset, folder / "run", cpu=True)
    return folder / "run"


def flags(run: Path, audio: Path, tagger: Path, out: Path, *more: str) -> list[str]:
    small = ["--per-class", "3", "--steps", "2", "--device", "cpu", "--cluster", "inline"]
    given = ["--run", str(run), "--from-audio", str(audio), "--yamnet", str(tagger)]
    return [*given, "--out", str(out), *small, *more]


def test_listening_says_what_was_heard_and_where(
    tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_call(tmp_path / "rex.wav", "Dog", "Animal")
    given = ["--audio", str(path), "--out", str(tmp_path / "heard"), "--yamnet", str(tagger)]
    assert listen.main(given) == 0
    said = capsys.readouterr().out
    assert "rex.wav: Dog 0.9" in said
    assert "class: dog; prompt: a dog sticker, plain background" in said
    assert f"--from-audio {path} --run RUN" in said
    folder = tmp_path / "heard" / "rex.wav"
    assert {"timeline.html", "timeline.json", "timeline.svg"} <= {p.name for p in folder.iterdir()}
    assert listen.main(given) == 0
    assert "(there already)" in capsys.readouterr().out


def test_the_classes_of_a_run_are_looked_for(
    run: Path, tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_call(tmp_path / "rex.wav", "Dog")
    given = ["--audio", str(path), "--out", str(tmp_path / "heard"), "--yamnet", str(tagger)]
    assert listen.main([*given, "--run", str(run)]) == 0
    assert "class: none" in capsys.readouterr().out


def test_a_sound_that_is_none_is_one_line_and_exit_code_2(
    tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "notes.mp3"
    notes.write_text("no sound at all")
    good = write_call(tmp_path / "rex.wav", "Dog")
    out = tmp_path / "heard"
    audio = ["--audio", str(good), str(notes), "--yamnet", str(tagger)]
    assert listen.main([*audio, "--out", str(out)]) == 2
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint.startswith("listen: error: ")
    assert "notes.mp3 is no sound file" in complaint
    assert (out / "rex.wav" / "timeline.json").exists()
    assert not (out / "notes.mp3").exists()


def test_without_weights_one_line_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--audio", "a.wav", "--yamnet", str(tmp_path / "gone.tflite")]
    assert listen.main([*given, "--out", str(tmp_path / "heard")]) == 2
    assert "give --yamnet PATH or set MENAGERIE_YAMNET" in capsys.readouterr().err


def test_a_meow_is_drawn_as_a_cat_and_the_set_tells_why(
    run: Path, tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meow = write_call(tmp_path / "meow.wav", "Meow")
    out = tmp_path / "samples"
    assert sample.main(flags(run, meow, tagger, out)) == 0
    assert "heard: Meow (0.9" in capsys.readouterr().out
    made = open_sample_set(out, verify=True)
    assert [one.label for one in made.samples()] == ["cat"] * 3
    sound = made.parents["sound"]
    assert (sound["label"], sound["category"]) == ("cat", "Meow")
    assert sound["score"] > 0.9
    assert len(sound["sha256"]) == len(sound["yamnet"]) == 64
    assert json.loads((out / "plan.json").read_text())["parents"]["sound"] == sound
    before = (out / "sampleset.json").read_bytes()
    assert sample.main(flags(run, meow, tagger, out)) == 0
    assert (out / "sampleset.json").read_bytes() == before

    by_name = ["--run", str(run), "--classes", "cat", "--out", str(tmp_path / "named")]
    small = ["--per-class", "3", "--steps", "2", "--device", "cpu", "--cluster", "inline"]
    assert sample.main([*by_name, *small]) == 0
    named = list(open_sample_set(tmp_path / "named").samples())
    for one, other in zip(made.samples(), named, strict=True):
        assert np.array_equal(one.image_hwc, other.image_hwc)

    purr = tmp_path / "other.wav"
    write_call(purr, "Meow", "Animal")
    assert sample.main(flags(run, purr, tagger, out)) == 2
    assert "samples of another run or settings" in capsys.readouterr().err


def test_a_set_that_was_begun_keeps_to_what_was_heard_then(
    run: Path, tagger: Path, tmp_path: Path
) -> None:
    meow = write_call(tmp_path / "meow.wav", "Meow")
    out = tmp_path / "samples"
    assert sample.main(flags(run, meow, tagger, out, "--shard-size", "2")) == 0
    plan = json.loads((out / "plan.json").read_text())
    plan["parents"]["sound"]["score"] = 0.97  # as another processor may round it
    (out / "plan.json").write_text(json.dumps(plan))
    (out / "sampleset.json").unlink()
    (out / "data" / "part-00001.parquet").unlink()
    assert sample.main(flags(run, meow, tagger, out, "--shard-size", "2")) == 0
    assert open_sample_set(out).parents["sound"]["score"] == 0.97


def test_no_class_that_fits_ends_with_the_top_categories(
    run: Path, tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guitar = write_call(tmp_path / "song.wav", "Acoustic guitar", "Dog")
    assert sample.main(flags(run, guitar, tagger, tmp_path / "samples")) == 2
    complaint = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint.startswith("sample: error: song.wav sounds like ")
    assert "Acoustic guitar 0.9" in complaint
    assert "names a class of this model (cat, fish)" in complaint
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--classes", "cat"], "--from-audio chooses the class: leave out --classes"),
        (["--tune-guidance"], "leave out --classes, --labels, --from-audio, --out"),
    ],
)
def test_what_chooses_classes_too_is_refused(
    more: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sample.main(["--run", "r", "--from-audio", "a.wav", *more]) == 2
    assert complaint in capsys.readouterr().err
    assert sample.main(["--run", "r", "--yamnet", "y.tflite"]) == 2
    assert "--yamnet goes with --from-audio" in capsys.readouterr().err


def test_each_sound_has_a_folder_of_samples_of_its_own(
    run: Path, tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        path = write_call(tmp_path / f"{name}.wav", "Meow", seconds=seconds)
        given = [flag for flag in flags(run, path, tagger, Path("x")) if flag not in ("--out", "x")]
        assert sample.main(given) == 0
    assert len(list((tmp_path / "samples").iterdir())) == 2


@pytest.mark.realdata
def test_a_real_cat_is_drawn_by_a_model_that_knows_cats(
    run: Path, real_data: Path, tmp_path: Path
) -> None:
    weights = real_data / "weights" / "yamnet.tflite"
    cat = real_data / "audio" / "cat_0.wav"
    assert sample.main(flags(run, cat, weights, tmp_path / "samples")) == 0
    assert {one.label for one in open_sample_set(tmp_path / "samples").samples()} == {"cat"}


def test_a_set_names_its_sound_by_digest_alone(run: Path, tagger: Path, tmp_path: Path) -> None:
    path = write_call(tmp_path / "voice of a person.wav", "Meow")
    assert sample.main(flags(run, path, tagger, tmp_path / "samples")) == 0
    assert "voice of a person" not in (tmp_path / "samples" / "plan.json").read_text()


def test_silence_draws_nothing(
    run: Path, tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "none.wav", np.zeros(16_000, np.float32), 16_000)
    given = flags(run, tmp_path / "none.wav", tagger, tmp_path / "samples")
    assert sample.main(given) == 2
    assert "none of it names a class of this model" in capsys.readouterr().err
