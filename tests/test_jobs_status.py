"""Status: what SLURM, the journals and the outputs say, at a glance, whatever state they are in.

SLURM's two answers are faked at the process boundary, in the words of a real one; beside it,
tests/cluster/test_status.py asks a real one.
"""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from core.diffusion.generate import SamplingParts
from core.diffusion.sampleconfig import SampleConfig
from core.evaluation.config import EvaluateConfig
from core.evaluation.parts import EvaluateParts
from exporters.config import ExportConfig
from exporters.parts import ExportParts
from jobs.overview import table, words
from jobs.overview.gather import gather
from jobs.overview.screen import Screen, cells
from tests.launched import Place, booked, queued, started, tell
from tests.samplesets import animal, write_sample_set
from tests.tiny import tiny_dataset


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


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
    (model / "unet" / "config.json").write_text(json.dumps({"sample_size": 32, "out_channels": 4}))
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
