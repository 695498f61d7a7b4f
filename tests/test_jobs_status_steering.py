"""Status: logs, cancelling, queueing again and watching; and that it is quick."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import status
from tests.launched import ROOT, Place, queued, started, tell


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


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
