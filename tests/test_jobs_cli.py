"""The command line: help that reads well, dry runs, and one line for every mistake."""

import dataclasses
import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import cli, evaluate, export, sample, train

ROOT = Path(__file__).resolve().parents[1]
VERBS = {"train": train, "sample": sample, "evaluate": evaluate, "export": export}


@pytest.mark.parametrize(
    ("verb", "flags", "complaint"),
    [
        ("train", ["--nope", "3"], "--nope"),
        ("train", ["--steps", "many"], "--steps"),
        ("train", ["--steps", "0"], "--steps is 0; it must be 1 or more"),
        ("train", ["--preset", "huge"], "no preset 'huge'; known are starter"),
        ("train", ["--data", "nowhere"], "nowhere"),
        ("sample", [], "--run"),
        ("sample", ["--run", "nowhere"], "nowhere is not a run: train one"),
        ("sample", ["--run", "x", "--solver", "magic"], "magic"),
        ("evaluate", ["--samples", "nowhere", "--data", "x"], "nowhere is not a finished sample"),
        ("export", ["--samples", "nowhere"], "nowhere is not a finished sample set"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    verb: str,
    flags: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert VERBS[verb].main(flags) == 2
    [said] = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("cluster:")
    ]
    assert said.startswith(f"{verb}: error: ")
    assert complaint in said
    assert not list(tmp_path.iterdir())


def test_a_dry_run_prints_the_full_config_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train.main(["--preset", "animals-64", "--steps", "7", "--dry-run"]) == 0
    config = json.loads(capsys.readouterr().out)
    assert config["steps"] == 7
    assert config["optimizer"] == "adamw"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    said = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{verb}.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"usage: menagerie {verb}" in said
    if verb != "status":  # makes nothing: there is no config to print
        assert "--dry-run" in said
    assert "--no-dry-run" not in said


def test_the_installed_command_knows_the_verbs() -> None:
    command = Path(sys.executable).with_name("menagerie")
    done = subprocess.run([command, "paint"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no verb 'paint'" in done.stderr
    assert "prepare" in subprocess.run([command], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 2, "No space left on device"),
        (OSError(errno.ENOTDIR, "Not a directory", "f/x"), 2, "Not a directory (f/x)"),
        (KeyboardInterrupt(), 130, "run the same command again"),
    ],
)
def test_trouble_on_the_machine_is_one_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(flags: train.TrainFlags) -> None:
        raise error

    assert cli.run_verb(dataclasses.replace(train.VERB, run=run), []) == code
    where, complaint = capsys.readouterr().err.splitlines()
    assert where.startswith("cluster: inline")
    assert said in complaint


def test_a_bug_keeps_its_traceback() -> None:
    def run(flags: train.TrainFlags) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run_verb(dataclasses.replace(train.VERB, run=run), [])
