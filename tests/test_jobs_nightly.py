"""Nights without a cluster: in place, and what their digests tell."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.files import write_json
from core.training.loop import train
from jobs import nightly
from jobs.digest import write_digest
from jobs.launches import LaunchFolder, note
from jobs.nights.folder import FORMAT, Night, nights_in, remove_old_nights
from jobs.nights.plan import read_plan
from jobs.nights.stages import stages_of
from tests.nights import fake_run, write_plan
from tests.tiny import tiny_config, tiny_dataset


@pytest.mark.parametrize("text", ["21-11-2026", "2026-13-01", "20261121", "tomorrow"])
def test_a_night_is_a_date(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert nightly.main(["--plan", str(write_plan(tmp_path)), "--night", text]) == 2
    assert "give a date such as 2026-11-21" in capsys.readouterr().err


def test_two_starts_at_once_do_not_get_into_each_others_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(tmp_path)
    night = Night(tmp_path / "nights" / "2026-11-21")
    with night.held():
        assert nightly.main(["--plan", str(plan), "--night", night.date]) == 2
    assert "is being started by another process" in capsys.readouterr().err
    assert not night.record_path.exists()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model and its data."""
    folder = tmp_path_factory.mktemp("nights")
    dataset = tiny_dataset(folder / "data")
    config = tiny_config(steps=2, block_channels=(32,), attention_levels=())
    train(config, dataset, folder / "run", cpu=True)
    return folder


def start(plan: Path, night: str) -> int:
    return nightly.main(["--plan", str(plan), "--night", night, "--cluster", "inline"])


@pytest.mark.slow
def test_nights_in_place_fail_resume_and_follow_each_other(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(place)
    assert start(plan, "2026-11-20") == 0
    first = Night(place / "nights" / "2026-11-20")
    written = first.record_path.stat().st_mtime_ns
    assert start(plan, "2026-11-20") == 0
    assert "finished already: nothing to do" in capfd.readouterr().out
    assert first.record_path.stat().st_mtime_ns == written

    broken = write_plan(place, ("min_psnr_db = 5", "min_psnr_db = 99"))
    assert start(broken, "2026-11-21") == 2
    said = capfd.readouterr().err
    assert "2026-11-21: Failed at export animals: no picture passed" in said
    assert os.readlink(place / "public/current") == "nights/2026-11-20"
    second = Night(place / "nights" / "2026-11-21")
    facts = json.loads(second.facts_path.read_text())
    assert [row["state"] for row in facts["stages"]] == ["done", "done", "failed", "stopped"]
    assert facts["before"]["night"] == "2026-11-20"
    assert facts["published"] is None
    assert "Readers see the night of 2026-11-20" in second.page.read_text()

    other = write_plan(place, ("per_class = 3", "per_class = 4"))
    assert start(other, "2026-11-21") == 2
    assert "is finished with per_class = 3, and the plan says 4 now" in capfd.readouterr().err
    sampled = (second.samples / "sampleset.json").stat().st_mtime_ns
    assert start(write_plan(place), "2026-11-21") == 0
    assert (second.samples / "sampleset.json").stat().st_mtime_ns == sampled
    assert os.readlink(place / "public/current") == "nights/2026-11-21"
    page = second.page.read_text()
    assert page.count('<img src="data:image/png;base64,') > 0
    assert "http" not in page.replace('http-equiv="', "")

    assert start(write_plan(place), "2026-11-22") == 0
    assert [night.date for night in nights_in(place / "nights")] == ["2026-11-21", "2026-11-22"]
    shown = sorted(path.name for path in (place / "public/nights").glob("2*"))
    assert shown == ["2026-11-21", "2026-11-22"]


def test_a_dry_run_shows_the_commands_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_run(tmp_path)
    tiny_dataset(tmp_path / "data", per_split=1)
    plan = write_plan(tmp_path)
    assert nightly.main(["--plan", str(plan), "--cluster", "inline", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "pictures: 6 of cat, fish" in said
    assert "# after export animals" in said
    assert not (tmp_path / "nights").exists()


def failed_night(folder: Path, words: str) -> Night:
    """A night whose sampling failed on a cluster that has forgotten it."""
    night = Night(folder / "nights" / "2026-11-21")
    launch = LaunchFolder(folder / "launches" / "1")
    launch.journal.mkdir(parents=True)
    note(launch.root, "7_0", "rank-00000", "started", node="node1", attempt=0)
    note(launch.root, "7_0", "batch", "requeued", code=1, cause="it was killed")
    note(launch.root, "7_0", "rank-00000", "started", node="node2", attempt=1)
    note(launch.root, "7_0", "rank-00000", "failed", code=2, error=f"error: {words}")
    note(launch.root, "7_0", "batch", "ended", code=2, cause=f"error: {words}")
    plan = read_plan(write_plan(folder))
    stages = [stage.facts for stage in stages_of(plan, night)]
    tried: dict[str, Any] = {"sample": {"jobs": ["7"], "launch": str(launch.root)}}
    tried |= {name: {"jobs": ["8"], "launch": None} for name in ("evaluate", "export animals")}
    night.save(
        {
            "format": FORMAT,
            "night": night.date,
            "name": plan.name,
            "plan_file": str(plan.path),
            "publish": str(plan.publish),
            "asked": {"cat": 3, "fish": 3},
            "stages": stages,
            "attempts": [{"kind": "slurm", "stages": tried}],
        }
    )
    return night


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.scheduler.installed", lambda: False)


@pytest.mark.usefixtures("no_slurm")
def test_a_digest_names_what_failed_and_where(tmp_path: Path) -> None:
    night = failed_night(tmp_path, "No space left on <device>")
    facts = write_digest(night)
    assert facts["verdict"]["words"] == "Failed at sample: No space left on <device>"
    sample, *others = facts["stages"]
    assert (sample["requeues"], sample["nodes"]) == (1, ["node1", "node2"])
    assert [row["state"] for row in others] == ["stopped", "stopped", "stopped"]
    page = night.page.read_text()
    assert "No space left on &lt;device&gt;" in page
    assert "There is nothing to see yet" in page
    assert f"--plan {tmp_path}/nightly.toml --night 2026-11-21" in page


@pytest.mark.usefixtures("no_slurm")
def test_a_night_that_never_began_has_a_digest(tmp_path: Path) -> None:
    night = failed_night(tmp_path, "")
    record = night.record()
    record["attempts"] = [{"kind": "none", "error": "the cluster is down", "stages": {}}]
    night.save(record)
    facts = write_digest(night)
    assert facts["verdict"]["words"] == "Could not start: the cluster is down"
    assert {row["state"] for row in facts["stages"]} == {"never started"}


@pytest.mark.usefixtures("no_slurm")
def test_a_digest_of_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a night: it has no night\.json"):
        write_digest(Night(tmp_path))


def test_old_nights_go_with_their_launches_and_nothing_else(tmp_path: Path) -> None:
    nights = tmp_path / "nights"
    for day in range(10, 16):
        night = Night(nights / f"2026-11-{day}")
        launch = tmp_path / "launches" / str(day)
        launch.mkdir(parents=True)
        write_json(launch / "launch.json", {"tags": {"night": str(night.root)}})
        stages = {"sample": {"jobs": [], "launch": str(launch)}}
        night.save({"format": FORMAT, "attempts": [{"kind": "slurm", "stages": stages}]})
        if day != 14:  # it never began
            write_json(night.samples / "sampleset.json", {})
    (nights / "2026-11-01").mkdir()  # no night of ours
    (nights / "notes").mkdir()
    with Night(nights / "2026-11-11").held():
        tonight = Night(nights / "2026-11-16")
        removed = remove_old_nights(tonight, 3, but=lambda night: night.date == "2026-11-10")
    assert removed == ["2026-11-12"]
    left = sorted(path.name for path in nights.iterdir())
    assert left == [*(f"2026-11-{day:02}" for day in (1, 10, 11, 13, 14, 15)), "notes"]
    assert not (tmp_path / "launches/12").exists()
    assert (tmp_path / "launches/11").exists()
