"""The calls job: a sound for classes or for the pictures of a sample set."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import UserError
from core.pretrained.calls.work import open_calls
from core.sampleset import finish_sample_set, shard_name, write_shard
from jobs import calls
from tests.samplesets import animal, write_sample_set


def run(out, *flags):
    return calls.main(["--cluster", "inline", "--out", str(out), *flags])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twenty calls: two parts."""
    out = tmp_path_factory.mktemp("made") / "calls"
    assert run(out, "--classes", "cat", "rabbit", "--per-class", "10") == 0
    return out


def files(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != ".lock"}


def test_classes_get_calls_named_by_seed_and_listed(made):
    facts = json.loads((made / "calls.json").read_text())
    assert facts["count"] == 20
    assert facts["calls"][0]["recipe"]["kind"] == "meow"
    found = open_calls(made)
    assert found["cat", 3].path.name == "cat_000003.wav"
    assert found["cat", 3].rate_hz == 32_000
    assert np.abs(found["cat", 3].samples()).max() > 0.1
    assert not (made / "parts").exists()


def test_the_page_holds_its_sounds_and_fetches_nothing(made):
    page = (made / "index.html").read_text()
    assert page.count("<audio controls") == 20
    assert page.count('src="data:audio/wav;base64,') == 20
    assert "media-src data:" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert 'aria-label="Call of cat 3"' in page


def test_a_run_that_broke_off_is_completed_to_the_same_bytes(made, tmp_path, monkeypatch):
    from core.pretrained.calls import work

    real, count = work.synthesise, 0

    def breaking(*arguments):
        nonlocal count
        count += 1
        if count > 18:
            raise KeyboardInterrupt
        return real(*arguments)

    flags = ("--classes", "cat", "rabbit", "--per-class", "10")
    monkeypatch.setattr(work, "synthesise", breaking)
    assert run(tmp_path / "c", *flags) == 130
    assert not (tmp_path / "c" / "calls.json").exists()
    monkeypatch.setattr(work, "synthesise", real)
    before = (tmp_path / "c" / "cat_000000.wav").stat().st_mtime_ns
    assert run(tmp_path / "c", *flags) == 0
    assert (tmp_path / "c" / "cat_000000.wav").stat().st_mtime_ns == before
    assert files(tmp_path / "c") == files(made)


def test_a_call_that_was_lost_is_made_again_and_an_altered_one_is_refused(made, tmp_path):
    flags = ("--classes", "dog", "--per-class", "2")
    assert run(tmp_path / "c", *flags) == 0
    whole = files(tmp_path / "c")
    (tmp_path / "c" / "dog_000001.wav").unlink()
    assert run(tmp_path / "c", *flags) == 0
    assert files(tmp_path / "c") == whole
    path = open_calls(tmp_path / "c")["dog", 0].path
    path.write_bytes(path.read_bytes()[:-2] + b"ab")
    with pytest.raises(UserError, match="was altered"):
        open_calls(tmp_path / "c")["dog", 0].samples()


def test_a_call_depends_on_its_class_and_seed_alone(made, tmp_path):
    sample_set = write_sample_set(tmp_path / "s", [[animal("rabbit", 7)], [animal("fish", 9)]])
    assert run(tmp_path / "c", "--samples", str(tmp_path / "s")) == 0
    one, other = (folder / "rabbit_000007.wav" for folder in (made, tmp_path / "c"))
    assert one.read_bytes() == other.read_bytes()
    facts = json.loads((tmp_path / "c" / "calls.json").read_text())
    assert facts["samples"] == sample_set.digest
    assert str(tmp_path) not in (tmp_path / "c" / "calls.json").read_text()


@pytest.mark.parametrize(
    ("label", "seed", "complaint"),
    [
        ("../../escaped", 1, "is no class's name"),
        ("", 1, "is no class's name"),
        (None, 1, "the class None"),
        ("cat", -1, "the seed -1"),
        ("cat", None, "the seed None"),
    ],
)
def test_a_foreign_sample_set_cannot_name_files_elsewhere(tmp_path, capsys, label, seed, complaint):
    row = {"image": {"bytes": b"", "path": ""}, "label": label, "seed": seed, "sha256": ""}
    shard = tmp_path / "s" / shard_name(0)
    shard.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row]), shard)
    finish_sample_set(
        tmp_path / "s", count=1, labels=["cat"], settings={}, parents={}, shards=[shard_name(0)]
    )
    assert run(tmp_path / "a" / "b" / "out", "--samples", str(tmp_path / "s")) == 2
    assert complaint in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"s"}


def test_an_altered_sample_set_is_refused(tmp_path, capsys):
    write_sample_set(tmp_path / "s", [[animal("cat", 3)]])
    write_shard(tmp_path / "s" / shard_name(0), [animal("dog", 3)])
    assert run(tmp_path / "out", "--samples", str(tmp_path / "s")) == 2
    assert "was altered" in capsys.readouterr().err


def test_the_same_command_again_does_nothing_and_another_is_refused(made, capsys):
    before = files(made)
    assert run(made, "--classes", "cat", "rabbit", "--per-class", "10") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(made, "--classes", "cat") == 2
    assert "name another --out" in capsys.readouterr().err
    assert files(made) == before


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ([], "either --samples SAMPLE_SET or --classes"),
        (["--classes", "a/b"], "is no class's name"),
        (["--classes", "cat", "--per-class", "0"], "--per-class is 0"),
        (["--classes", "cat", "--seconds", "9"], "--seconds is 9"),
        (["--samples", "/nowhere"], "is not a finished sample set"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, capsys, flags, complaint):
    assert run(tmp_path / "out", *flags) == 2
    lines = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("cluster: ")
    ]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert not (tmp_path / "out").exists()
