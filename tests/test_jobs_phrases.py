"""The phrases job: words for classes or for the pictures of a sample set."""

import dataclasses
import json

import pytest

from core.pretrained.phrases.speech import speak
from core.pretrained.phrases.work import open_phrases
from core.sampleset import finish_sample_set, shard_name, write_shard
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


@pytest.mark.parametrize("key", ["sk-proj-abc_123", "k" * 65, "a b"])
def test_a_key_given_for_the_name_of_its_variable_is_not_repeated(tmp_path, capsys, key):
    assert run(tmp_path / "out", "--classes", "cat", "--key-env", key) == 2
    seen = capsys.readouterr()
    assert "--key-env is no environment variable's name" in seen.err
    assert key not in seen.out + seen.err
    assert not (tmp_path / "out").exists()


def test_a_shard_whose_classes_are_no_names_is_one_line(tmp_path, capsys):
    write_sample_set(tmp_path / "s", [[animal("cat", 3)]])
    shard = tmp_path / "s" / shard_name(0)
    write_shard(shard, [dataclasses.replace(animal("cat", 3), label="../cat")])
    names = [shard_name(0)]
    finish_sample_set(
        tmp_path / "s", count=1, labels=["cat"], settings={}, parents={}, shards=names
    )
    assert run(tmp_path / "out", "--samples", str(tmp_path / "s")) == 2
    error = capsys.readouterr().err
    assert "'../cat' is no class's name" in error
    assert error.count("\n") == 1


def test_other_settings_do_not_overwrite_phrases(tmp_path, capsys):
    assert run(tmp_path / "out", "--classes", "cat") == 0
    assert run(tmp_path / "out", "--classes", "dog") == 2
    assert "name another --out" in capsys.readouterr().err
