"""Status: what SLURM, the journals and the outputs say, at a glance, whatever state they are in.

SLURM's two answers are faked at the process boundary, in the words of a real one; beside it,
tests/cluster/test_status.py asks a real one.
"""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.diffusion.generate import SamplingParts
from core.diffusion.sampleconfig import SampleConfig
from core.evaluation.config import EvaluateConfig
from core.evaluation.parts import EvaluateParts
from exporters.config import ExportConfig
from exporters.parts import ExportParts
from jobs import status
from jobs.overview import table, words
from jobs.overview.gather import gather
from jobs.overview.screen import Screen, cells
from jobs.overview.view import View
from tests.samplesets import animal, write_sample_set
from tests.tiny import tiny_dataset

ROOT = Path(__file__).resolve().parents[1]
Entry = dict[str, Any]


class Place:
    """Launches in a folder, and what a SLURM says of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("MENAGERIE_LAUNCHES", str(folder / "launches"))
        monkeypatch.setenv("PATH", str(folder / "bin"))  # no SLURM of this machine
        monkeypatch.delenv("SLURM_CONF", raising=False)

    def launch(self, name: str, *jobs: str, **facts: Any) -> Path:
        """A launch of a training, or as `facts` have it; jobs are `12`, or `12*3` for arrays."""
        root = self.folder / "launches" / name
        for part in ("jobs", "journal"):
            (root / part).mkdir(parents=True)
        record = {
            "verb": "train",
            "argv": [],
            "out": str(self.folder / "runs" / name),
            "kind": "slurm",
            "parts": None,
            "config": {"steps": 400, "batch_size": 8},
            "cluster": {"minutes": 60.0, "after": []},
            "time": time.time() - 300,
            "host": os.uname().nodename,
            "user": "me",
            "cwd": str(self.folder),
            "jobs": [{"id": j.split("*")[0], "tasks": int(j.partition("*")[2] or 0)} for j in jobs],
            "tags": {},
        }
        (root / "launch.json").write_text(json.dumps(record | facts))
        return root

    def slurm(self, queue: str = "", books: str = "", **codes: int) -> None:
        """A squeue and a sacct that say this, and note that they were called."""
        (self.folder / "bin").mkdir(exist_ok=True)
        for command, said in (("squeue", queue), ("sacct", books)):
            path = self.folder / "bin" / command
            words = said.replace("LAUNCHES", str(self.folder / "launches"))
            path.write_text(
                f"#!/bin/sh\necho {command} >> {self.folder}/calls\n"
                f"/bin/cat <<'END'\n{words}\nEND\nexit {codes.get(command, 0)}\n"
            )
            path.chmod(0o755)
        self._patch.setenv("PATH", f"{self.folder / 'bin'}")

    def said(self, capsys: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> str:
        """What status prints."""
        assert status.main(list(flags)) == code
        return capsys.readouterr().out

    def seen(self, *, everything: bool = False) -> dict[str, View]:
        """The launches by name."""
        found = gather(everything=everything, stalled_after_s=600)
        return {view.launch.name: view for view in found.views}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def tell(launch: Path, job: str, *entries: Entry, process: str = "rank-00000") -> None:
    """Write a process's journal."""
    begun = time.time() - 250
    lines = [{"time": begun + k, "job": job, **entry} for k, entry in enumerate(entries)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (launch / "journal" / f"{job}.{process}.jsonl").write_text(text)


def started(attempt: int = 0, node: str = "n1", pid: int = 1) -> Entry:
    return {"event": "started", "node": node, "attempt": attempt, "pid": pid}


def queued(job: str, state: str, launch: str, *, task: str = "N/A", **facts: str) -> str:
    """A line of squeue, as SLURM 22.05 prints it."""
    values = [
        *(job, task, state, facts.get("nodes", ""), facts.get("reason", "None")),
        *(facts.get("restarts", "0"), facts.get("left", "29:51"), facts.get("begun", "N/A"), "N/A"),
        f"LAUNCHES/{launch}/jobs/%j_0_log.err",
    ]
    return "|".join(values) + "|"


def booked(job: str, state: str, launch: str, nodes: str = "n1") -> str:
    """A line of sacct."""
    moment = "2026-11-21T06:46:49"
    origin = f"sbatch LAUNCHES/{launch}/jobs/.submission_file_c8.sh"
    return f"{job}|{state}|{nodes}|{moment}|{moment}|{origin}"


def test_nothing_was_launched(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    where = place.folder / "launches"
    assert place.said(capsys).startswith(f"no launches in {where}: go where they were made")
    (place.folder / "launches").mkdir()
    assert json.loads(place.said(capsys, "--json"))["launches"] == []


def test_without_slurm_the_journals_tell(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    tell(place.launch("running", "1"), "1", started())
    tell(place.launch("done", "2"), "2", started(), {"event": "done"})
    failed = place.launch("failed", "3")
    tell(failed, "3", started(), {"event": "failed", "error": "error: no data", "rank": 0})
    tell(failed, "3", {"event": "x"}, {"event": "y"}, {"event": "ended", "cause": "error: no data"},
         process="batch")  # fmt: skip
    again = place.launch("again", "4")
    tell(again, "4", started(), {"event": "requeued", "code": 75, "cause": "time was up"})
    stopped = place.launch("stopped", "5")
    tell(stopped, "5", started(), {"event": "stopped", "code": 130},
         {"event": "ended", "cause": "stopped from outside"})  # fmt: skip
    place.launch("pending", "6")
    states = {name: view.state for name, view in place.seen().items()}
    assert states == {
        **{"running": "running", "done": "done", "failed": "failed", "again": "queued again"},
        **{"stopped": "cancelled", "pending": "pending"},
    }
    said = place.said(capsys)
    assert said.count("SLURM was not asked: there is no SLURM on this machine") == 1
    assert "└ no data\n" in said
    assert "1×" in said


def test_all_processes_of_a_job_must_be_done(place: Place) -> None:
    launch = place.launch("wide", "7")
    tell(launch, "7", started(node="n1", pid=1), {"event": "done"})
    tell(launch, "7", started(node="n2", pid=2), process="rank-00001")
    view = place.seen()["wide"]
    assert (view.state, view.nodes) == ("running", ["n1", "n2"])


def test_the_process_that_failed_is_named_not_those_that_were_stopped_for_it(place: Place) -> None:
    launch = place.launch("wide", "7")
    tell(launch, "7", started(pid=1), {"event": "a"}, {"event": "stopped", "code": 130})
    tell(launch, "7", started(pid=2), {"event": "failed", "error": "error: NaN", "rank": 1},
         process="rank-00001")  # fmt: skip
    tell(launch, "7", *[{"event": "x"}] * 5, {"event": "ended", "cause": "stopped from outside"},
         process="batch")  # fmt: skip
    view = place.seen()["wide"]
    assert (view.state, view.error) == ("failed", "NaN")


def test_slurm_is_asked_once_for_all(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    lines, past = [], []
    for k in range(20):
        place.launch(f"array-{k:02d}", f"{50 + k}*3", verb="sample", parts=6)
        lines.append(queued(f"{50 + k}", "RUNNING", f"array-{k:02d}", task="0", nodes="n1"))
        past.append(booked(f"{50 + k}_1", "COMPLETED", f"array-{k:02d}"))
    place.slurm("\n".join(lines), "\n".join(past))
    assert place.said(capsys).count("1 done, 1 running, 1 lost of 3") == 20
    assert sorted((place.folder / "calls").read_text().split()) == ["sacct", "squeue"]


def test_an_arrays_tasks_are_counted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    launch = place.launch("array", "12*16", verb="sample", parts=32)
    tell(launch, "12_13", started(), {"event": "failed", "error": "error: disk full", "rank": 0})
    place.slurm(
        "\n".join(
            queued("12", "RUNNING", "array", task=f"{k}", nodes="node1", left="9:00")
            for k in (14, 15)
        )
        + "\n" + queued("12", "PENDING", "array", task="0", reason="BeginTime", restarts="2"),
        "\n".join(booked(f"12_{k}", "COMPLETED", "array") for k in range(1, 13))
        + "\n" + booked("12_13", "FAILED", "array"),
    )  # fmt: skip
    said = place.said(capsys)
    assert "12 done, 2 running, 1 queued again, 1 failed of 16" in said
    assert "└ 12_13: disk full" in said
    assert "limit in 9 min" in said
    assert place.seen()["array"].requeues == 2
    assert place.said(capsys, "--check", code=1)


def test_tasks_that_never_started_are_a_range_in_the_books(place: Place) -> None:
    place.launch("array", "12*6", verb="sample", parts=6)
    books = [
        booked("12_0", "COMPLETED", "array"),
        booked("12_[1-3,5%2]", "CANCELLED by 0", "array"),
    ]
    place.slurm(queued("12", "RUNNING", "array", task="4"), "\n".join(books))
    assert place.seen()["array"].counts == {"running": 1, "cancelled": 4, "done": 1}


def test_a_job_number_that_came_again_is_another_job(place: Place) -> None:
    place.launch("old", "2", time=time.time() - 3600)
    place.launch("new", "2", out=str(place.folder / "other"))
    place.slurm(queued("2", "RUNNING", "new", nodes="node1"), booked("2", "RUNNING", "new"))
    seen = place.seen()
    assert (seen["new"].state, seen["old"].state) == ("running", "lost")
    assert seen["old"].error == "SLURM does not know it"


def test_what_waits_for_a_failed_job_says_so(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.launch("first", "8")
    for k, name in enumerate(("second", "third")):
        cluster = {"after": [str(8 + k)]}
        place.launch(name, str(9 + k), cluster=cluster, time=time.time() - 200 + k)
    place.slurm(
        queued("10", "PENDING", "third", reason="DependencyNeverSatisfied"),
        booked("8", "TIMEOUT", "first") + "\n" + booked("9", "CANCELLED by 0", "second", ""),
    )
    said = place.said(capsys)
    assert "└ SLURM ended it: its time limit was reached" in said
    assert "└ it needs job 8, which failed" in said
    assert "└ never starts: it needs job 9, which was cancelled; cancel it" in said


def test_a_job_that_slurm_killed_has_its_last_words_from_the_log(place: Place) -> None:
    launch = place.launch("killed", "8")
    (launch / "jobs" / "8_0_log.err").write_text(
        "training: 10%\rtraining: 20%\nslurmstepd: error: Detected 1 oom_kill event\nbye\n"
    )
    place.slurm("", booked("8", "FAILED", "killed"))
    assert place.seen()["killed"].error == "slurmstepd: error: Detected 1 oom_kill event"


def test_a_training_tells_steps_speed_and_time_left(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place.folder / "runs" / "a"
    run.mkdir(parents=True)
    rows = [{"step": 20 * k, "loss": 0.1, "images_per_s": 40.0} for k in range(1, 11)]
    rows += [{"step": 200, "held_out_loss": 0.2}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run / "metrics.jsonl").write_text(text + '{"step": 220, "los')
    place.launch("a", "2")
    place.slurm(queued("2", "RUNNING", "a", nodes="node1", left="29:51"))
    view = place.seen()["a"]
    assert (view.pace.done, view.pace.total) == (200, 400)
    assert (view.pace.images_per_s, view.pace.seconds_left) == (40.0, 40.0)  # 200 steps of 8
    assert "━━━━──── 200/400" in place.said(capsys)


def test_parts_are_counted_where_they_are_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names that status looks for are those of the real work."""
    dataset = tiny_dataset(place.folder / "data")
    shards = [[animal(label, 2 * k + j) for j, label in enumerate(("cat", "fish"))]
              for k in range(4)]  # fmt: skip
    made = write_sample_set(place.folder / "set", shards)
    (made.folder / "sampleset.json").rename(made.folder / "hidden")  # half of it is there
    (made.folder / "data" / "part-00003.parquet").unlink()
    config = {"run": "run", "per_class": 4, "classes": ["cat", "fish=4"], "labels": []}
    place.launch("s", "1*2", verb="sample", parts=4, out=str(made.folder), config=config)
    model = place.folder / "run" / "model"
    (model / "unet").mkdir(parents=True)
    (model / "model_index.json").write_text(
        json.dumps({"labels": ["cat"], "facts": {}, "patch": 1})
    )
    (model / "unet" / "config.json").write_text(json.dumps({"sample_size": 32, "in_channels": 4}))
    real = SamplingParts(
        SampleConfig(run=place.folder / "run", classes=("cat=8",), shard_size=2), made.folder
    )
    sampling = place.seen()["s"]
    assert real.missing() == [3]
    assert (sampling.pace.done, sampling.pace.total) == (3, 4)

    write_sample_set(place.folder / "set", shards)
    export = ExportParts(ExportConfig(samples=made.folder), place.folder / "packs" / "p")
    judged = EvaluateParts(EvaluateConfig(samples=made.folder, data=dataset.folder))
    (export.folder / "plan.json").parent.mkdir(parents=True)
    (export.folder / "part-00002").mkdir()
    (judged.folder).mkdir()
    (judged.folder / "part-00000.json").write_text("[]")
    assert export.missing() == [0, 1, 3]
    assert judged.missing() == [1, 2, 3]
    inputs = {"config": {"samples": "set"}, "parts": None}  # of a chain: not known at submission
    place.launch("x", "2*2", verb="export", out=str(export.pack_folder), **inputs)
    place.launch("e", "3*2", verb="evaluate", out=str(judged.out), **inputs)
    seen = place.seen()
    assert (seen["x"].pace.done, seen["x"].pace.total) == (1, 4)
    assert (seen["e"].pace.done, seen["e"].pace.total) == (1, 4)


def test_sampling_speed_is_that_of_its_parts(place: Place) -> None:
    data = place.folder / "set" / "data"
    data.mkdir(parents=True)
    for k in range(5):
        (data / f"part-{k:05d}.parquet").touch()
        moment = time.time() - 240 + 40 * k
        os.utime(data / f"part-{k:05d}.parquet", (moment, moment))
    (data / ".part-00005.parquet.x.tmp").touch()
    config = {"per_class": 50, "classes": ["cat", "fish"], "labels": []}
    launch = place.launch("s", "1*2", verb="sample", parts=10, out=str(data.parent), config=config)
    tell(launch, "1_0", started())
    place.slurm(
        queued("1", "RUNNING", "s", task="0") + "\n" + queued("1", "RUNNING", "s", task="1")
    )
    pace = place.seen()["s"].pace
    assert (pace.done, pace.total) == (5, 10)
    assert pace.images_per_s == pytest.approx(50 / 250, rel=0.05)  # since it began
    assert pace.seconds_left == pytest.approx(250, rel=0.05)


def test_what_went_wrong_before_is_told_while_it_runs_again(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    launch = place.launch("a", "2")
    tell(launch, "2", started(), {"event": "requeued", "code": 75, "cause": "time was up"},
         started(attempt=1, node="n2"))  # fmt: skip
    place.slurm(queued("2", "RUNNING", "a", nodes="n2", restarts="1"))
    said = place.said(capsys, "--check")
    assert "└ before: time was up" in said
    assert said.count("1×") == 1
    tell(launch, "2", started(), {"event": "requeued", "code": 75, "cause": "time was up"},
         started(attempt=1), {"event": "done"})  # fmt: skip
    place.slurm("", booked("2", "COMPLETED", "a"))
    assert "time was up" not in place.said(capsys)  # all is well again


def test_what_stands_still_is_called_so(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("still", "lively")
    for k, name in enumerate(names):
        launch = place.launch(name, str(k), time=time.time() - 7200)
        log = launch / "jobs" / f"{k}_0_log.err"
        log.write_text("training: 3%")
        moment = time.time() - (1500 if name == "still" else 20)
        os.utime(log, (moment, moment))
    place.slurm("\n".join(queued(str(k), "RUNNING", name) for k, name in enumerate(names)))
    seen = place.seen()
    assert seen["lively"].stalled_s is None
    assert seen["still"].stalled_s == pytest.approx(1500, abs=5)
    assert "└ stalled: nothing new for 25 min" in place.said(capsys)
    assert "stalled" not in place.said(capsys, "--stalled-minutes", "30")


def test_what_was_launched_again_is_history(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(place.folder / "runs" / "a")
    place.launch("first", "8", out=out, time=time.time() - 900)
    place.launch("second", "9", out=out)
    place.slurm(queued("9", "RUNNING", "second"), booked("8", "FAILED", "first"))
    said = place.said(capsys, "--check", code=0)
    assert "failed, again as 9" in said
    assert "1 running\n" in said.splitlines(keepends=True)[0]


def test_old_launches_are_hidden_unless_they_live(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for k, name in enumerate(("old", "waiting")):
        place.launch(name, str(k), time=time.time() - 3 * 86400)
    place.slurm(
        queued("1", "PENDING", "waiting", reason="Priority"), booked("0", "COMPLETED", "old")
    )
    said = place.said(capsys)
    assert "pending (Priority)" in said
    assert "runs/old" not in said
    assert "1 older, all ended: --all shows them" in said
    assert "runs/old" in place.said(capsys, "--all")


def night(place: Place) -> None:
    """A night whose export failed."""
    tags = {"night": str(place.folder / "nights" / "2026-11-21")}
    for k, stage in enumerate(("sample", "export Cats", "publish")):
        place.launch(
            f"{k}", str(k + 1), verb=stage.split()[0], time=time.time() - 100 + k,
            tags=tags | {"stage": stage}, cluster={"after": [str(k)]},
        )  # fmt: skip
    place.launch("other", "9", time=time.time() - 50)
    place.slurm(
        queued("9", "RUNNING", "other"),
        "\n".join(booked(str(k + 1), state, str(k))
                  for k, state in enumerate(("COMPLETED", "FAILED", "CANCELLED by 0"))),
    )  # fmt: skip


def test_a_night_stands_together_and_names_the_stage_that_failed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    night(place)
    lines = place.said(capsys).splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("night 2026-11-21"))
    assert lines[at] == "night 2026-11-21   failed: export Cats  nights/2026-11-21"
    stages = [line.split("  ")[1] for line in lines[at + 1 :] if line.startswith("  ")]
    assert [stage for stage in stages if not stage.startswith("  └")][:3] == [
        *("sample", "export Cats", "publish"),
    ]
    assert any("runs/other" in line for line in lines[:at])  # the newer first


def test_broken_and_foreign_things_are_left_out_and_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    launches = place.folder / "launches"
    good = place.launch("good", "1", out="/nowhere/at/all", config={"steps": "x", "labels": 3})
    tell(good, "1", started())
    with (good / "journal" / "1.rank-00000.jsonl").open("a") as file:
        file.write('{"time": 1, "ev\n[]\n7\n{"time": "x", "job": 1, "event": 2}\n\x00\xff\n')
    (good / "journal" / "1.rank-00001.jsonl").write_bytes(b"\xff\xfe\x00")
    for name, text in (
        ("zut", '{"verb": "tra'), ("list", "[1, 2]"), ("empty", ""), ("other", '{"a": 1}'),
        ("odd", json.dumps({"verb": 1, "out": 3, "kind": None, "time": "soon", "jobs": 7})),
    ):  # fmt: skip
        (launches / name).mkdir()
        (launches / name / "launch.json").write_text(text)
    (launches / "half").mkdir()
    (launches / "code").mkdir()
    (launches / "notes.txt").write_text("mine")
    place.launch("unsubmitted", time=time.time() - 900)
    place.launch("odd-sampling", "4*2", verb="sample", config={"labels": 3, "run": []})
    place.launch("odd-export", "5*2", verb="export", out="/", config={"samples": 1})
    place.launch("steered", "3", out=str(place.folder / "a\x1b[2J\nb"))
    said = place.said(capsys)
    assert "running" in said
    assert "launches/zut is left out: its launch.json is no JSON" in said
    assert "2 more launch folders are not readable" in said
    assert "it was never submitted: run it again" in said
    assert "\x1b" not in said
    assert len(json.loads(place.said(capsys, "--json"))["unreadable"]) == 5


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_is_wider_than_the_terminal(place: Place, width: int, colour: bool) -> None:
    night(place)
    place.launch("wide", "77*400", "78*400", out=str(place.folder / ("猫" * 40)), verb="sample")
    launch = place.launch("x", "79")
    tell(launch, "79", started(), {"event": "failed", "error": "error: " + "why " * 200})
    screen = Screen(width=width, height=50, live=True, colour=colour, unicode=True)
    seen = gather(everything=True, stalled_after_s=600)
    text = table.table(seen, screen)
    assert ("\x1b[" in text) == colour
    for style in ("1;31", "32", "33", "36", "2", "1", "0"):
        text = text.replace(f"\x1b[{style}m", "")
    assert max(map(cells, text.splitlines())) <= width
    plain = Screen(width=width, height=50, live=False, colour=False, unicode=False)
    assert table.table(seen, plain).isascii()


def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not Screen.of_stdout().colour
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert Screen.of_stdout().colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Screen.of_stdout().colour


def test_spans_read_well() -> None:
    assert [words.span(s) for s in (-3, 8, 89, 90, 3000, 7200, 400_000)] == [
        *("0 s", "8 s", "89 s", "2 min", "50 min", "2.0 h", "4.6 d")
    ]


def log_of(launch: Path, job: str, rank: int, out: str, err: str) -> None:
    for ending, text in (("out", out), ("err", err)):
        (launch / "jobs" / f"{job}_{rank}_log.{ending}").write_text(text)


def test_the_log_that_one_would_look_at_first(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    launch = place.launch("a", "12*3", verb="sample", parts=3)
    for task in range(3):
        log_of(launch, f"12_{task}", 0, "begun\n", f"bar 1%\rbar {task}%\nlast of {task}\n")
    tell(launch, "12_1", started(), {"event": "failed", "error": "error: no"})
    assert status.main(["--log", "12", "--lines", "2"]) == 0
    said = capsys.readouterr()
    assert "12 is 3 tasks, 12_0 to 12_2; this is 12_1, which is failed" in said.err
    assert said.out.splitlines() == [
        *("==> 12_1_0_log.out <==", "begun", "==> 12_1_0_log.err <==", "bar 1%", "last of 1"),
    ]
    assert "last of 2" in place.said(capsys, "--log", "12_2")
    assert "last of 1" in place.said(capsys, "--log", "a")
    assert "last of 1" in place.said(capsys, "--log", str(launch))


def test_a_log_of_one_process_of_many(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    launch = place.launch("a", "12")
    for rank in range(11):
        log_of(launch, "12", rank, f"I am {rank}\n", "")
    tell(launch, "12", started(pid=1))
    tell(launch, "12", started(pid=2), {"event": "failed", "error": "error: I", "rank": 10},
         process="rank-00010")  # fmt: skip
    assert "I am 10" in place.said(capsys, "--log", "12")  # which failed
    assert "I am 2\n" in place.said(capsys, "--log", "12", "--rank", "2")
    assert status.main(["--log", "12", "--rank", "11"]) == 2
    assert "job 12 has the ranks 0 to 10" in capsys.readouterr().err


def test_follow_shows_what_is_added_until_the_end(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    launch = place.launch("a", "12")
    log_of(launch, "12", 0, "one\n", "")
    tell(launch, "12", started())
    code = (
        "import time, sys, pathlib; time.sleep(0.5); root = pathlib.Path(sys.argv[1]);"
        "(root / 'jobs/12_0_log.out').open('a').write('two\\nthree');"
        '(root / \'journal/12.batch.jsonl\').write_text(\'{"time": 9e9, "job": "12",'
        '"event": "ended", "cause": "error: gone"}\')'
    )
    with subprocess.Popen([sys.executable, "-c", code, str(launch)]):
        assert status.main(["--log", "12", "--follow"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("one\ntwo\nthree")
    assert said.err == "job 12: failed: error: gone\n"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--log", "99"], "no job 99; known are 13, 12"),
        (["--log", "12_"], "no job 12_; known are"),
        (["--log", "12_7"], "no job 12_7; known are"),
        (["--log", "13"], "job 13 has no log yet: it is pending"),
        (["--cancel", "99"], "no job 99; known are"),
        (["--cancel", "12"], "SLURM cannot be asked (there is no SLURM on this machine)"),
        (["--cancel", "all", "12"], "--cancel all goes without other names"),
        (["--requeue", "12"], "SLURM cannot be asked"),
        (["--log", "12", "--cancel", "12"], "--log and --cancel exclude each other"),
        (["--follow"], "give --log JOB"),
        (["--watch", "0.01"], "--watch is 0.01; it must be 0.5 or more"),
        (["--lines", "0"], "--lines is 0; it must be 1 or more"),
        (["--json", "--watch"], "--json and --watch exclude each other"),
        (["--nope"], "--nope"),
        (["--watch", "soon"], "soon"),
    ],
)
def test_a_mistake_is_one_line(
    place: Place, flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.launch("a", "12*3", time=time.time() - 400)
    place.launch("b", "13")
    assert status.main(flags) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("status: error: ")
    assert complaint in said


def cancelled(place: Place) -> list[str]:
    path = place.folder / "cancelled"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def busy(place: Place) -> Place:
    """A training, and an array of which one task has ended."""
    place.launch("run", "20", time=time.time() - 500)
    place.launch("array", "21*3", verb="sample", parts=3)
    place.slurm(
        "\n".join(
            [queued("20", "RUNNING", "run"), queued("21", "COMPLETED", "array", task="0")]
            + [queued("21", "RUNNING", "array", task=str(k)) for k in (1, 2)]
        )
    )
    scancel = place.folder / "bin" / "scancel"
    scancel.write_text(f'#!/bin/sh\necho "$@" >> {place.folder}/cancelled\n')
    scancel.chmod(0o755)
    return place


@pytest.mark.parametrize(
    ("names", "asked", "said"),
    [
        (["20"], ["20"], "cancelled: job 20 (train "),
        (["21_2"], ["21_2"], "cancelled: job 21_2 (sample "),
        (["array"], ["21"], "cancelled: job 21 (sample "),
        (["20", "21"], ["20", "21"], "cancelled: job 21 (sample "),
        (["all", "--yes"], ["21", "20"], "cancelled: job 20 (train "),
    ],
)
def test_cancel(
    busy: Place, names: list[str], asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in busy.said(capsys, "--cancel", *names)
    assert cancelled(busy) == asked


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["20", "21_0"], "21_0 has ended already (sample "),
        (["20", "77"], "no job 77"),
        (["all"], "that would cancel 2 launches (sample "),
    ],
)
def test_nothing_is_cancelled_by_half(
    busy: Place, names: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.main(["--cancel", *names]) == 2
    assert complaint in capsys.readouterr().err
    assert cancelled(busy) == []


@pytest.fixture
def here(place: Place) -> Iterator[tuple[Place, "subprocess.Popen[bytes]"]]:
    """A launch of this machine's processes."""
    folder = place.folder / "launches" / "here" / "jobs"
    command = [sys.executable, "-c", "import time; time.sleep(60)", str(folder)]
    with subprocess.Popen(command) as process:
        place.launch("here", str(process.pid), kind="local")
        while b"sleep" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        try:
            yield place, process
        finally:
            process.kill()


def test_processes_on_this_machine_are_seen_and_cancelled(
    here: tuple[Place, "subprocess.Popen[bytes]"], capsys: pytest.CaptureFixture[str]
) -> None:
    place, process = here
    job = str(process.pid)
    tell(place.folder / "launches" / "here", job, started())
    assert place.seen()["here"].state == "running"
    assert "cancelled: job" in place.said(capsys, "--cancel", "here")
    assert process.wait(10) == -signal.SIGTERM
    assert place.seen()["here"].state == "lost"
    assert place.seen()["here"].error == "its processes are gone"
    assert status.main(["--cancel", job]) == 2


def test_a_slurm_that_complains_is_quoted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    tell(place.launch("a", "1"), "1", started())
    place.slurm(squeue=1)
    complaint = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    squeue = place.folder / "bin" / "squeue"
    squeue.write_text(f"#!/bin/sh\necho '{complaint}' >&2\nexit 1\n")
    said = place.said(capsys)
    assert "not asked: Unable to contact slurm controller (connect failure); this is what" in said
    assert "running" in said
    squeue.write_text(
        "#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n"
    )
    assert place.seen()["a"].state == "lost"  # it was asked, and does not know the job


def test_watching_redraws_and_ends_with_ctrl_c(place: Place) -> None:
    tell(place.launch("a", "1"), "1", started())
    command = [sys.executable, str(ROOT / "jobs" / "status.py"), "--watch", "0.5"]
    environment = os.environ | {"TERM": "xterm", "LINES": "24"}
    terminal, inside = pty.openpty()
    with subprocess.Popen(command, stdout=inside, stderr=inside, env=environment) as watching:
        os.close(inside)
        shown = b""
        while shown.count(b"\x1b[H") < 2:
            shown += os.read(terminal, 4096)
        watching.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # a terminal that its last program has left
            while more := os.read(terminal, 4096):
                shown += more
        assert watching.wait(10) == 0
    os.close(terminal)
    assert shown.startswith(b"\x1b[?1049h")
    assert b"\x1b[?25h\x1b[?1049l" in shown  # the page before comes back, and the cursor
    assert b"running" in shown.rpartition(b"\x1b[?1049l")[2]  # what was seen last stays


def test_watching_into_a_pipe_prints_table_after_table(place: Place) -> None:
    tell(place.launch("a", "1"), "1", started())
    command = [sys.executable, str(ROOT / "jobs" / "status.py"), "--watch", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline() for _ in range(12)]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0
    assert sum(line.startswith("WHAT") for line in lines) == 2
    assert not any("\x1b" in line for line in lines)


def test_two_hundred_launches_are_quick_and_need_no_torch(place: Place) -> None:
    queue = []
    for k in range(200):
        name = f"array-{k:03d}"
        launch = place.launch(name, f"{1000 + k}*16", verb="sample", parts=32)
        for task in range(16):
            tell(launch, f"{1000 + k}_{task}", started(), {"event": "done"})
            queue.append(queued(f"{1000 + k}", "RUNNING", name, task=str(task), nodes="n1"))
    place.slurm("\n".join(queue))
    code = (
        "import sys, time; from jobs.status import main; main([]);"
        "print('torch' in sys.modules, 'submitit' in sys.modules, time.process_time())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    torch, submitit, seconds = done.stdout.splitlines()[-1].split()
    assert (torch, submitit) == ("False", "False")
    assert float(seconds) < 2  # measured 0.4; busy machines take longer
