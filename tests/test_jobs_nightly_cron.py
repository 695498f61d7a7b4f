"""Nights that start by themselves: schedules, crontabs, scrontabs."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UserError
from jobs import nightly
from jobs.cluster import ClusterFlags
from jobs.nights.crontabs import edited, require_schedule, table_lines
from jobs.nights.plan import read_plan
from tests.nights import fake_run, write_plan
from tests.tiny import tiny_dataset

ROOT = Path(__file__).resolve().parents[1]


def test_installing_replaces_our_lines_and_keeps_all_others(tmp_path: Path) -> None:
    theirs = "MAILTO=me\n# a note\n5 4 * * * backup\n"
    here, there = tmp_path / "a.toml", tmp_path / "b.toml"
    once = edited(edited(theirs, here, ["30 1 * * * x"]), there, ["0 2 * * * y"])
    assert once.startswith(theirs)
    twice = edited(once, here, ["45 1 * * * x"])
    assert twice.count("menagerie nightly") == 4
    assert "45 1 * * * x" in twice
    assert "30 1 * * * x" not in twice
    assert edited(edited(twice, here, []), there, []) == theirs
    with pytest.raises(UserError, match="mend it by hand"):
        edited(f"# >>> menagerie nightly: {here}\n5 4 * * * backup\n", here, [])


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        ("30 1 * * *", None),
        ("*/15 0-6 1,15 jan-mar mon", None),
        ("@daily", None),
        ("30 1 * *", "give minute, hour, day, month and weekday"),
        ("60 1 * * *", "'60' is no minute (from 0 to 59)"),
        ("0 5-3 * * *", "'5-3' is no hour"),
        ("0 0 0 * *", "'0' is no day of the month (from 1 to 31)"),
        ("0 0 * foo *", "'foo' is no month"),
        ("*/0 0 * * *", "'*/0' is no minute"),
        ("0 0 * * *; rm x", "give minute"),
        ("@reboot", "give minute"),
    ],
)
def test_a_schedule_is_one_that_cron_reads(schedule: str, complaint: str | None) -> None:
    if complaint is None:
        require_schedule(schedule)
        return
    with pytest.raises(UserError) as caught:
        require_schedule(schedule)
    assert complaint in str(caught.value)


FAKE_TABLE = """#!/bin/sh
[ "$1" != -l ] && exec cp "$1" "$0.table"
[ -f "$0.table" ] && exec cat "$0.table"
echo "no crontab for me" >&2
exit 1
"""
FAKE_SCONTROL = """#!/bin/sh
[ "$1" = ping ] && echo "Slurmctld(primary) at here is UP"
[ "$1" = show ] && echo "ScronParameters         = enable"
exit 0
"""


def fake_commands(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> Path:
    """The only programs that the job finds."""
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    for name in ("cat", "cp", "sh"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_night_is_installed_by_cron_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_run(tmp_path)
    tiny_dataset(tmp_path / "data", per_split=1)
    folder = tmp_path / "it's here"
    folder.mkdir()
    plan = write_plan(folder, ('run = "run"', 'run = "../run"'), ('"data"', '"../data"'))
    commands = fake_commands(tmp_path / "bin", monkeypatch, crontab=FAKE_TABLE)
    monkeypatch.setenv("SLURM_CONF", "/etc/our slurm.conf")
    assert nightly.main(["--plan", str(plan), "--install", "30 1 * * *"]) == 0
    assert "installed with crontab" in capsys.readouterr().out
    [line] = [
        line for line in (commands / "crontab.table").read_text().splitlines() if line[0] != "#"
    ]
    assert line.startswith("30 1 * * * cd ")
    shell = line.removeprefix("30 1 * * * ").replace(sys.executable, "echo")
    subprocess.run(["/bin/sh", "-c", shell], check=True, env={"PATH": "/usr/bin:/bin"})
    ran = (folder / "nights" / "cron.log").read_text()
    assert ran == f"{ROOT}/jobs/nightly.py --plan {plan}\n"
    assert "'SLURM_CONF=/etc/our slurm.conf'" in line
    assert nightly.main(["--plan", str(plan), "--uninstall"]) == 0
    assert (commands / "crontab.table").read_text() == ""


def test_a_night_is_installed_by_scrontab_where_the_cluster_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_run(tmp_path)
    tiny_dataset(tmp_path / "data", per_split=1)
    plan = write_plan(tmp_path, ('"public"', '"public"\n[cluster]\npartition = "gpu"'))
    commands = fake_commands(
        tmp_path / "bin", monkeypatch, crontab=FAKE_TABLE, scrontab=FAKE_TABLE,
        scontrol=FAKE_SCONTROL, sbatch="", srun="",
    )  # fmt: skip
    assert nightly.main(["--plan", str(plan), "--install", "@daily", "--max-requeues", "3"]) == 0
    assert not (commands / "crontab.table").exists()
    table = (commands / "scrontab.table").read_text().splitlines()
    assert "#SCRON --partition=gpu" in table
    assert "#SCRON --time=00:30:00" in table
    assert "--cluster=slurm --max-requeues=3" in table[-2]  # it runs inside a job


def test_without_cron_the_line_to_use_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_run(tmp_path)
    tiny_dataset(tmp_path / "data", per_split=1)
    plan = write_plan(tmp_path)
    fake_commands(tmp_path / "bin", monkeypatch)
    assert nightly.main(["--plan", str(plan), "--install", "30 1 * * *"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "neither scrontab nor crontab" in said
    assert f"30 1 * * * cd {tmp_path} &&" in said


def test_what_crontabs_cannot_hold_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "100%"
    folder.mkdir()
    with pytest.raises(UserError, match="crontabs give % and line breaks a meaning"):
        table_lines(read_plan(write_plan(folder)), "@daily", ClusterFlags(), slurm=False)
