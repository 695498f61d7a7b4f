"""The phrases job: words for classes or for the pictures of a sample set."""

import json

import pytest

from core.pretrained.phrases.speech import speak
from core.pretrained.phrases.work import open_phrases
from jobs import phrases
from tests.samplesets import animal, write_sample_set


def run(out, *flags):
    return phrases.main(["--out", str(out), *flags])


def test_classes_get_phrases_a_page_and_the_same_bytes_again(tmp_path, capsys):
    flags = ("--classes", "cat", "dragon", "--per-class", "3", "--first-seed", "5")
    assert run(tmp_path / "a", *flags) == 0
    assert f"next: open {tmp_path / 'a' / 'index.html'}" in capsys.readouterr().out
    said = open_phrases(tmp_path / "a")
    assert list(said) == [(label, seed) for label in ("cat", "dragon") for seed in (5, 6, 7)]
    assert said["dragon", 6] == speak("dragon", 6)
    assert said["cat", 5] in (tmp_path / "a" / "index.html").read_text()
    assert run(tmp_path / "b", *flags) == 0
    for name in ("phrases.json", "index.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    before = (tmp_path / "a" / "phrases.json").stat().st_mtime_ns
    assert run(tmp_path / "a", *flags) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (tmp_path / "a" / "phrases.json").stat().st_mtime_ns == before


def test_each_picture_of_a_sample_set_gets_its_phrase(tmp_path):
    made = write_sample_set(tmp_path / "s", [[animal("cat", 3)], [animal("fish", 9)]])
    assert run(tmp_path / "out", "--samples", str(tmp_path / "s")) == 0
    assert list(open_phrases(tmp_path / "out")) == [("cat", 3), ("fish", 9)]
    assert json.loads((tmp_path / "out" / "phrases.json").read_text())["samples"] == made.digest


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ([], "either --samples SAMPLE_SET or --classes"),
        (["--classes", "../cat"], "is no class's name"),
        (["--classes", "cat", "cat"], "named twice"),
        (["--classes", "cat", "--base-url", "http://localhost/v1"], "--base-url and --model"),
        (["--classes", "cat", "--temperature", "nan"], "--temperature is nan"),
        (["--classes", "cat", "--max-cost", "1"], "--max-cost needs prices"),
        (["--samples", "/nowhere"], "is not a finished sample set"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, capsys, flags, complaint):
    assert run(tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_other_settings_do_not_overwrite_phrases(tmp_path, capsys):
    assert run(tmp_path / "out", "--classes", "cat") == 0
    assert run(tmp_path / "out", "--classes", "dog") == 2
    assert "name another --out" in capsys.readouterr().err
