"""A sweep's runs go on, stop, fail and share: told by folders, some of them written by hand."""

import json
import os
from pathlib import Path

import pytest

from core.data.pinned import open_pinned
from core.errors import UserError
from core.parts import make_everything, make_parts
from core.sweeping.config import SweepConfig
from core.sweeping.table import longer_command, sweep_facts
from core.sweeping.work import SweepParts
from core.training.claim import claim
from jobs import train
from jobs.cli import parse
from tests.tiny import tiny_config, tiny_dataset


def sweep(
    folder: Path, data: Path, *grid: str, pool: Path | None = None, **changes: object
) -> SweepParts:
    config = SweepConfig(
        train=tiny_config(data=data, snapshots=0, evaluate_every=2, checkpoint_every=4),
        grid=grid,
        sample_per_class=1,
        sample_steps=1,
        **{name: value for name, value in changes.items() if name != "budget_hours"},  # type: ignore[arg-type]
    )
    budget = changes.get("budget_hours")
    return SweepParts(
        config, folder, lambda path: open_pinned(path or data), pool=pool, cpu=True,
        budget_hours=budget,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny_dataset(tmp_path / "data").folder


def came(work: SweepParts, part: int, losses: dict[int, float]) -> None:
    """Write what a run that has come so far would have written."""
    folder = work.files.run(work.plan.runs[part])
    folder.root.mkdir(parents=True, exist_ok=True)
    rows = [{"step": step, "held_out_loss": loss} for step, loss in losses.items()]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_nobody_waits_at_a_rung_and_the_best_go_on(data: Path, tmp_path: Path) -> None:
    work = sweep(tmp_path / "s", data, "seed=0,1,2,3", halving=2, first_rung=2)
    assert [run.rungs for run in work.plan.runs] == [(2, 4)] * 4
    assert work.missing() == [0, 1, 2, 3]
    came(work, 0, {2: 0.5})
    assert work.missing() == [1, 2, 3]  # the first alone is not the best half of one
    came(work, 1, {2: 0.4})
    assert work.missing() == [1, 2, 3]  # 1 is the better of two: it need not wait for the others
    came(work, 2, {2: 0.3})
    came(work, 3, {2: 0.2})
    assert work.missing() == [2, 3]  # 1 had not gone on yet, and is no longer among the best
    came(work, 3, {2: 0.2, 4: 0.1})
    assert work.missing() == [2]  # 3 is alone at its rung, and somebody may come yet
    came(work, 2, {2: 0.3, 4: 0.2})
    assert work.missing() == [3]
    work.files.promote(work.plan.runs[1], 1)  # had it been sent on before, it would go on
    assert work.missing() == [1, 3]
    states = {run["run"]: run["state"] for run in sweep_facts(work)["runs"]}
    told = [states[run.fingerprint] for run in work.plan.runs]
    assert told == ["stopped at rung 1", "under way", "stopped at rung 2", "under way"]


def test_runs_that_failed_do_not_hold_up_a_rung(data: Path, tmp_path: Path) -> None:
    work = sweep(tmp_path / "s", data, "seed=0,1,2", halving=3, first_rung=2)
    came(work, 0, {2: 0.5})
    came(work, 1, {2: 0.4})
    assert work.missing() == [2]
    work.files.stop(work.plan.runs[2], "failed", "the disk was full")
    assert work.missing() == [1]
    assert work.try_failed_again() == 1
    assert work.missing() == [2]


@pytest.mark.slow
def test_halving_ends_with_one_finished_run_and_a_whole_report(data: Path, tmp_path: Path) -> None:
    work = sweep(
        tmp_path / "s", data, "learning_rate=1e-6,1e-3", "seed=0,1", halving=2, first_rung=2
    )
    make_everything(work)
    assert work.finished()
    facts = sweep_facts(work)
    states = sorted(run["state"] for run in facts["runs"])
    assert states == ["finished", "stopped at rung 1", "stopped at rung 1", "stopped at rung 2"]
    assert [run["step"] for run in facts["runs"]] == [8, 4, 2, 2]
    assert facts["runs"][0]["varies"]["learning_rate"] == "0.001"
    assert [(r["step"], r["came"], r["went_on"]) for r in facts["rungs"]] == [(2, 4, 2), (4, 2, 1)]
    page = work.files.report.read_text()
    assert "stopped at rung 1" in page
    assert "Early stops" in page
    assert page.count("data:image/png;base64,") == 4  # what was stopped is drawn too
    assert "(after step 2)" in page
    whole = sweep(
        tmp_path / "all", data, "learning_rate=1e-6,1e-3", "seed=0,1", pool=work.files.pool
    )
    stopped = whole.files.run(whole.plan.runs[0])
    assert stopped.steps_saved() == [2]
    make_parts(whole, [0])  # another sweep wants it to the end: it goes on from its checkpoint
    assert stopped.model.exists()


@pytest.mark.slow
def test_sweeps_that_share_a_pool_train_nothing_twice(data: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    first = sweep(tmp_path / "a", data, "seed=0,1", pool=pool)
    make_everything(first)
    models = {path: path.stat().st_mtime_ns for path in sorted(pool.glob("*/model/unet/*"))}
    copy = tmp_path / "copy"
    data.rename(copy)  # the same data under another path
    second = sweep(tmp_path / "b", copy, "seed=0,1", "dropout=0.1", pool=pool)
    make_everything(second)
    assert {path: path.stat().st_mtime_ns for path in models} == models
    assert second.finished()
    assert sweep_facts(second)["best"] == sweep_facts(first)["best"]
    before = second.files.report.read_bytes()
    make_everything(second)
    assert second.files.report.read_bytes() == before


@pytest.mark.slow
def test_a_failed_run_keeps_nobody_waiting_and_is_tried_again(data: Path, tmp_path: Path) -> None:
    work = sweep(tmp_path / "s", data, "seed=0,1")
    strange = work.files.run(work.plan.runs[0])
    claim(strange, tiny_config(data=data, steps=3), open_pinned(data))
    with pytest.raises(UserError, match=r"1 of 2 runs failed.*other settings.*try them again"):
        make_everything(work)
    assert not work.finished()
    facts = sweep_facts(work)
    assert {run["state"] for run in facts["runs"]} == {"failed", "finished"}
    assert "other settings" in work.files.report.read_text()
    strange.config.unlink()
    strange.data.unlink()
    work.try_failed_again()
    make_everything(work)
    assert work.finished()


@pytest.mark.slow
def test_no_run_begins_once_the_budget_is_spent(data: Path, tmp_path: Path) -> None:
    tight = sweep(tmp_path / "s", data, "seed=0,1,2", budget_hours=1e-6)
    make_everything(tight)
    assert tight.finished()
    states = sorted(run["state"] for run in sweep_facts(tight)["runs"])
    assert states == ["finished", "not begun: over budget", "not begun: over budget"]
    assert "2 runs were not begun. Raise --budget-hours" in tight.files.report.read_text()
    wide = sweep(tmp_path / "s", data, "seed=0,1,2", budget_hours=1.0)
    assert wide.missing() == [1, 2]
    assert not wide.finished()


def test_a_folder_of_something_else_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "holiday.txt").write_text("")
    with pytest.raises(UserError, match=r"holds holiday\.txt, and no sweep: name another --out"):
        sweep(tmp_path / "s", data, "seed=0").begin()


def test_the_command_for_longer_says_what_the_run_was(data: Path, tmp_path: Path) -> None:
    work = sweep(tmp_path / "s", data, "flip=no", "attention_levels=none,1", "attention=cross")
    for run in work.plan.runs:
        words = longer_command(work, run.fingerprint).split()
        flags = parse(train.VERB, words[2:])
        assert flags.config.steps == 2 * run.config.steps
        assert flags.config.flip is False
        assert flags.config.attention == "cross"
        assert flags.config.attention_levels == run.config.attention_levels
        assert flags.config.data == data


def test_a_session_that_was_killed_ends_before_the_next_begins(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = sweep(tmp_path / "s", data, "seed=0")
    (run,) = work.plan.runs
    clock = 1_000_000.0
    monkeypatch.setattr("core.sweeping.folder.time.time", lambda: clock)
    killed = work.files.session(run)
    killed.__enter__()
    came(work, 0, {2: 0.5})
    os.utime(work.files.run(run).metrics, (clock + 60, clock + 60))
    clock += 86_400.0  # a day later
    with work.files.session(run):
        clock += 30.0
        came(work, 0, {2: 0.5, 4: 0.4})
        os.utime(work.files.run(run).metrics, (clock, clock))
    assert work.files.seconds(run) == 90.0


def test_halving_without_a_step_to_compare_at_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--halving finds no step to compare runs at"):
        sweep(tmp_path / "s", data, "seed=0,1", halving=2, first_rung=1000)
