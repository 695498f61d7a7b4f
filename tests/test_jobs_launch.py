"""Launching without a cluster: snapshots, shares, private folders, processes on this machine."""

import dataclasses
import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.config import config_to_dict
from core.diffusion.sampleconfig import SampleConfig
from core.errors import UserError
from core.rundir import RunFolder
from core.training.stopping import Stopped
from jobs import launch, launches, preflight, sample, scheduler, snapshot
from jobs.batch import _must_succeed, _setup
from jobs.cluster import ClusterFlags, choose
from jobs.overview.queued import Answer, Heard
from jobs.scheduler import JobState
from jobs.worker import (
    CRASHED,
    STOPPED,
    TIME_IS_UP,
    USER_ERROR,
    Share,
    _verdict,
    place_of,
)
from tests.tiny import tiny_dataset

ROOT = Path(__file__).resolve().parents[1]


def test_shares_cover_every_part_once() -> None:
    for count in (0, 1, 7, 16, 100):
        for tasks in (1, 3, 16):
            shares = [Share(number=k, of=tasks).of_parts(count) for k in range(tasks)]
            assert [part for share in shares for part in share] == list(range(count))
            sizes = [len(share) for share in shares]
            assert max(sizes) - min(sizes) <= 1
    assert Share(parts=(3, 9)).of_parts(100) == (3, 9)


def test_a_snapshot_is_the_code_that_runs_and_is_made_once(tmp_path: Path) -> None:
    first = snapshot.take_snapshot(tmp_path / "code")
    copied = (first.folder / "jobs" / "worker.py").read_bytes()
    assert copied == (ROOT / "jobs" / "worker.py").read_bytes()
    assert snapshot.take_snapshot(tmp_path / "code") == first
    assert [path.name for path in (tmp_path / "code").iterdir()] == [first.digest[:16]]


def test_an_edit_makes_another_snapshot_and_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in snapshot.PACKAGES:
        (tmp_path / "tree" / package).mkdir(parents=True)
        (tmp_path / "tree" / package / "__init__.py").write_text("x = 1\n")
    monkeypatch.setattr(snapshot, "_folder_of", lambda package: tmp_path / "tree" / package)
    git = ["git", "-C", str(tmp_path / "tree"), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    clean = snapshot.take_snapshot(tmp_path / "code")
    assert clean.commit is not None
    assert clean.dirty == ""
    (tmp_path / "tree" / "core" / "__init__.py").write_text("x = 2\n")
    (tmp_path / "tree" / "core" / "new.py").write_text("y = 3\n")
    dirty = snapshot.take_snapshot(tmp_path / "code")
    assert dirty.commit == clean.commit
    assert "+x = 2" in dirty.dirty
    assert "new file: core/new.py" in dirty.dirty
    assert (dirty.folder / "core" / "new.py").exists()
    assert not (clean.folder / "core" / "new.py").exists()


def test_launch_folders_are_their_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENAGERIE_LAUNCHES", str(tmp_path / "launches"))
    first = launches.new_launch("train", tmp_path / "a run")
    second = launches.new_launch("train", tmp_path / "a run")
    assert first != second
    for folder in (tmp_path / "launches", first.root, first.jobs, first.journal):
        assert folder.stat().st_mode & 0o077 == 0


def test_a_launches_folder_that_cannot_be_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises(UserError, match=r"cannot make .*; set MENAGERIE_LAUNCHES"):
            launches.private_folder(folder)
    monkeypatch.setenv("MENAGERIE_LAUNCHES", "")
    assert launches.launches_folder() == Path.cwd() / "launches"  # never this folder itself


def test_a_file_in_the_way_of_the_output_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises(UserError, match="is a file, and a folder is needed there"):
            preflight.require_disk(out, 0)


def state(job: str, name: str) -> JobState:
    return JobState(id=job, state=name, nodes="", reason="", restarts=0)


@pytest.mark.parametrize(
    ("after", "complaint"),
    [
        ("9", "--after 9: SLURM knows no such job"),
        ("3", "--after 3: job 3_1 has ended as FAILED, so this would never start"),
        ("3_1", "job 3_1 has ended as FAILED"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, after: str, complaint: str
) -> None:
    states = [state("1", "RUNNING"), state("2_[0-4]", "PENDING"), state("3_0", "COMPLETED")]
    states.append(state("3_1", "FAILED"))
    monkeypatch.setattr(preflight, "states_of", lambda ids: {s.id: s for s in states})
    preflight.check_after(["1", "2", "2_3", "3_0"])
    with pytest.raises(UserError, match=complaint):
        preflight.check_after(["1", after])


def test_only_the_jobs_of_a_launch_count_as_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENAGERIE_LAUNCHES", str(tmp_path / "launches"))
    folder = launches.new_launch("train", tmp_path / "run")
    facts = {"kind": "slurm", "out": str(tmp_path / "run"), "config": {"steps": 4}}
    launches.write_launch(folder, facts, [{"id": "7", "tasks": 0}])
    theirs = state("7", "RUNNING")  # job numbers come again on another cluster
    ours = dataclasses.replace(theirs, script=f"{folder.jobs}/.submission_file_1.sh")
    monkeypatch.setattr(scheduler, "installed", lambda: True)
    monkeypatch.setattr(scheduler, "job_states", lambda ids: {"7": theirs})
    assert launch.queued_already(tmp_path / "run") is None
    monkeypatch.setattr(scheduler, "job_states", lambda ids: {"7": ours})
    queued = launch.queued_already(tmp_path / "run")
    assert queued is not None
    assert queued.job_ids == ("7",)


def test_what_is_queued_with_other_settings_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MENAGERIE_LAUNCHES", raising=False)
    folder = launches.new_launch("sample", tmp_path / "set")
    flags = sample.SampleFlags(config=SampleConfig(run=Path("run")), out=Path("set"))
    facts = {"config": config_to_dict(flags.config)}
    launches.write_launch(folder, facts, [{"id": "7", "tasks": 0}])
    there = launch.Submitted(folder=folder, job_ids=("7",))
    monkeypatch.setattr(launch, "queued_already", lambda out: there)
    cluster = choose(ClusterFlags(cluster="local"))
    assert launch.submit(sample.VERB, flags, [], cluster) == there
    other = dataclasses.replace(flags, config=SampleConfig(run=Path("run"), seed=7))
    with pytest.raises(UserError, match="in the queue as job 7 with other settings"):
        launch.submit(sample.VERB, other, [], cluster)


def test_a_job_whose_copy_of_the_code_is_gone_does_not_run_other_code(tmp_path: Path) -> None:
    code = snapshot.Snapshot(folder=tmp_path / "it's code", digest="", commit=None, dirty="")
    lines = _setup(launches.LaunchFolder(tmp_path), choose(ClusterFlags(cluster="local")), code)
    script = ["bash", "-c", "\n".join([*lines, "echo ran"])]
    done = subprocess.run(script, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: the copy of the code, {code.folder}, is gone" in done.stderr
    (code.folder / "jobs").mkdir(parents=True)
    assert subprocess.run(script, capture_output=True, text=True, timeout=10).stdout == "ran\n"


def test_a_folder_that_others_may_write_is_no_place_for_code(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    launches.private_folder(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    tmp_path.chmod(0o775)
    with pytest.raises(UserError, match="others may write in"):
        launches.private_folder(tmp_path)


def test_a_journal_survives_a_line_that_a_kill_cut_off(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    launches.note(tmp_path, "7", "rank-00000", "started", node="n1")
    with (tmp_path / "journal" / "7.rank-00000.jsonl").open("a") as file:
        file.write('{"time": 1, "ev')
    entries = launches.LaunchFolder(tmp_path).entries("7")
    assert [(entry["event"], entry["node"]) for entry in entries] == [("started", "n1")]


def test_slurms_variables_say_which_process_this_is() -> None:
    place = place_of(
        {"SLURM_JOB_ID": "90", "SLURM_ARRAY_JOB_ID": "88", "SLURM_ARRAY_TASK_ID": "2",
         "SLURM_RESTART_COUNT": "3", "SLURM_PROCID": "1", "SLURM_NTASKS": "4",
         "SLURM_LOCALID": "1", "SLURMD_NODENAME": "n7"}
    )  # fmt: skip
    assert (place.job, place.attempt, place.rank, place.processes) == ("88_2", 3, 1, 4)
    assert (place.local_rank, place.node) == (1, "n7")


@pytest.mark.parametrize(
    ("error", "received", "code"),
    [
        (UserError("the workers are gone"), signal.SIGUSR2, TIME_IS_UP),
        (UserError("the workers are gone"), None, USER_ERROR),
        (KeyboardInterrupt(), signal.SIGTERM, STOPPED),
        (ValueError("odd"), signal.SIGTERM, STOPPED),
        (ValueError("odd"), None, CRASHED),
        (OSError(errno.ENOSPC, "No space left on device"), None, USER_ERROR),
        (ConnectionResetError(errno.ECONNRESET, "reset"), None, CRASHED),
        (Stopped(signal.SIGUSR2, 7), None, TIME_IS_UP),
    ],
)
def test_what_follows_a_signal_is_its_doing(
    error: BaseException, received: int | None, code: int
) -> None:
    assert _verdict(error, received)[0] == code


def test_a_chain_that_waits_for_jobs_needs_slurm() -> None:
    with pytest.raises(UserError, match="--after"):
        choose(ClusterFlags(cluster="inline", after=("12",)))


@pytest.mark.slow
def test_two_processes_on_this_machine_train_one_run(tmp_path: Path) -> None:
    tiny_dataset(tmp_path / "data")
    command = [
        *(sys.executable, str(ROOT / "jobs" / "train.py"), "--data", "data", "--out", "run"),
        *("--steps", "4", "--batch-size", "4", "--block-channels", "32", "32"),
        *("--cluster", "local", "--gpus-per-node", "2", "--cpus-per-task", "1"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model" / "model_index.json").exists()
    [root] = (tmp_path / "launches").glob("2*")
    journal = launches.LaunchFolder(root).entries()
    assert [entry["event"] for entry in journal].count("done") == 2
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "finished already: nothing to do" in again.stdout
    command[command.index("--steps") + 1] = "5"
    other = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert other.returncode == 2
    assert "run holds a run with other settings, {'steps': 4}" in other.stderr


@pytest.mark.slow
def test_a_signal_to_the_launcher_alone_stops_what_it_launched(tmp_path: Path) -> None:
    tiny_dataset(tmp_path / "data")
    command = [
        *(sys.executable, str(ROOT / "jobs" / "train.py"), "--data", "data", "--out", "run"),
        *("--steps", "100000", "--batch-size", "4", "--block-channels", "32", "32"),
        *("--cluster", "local", "--cpus-per-task", "1", "--log-every", "1"),
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    metrics = RunFolder(tmp_path / "run").metrics
    deadline = time.monotonic() + 120
    while not metrics.exists() or not metrics.read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert len(RunFolder(tmp_path / "run").steps_saved()) == 1


def test_a_sites_line_that_fails_ends_the_job_before_its_work(tmp_path: Path) -> None:
    script = _must_succeed("no-such-module load 'x'") + "\necho work\n"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the set-up line failed: no-such-module load 'x'" in done.stderr


@pytest.mark.slow
def test_a_mistake_found_by_the_processes_is_the_exit_code(tmp_path: Path) -> None:
    tiny_dataset(tmp_path / "data")
    command = [
        *(sys.executable, str(ROOT / "jobs" / "train.py"), "--data", "data", "--out", "run"),
        *("--steps", "4", "--batch-size", "1", "--block-channels", "32", "32"),
        *("--cluster", "local", "--gpus-per-node", "2", "--cpus-per-task", "1"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "batch" in done.stderr


def test_the_queue_knows_better_than_the_books_whose_a_job_is() -> None:
    stranger = Heard(id="7", state="PENDING", origin="/dev/null")
    unsaid = Heard(id="7", state="PENDING")
    assert Answer(queue={"7": stranger}, books={"7": unsaid}).of("7", "7", "a-launch") is None
    assert Answer(queue={}, books={"7": unsaid}).of("7", "7", "a-launch") is unsaid
