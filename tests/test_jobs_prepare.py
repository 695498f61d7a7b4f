import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.data.pinned import open_pinned
from core.data.prepare import PrepareConfig
from jobs.prepare import default_out, main

ROOT = Path(__file__).resolve().parents[1]


def test_the_starter_animals_are_prepared_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "starter 32"
    flags = ["--size-px", "32", "--per-class", "5", "--out", str(out), "--workers", "1"]
    assert main(flags) == 0
    said = capsys.readouterr().out
    assert json.loads(said[: said.index("\n}") + 2])["per_class"] == 5
    assert f"made: {out}" in said
    assert "40 pictures of 32 px (RGB with alpha) in 8 classes" in said
    assert f"next: python jobs/train.py --data '{out}' --preset starter" in said
    assert "0 pictures rejected" in said
    data = open_pinned(out, verify=True)
    assert (data.channels, data.licence, data.redistributable) == (4, "MIT", True)
    assert main(flags) == 0
    assert "found, nothing to do" in capsys.readouterr().out


def test_the_last_line_says_how_many_were_rejected_and_where_they_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cat = tmp_path / "in" / "cat"
    main(["--size-px", "32", "--per-class", "1", "--out", str(tmp_path / "s"), "--workers", "1"])
    from core.data.starter import draw_animal
    from core.images import png_bytes

    cat.mkdir(parents=True)
    (cat / "1.png").write_bytes(png_bytes(draw_animal("cat", 0, 64)))
    (cat / "2.png").write_bytes(b"")
    out = tmp_path / "out"
    source = str(tmp_path / "in")
    assert main(["--source", source, "--out", str(out), "--size-px", "32", "--workers", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"1 pictures rejected: see {out / 'rejected.jsonl'}"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--source", "nowhere"], "there is no source 'nowhere'"),
        (["--size-px", "3"], "size_px is 3"),
        (["--size-px", "big"], "size-px"),
        (["--split", "0.5", "0.5", "0.5"], "sum to 1"),
        (["--workers", "0"], "workers is 0"),
        (["--colour", "x"], "--colour"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], complaint: str
) -> None:
    assert main([*flags, "--out", str(tmp_path / "out"), "--cluster", "inline"]) == 2
    error = capsys.readouterr().err.removeprefix("cluster: inline (asked for)\n")
    assert error.startswith("prepare: error: ")
    assert error.count("\n") == 1
    assert complaint in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("starter", "starter-64"),
        ("hf:owner/some-data", "some-data-64"),
        ("/a/my pictures (new).zip", "my-pictures-new-64"),
        ("/a/x.parquet", "x-64"),
    ],
)
def test_the_default_folder_is_named_by_source_and_size(source: str, name: str) -> None:
    assert default_out(PrepareConfig(source=source)) == Path("datasets") / name


@pytest.mark.slow
def test_the_script_runs_with_several_workers(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "jobs" / "prepare.py"), "--size-px", "32"]
    command += ["--per-class", "20", "--workers", "2", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "made:" in done.stdout
    assert "100%" in done.stderr
