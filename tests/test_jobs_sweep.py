"""The sweep command: mistakes are one line, dry runs do nothing, the same command goes on."""

import json
from pathlib import Path

import pytest

from jobs import sweep
from tests.tiny import tiny_dataset

TINY = ("--tiny", "--steps", "4", "--evaluate-every", "2", "--sample-every", "9", "--batch-size",
        "4", "--sample-steps", "1", "--sample-per-class", "1", "--cluster", "inline")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_dataset(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--grid", "stepz=1"], "a training has no field 'stepz' (did you mean steps?)"),
        (["--grid", "schedule=square"], "'square' is not one of lognormal, linear, cosine, flow"),
        ([], "give what to vary: --grid NAME=VALUE,VALUE, or --preset-study"),
        (["--preset-study", "ddpm", "--grid", "seed=1"], "(one of the two)"),
        (["--preset-study", "weather"], "weather"),
        (["--grid", "seed=1", "--halving", "1"], "--halving is 1; it must be 2 or more"),
        (["--grid", "seed=1", "--budget-hours", "0"], "--budget-hours is 0; it must be above 0"),
        (["--grid", "seed=1", "seed=2"], "--grid names seed twice"),
        (["--grid", "seed=1", "--data", "nowhere"], "nowhere is not a pinned dataset"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    folder: Path, flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main(["--data", "data", "--cluster", "inline", *flags]) == 2
    [said] = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("cluster:")
    ]
    assert said.startswith("sweep: error: ")
    assert complaint in said
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_a_dry_run_says_the_plan_and_does_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", "data", "--grid", "seed=0,1", "schedule=linear,cosine", "--dry-run")
    assert sweep.main([*flags, "--cluster", "inline"]) == 0
    said = capsys.readouterr().out
    assert "plan: 4 runs over seed, schedule\nso far: 4 waiting" in said
    assert '"grid": [' in said
    assert [path.name for path in folder.iterdir()] == ["data"]


@pytest.mark.slow
def test_the_same_command_does_nothing_more_and_a_wider_one_only_the_new(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", "data", "--out", "s", *TINY)
    assert sweep.main([*flags, "--grid", "seed=0,1"]) == 0
    assert "so far: 2 waiting" in capsys.readouterr().out
    assert sweep.main([*flags, "--grid", "seed=0,1"]) == 0
    said = capsys.readouterr().out
    assert "finished already: nothing to do" in said
    assert "next: python jobs/train.py --preset starter --data data --steps 8" in said
    assert sweep.main([*flags, "--grid", "seed=0,1,2"]) == 0
    said = capsys.readouterr().out
    assert "so far: 2 finished, 1 waiting" in said
    assert said.count("run 3 of 3") == 1
    assert "run 1 of 3" not in said
    assert len(json.loads((folder / "s" / "sweep.json").read_text())["runs"]) == 3


@pytest.mark.slow
def test_the_study_runs_whole_and_its_report_answers_each_question(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = ("--data", "data", "--out", "study", "--preset-study", "ddpm", *TINY)
    assert sweep.main([*study, "--judge-epochs", "1", "--judge-per-class", "2"]) == 0
    facts = json.loads((folder / "study" / "sweep.json").read_text())
    assert {run["state"] for run in facts["runs"]} == {"finished"}
    assert len(facts["runs"]) == 14
    page = (folder / "study" / "report.html").read_text()
    for title in ("Timesteps and schedules", "Base channels", "Attention", "Length of the training",
                  "One class or two", "Curves", "Distances by class"):  # fmt: skip
        assert f"<h2>{title}</h2>" in page
    assert page.count("data:image/png;base64,") == 6 + 3 + 3 + 4 + 2
    [alone] = [run for run in facts["runs"] if run["varies"]["classes"] == "cat"]
    assert list(alone["figures"]["distance_by_class"]) == ["cat"]
    assert alone["figures"]["separation"] is None
    both = next(run for run in facts["runs"] if run["varies"]["classes"] != "cat")
    assert both["figures"]["separation"]["ratio"] > 0
    assert both["figures"]["separation_real"] is not None
