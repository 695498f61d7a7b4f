"""Sampling and exporting as arrays: every picture once, whatever is killed."""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from core.sampleset import open_sample_set
from core.training.loop import train
from jobs.snapshot import PACKAGES
from tests.cluster.conftest import Cluster
from tests.cluster.launching import ROOT, Workplace, events, until
from tests.tiny import tiny_config, tiny_dataset

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PICTURES = ("--run", "run", "--per-class", "1000", "--shard-size", "40", "--steps", "2",
            "--batch-size", "40")  # fmt: skip


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Workplace:
    dataset = tiny_dataset(tmp_path / "data")
    config = tiny_config(steps=2, block_channels=(32,), attention_levels=())
    train(config, dataset, tmp_path / "run", cpu=True)
    return Workplace(tmp_path, cluster.slurm_conf)


def test_kills_lose_and_repeat_nothing(place: Workplace) -> None:
    whole = ("--out", "whole", "--cluster", "inline")
    place.done("sample", *PICTURES, *whole)
    said = place.done(
        "sample", *PICTURES, "--out", "torn", "--partition", "gpu", "--tasks", "16",
        "--array-parallelism", "4", "--max-requeues", "100",
    )  # fmt: skip
    assert "50 of 50 parts in 16 tasks, 4 at once" in said
    [launch] = place.launches()
    [job] = launch.job_ids()
    dice, kills, last = random.Random(1), 0, time.monotonic()
    deadline = time.monotonic() + 600
    while not (place.folder / "torn" / "sampleset.json").exists():
        assert time.monotonic() < deadline, place.logs()
        running = [pid for task in range(16) for pid in place.processes(f"{job}_{task}")]
        if running and time.monotonic() - last > 2 and kills < 10:
            os.kill(dice.choice(running), signal.SIGKILL)
            kills, last = kills + 1, time.monotonic()
        time.sleep(0.2)
    until(lambda: not place.queue(), what="the end of the array")
    assert kills >= 3
    assert len(events(launch, "requeued")) >= kills - 2  # one may have hit a finished task
    torn, whole_set = (
        open_sample_set(place.folder / name, verify=True) for name in ("torn", "whole")
    )
    assert [sample.seed for sample in torn.samples()] == list(range(2000))
    assert torn.digest == whole_set.digest  # labels, seeds and the pictures' bytes
    again = place.done("sample", *PICTURES, "--out", "torn", "--partition", "gpu")
    assert "finished already: nothing to do" in again


def test_arrays_longer_than_the_cluster_admits_are_chunked(place: Workplace) -> None:
    code = (
        "import sys; from jobs import preflight; preflight.max_array_size = lambda: 2;"
        "from jobs.sample import main; sys.exit(main(sys.argv[1:]))"
    )
    flags = ("--run", "run", "--per-class", "5", "--shard-size", "2", "--steps", "2")
    where = ("--out", "many", "--partition", "gpu", "--tasks", "5", "--wait")
    done = place.command(sys.executable, "-c", code, *flags, *where, timeout_s=120)
    assert done.returncode == 0, done.stderr + place.logs()
    [launch] = place.launches()
    assert [job["tasks"] for job in launch.facts()["jobs"]] == [2, 2, 0]  # one task is no array
    assert open_sample_set(place.folder / "many", verify=True).count == 10


def test_an_export_array_makes_the_bytes_of_one_process(place: Workplace) -> None:
    flags = ("--run", "run", "--per-class", "4", "--shard-size", "2", "--steps", "2")
    place.done("sample", *flags, "--out", "set", "--cluster", "inline")
    export = (
        *("--samples", "set", "--name", "Set", "--size-px", "64", "--small-px", "32"),
        *("--min-psnr-db", "1", "--min-alpha-iou", "0.1"),
    )
    place.done("export", *export, "--out", "one/pack", "--workers", "1", "--cluster", "inline")
    place.done(
        "export", *export, "--out", "many/pack", "--workers", "1", "--partition", "gpu",
        "--tasks", "4", "--wait",
    )  # fmt: skip
    assert (place.folder / "many/pack.zip").read_bytes() == (
        place.folder / "one/pack.zip"
    ).read_bytes()


def test_what_an_earlier_job_will_make_can_be_queued_for(place: Workplace) -> None:
    flags = ("--run", "run", "--per-class", "2", "--shard-size", "2", "--steps", "2")
    place.done("sample", *flags, "--out", "set", "--partition", "gpu")
    [first] = place.launches()[0].job_ids()
    export = (
        *("--samples", "set", "--name", "Set", "--size-px", "64", "--small-px", "32"),
        *("--min-psnr-db", "1", "--min-alpha-iou", "0.1", "--workers", "1", "--out", "pack"),
    )
    assert place.run("export", *export, "--partition", "gpu").returncode == 2  # not there yet
    said = place.done(
        "export", *export, "--partition", "gpu", "--tasks", "2", "--after", first, "--wait"
    )
    assert f"not checked before job {first} has ended" in said
    assert (place.folder / "pack.zip").exists(), place.logs()


def test_a_job_waits_for_the_one_before_it(place: Workplace) -> None:
    before = place.slurm("sbatch", "--parsable", "--wrap=sleep 2; false")
    flags = ("--run", "run", "--per-class", "1", "--steps", "2", "--out", "after")
    place.done("sample", *flags, "--partition", "gpu", "--after", before)
    until(lambda: not place.queue(), what="the end of the chain")
    assert not (place.folder / "after" / "sampleset.json").exists()  # the one before failed


def test_an_edit_after_submission_changes_no_queued_job(place: Workplace) -> None:
    tree = place.folder / "tree"
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    place.environment["PYTHONPATH"] = str(tree)
    before = place.slurm("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 4")
    flags = ("--run", "run", "--per-class", "1", "--steps", "2", "--out", "set")
    where = ("--partition", "gpu", "--after", before)
    done = place.command(sys.executable, str(tree / "jobs" / "sample.py"), *flags, *where)
    assert done.returncode == 0, done.stderr
    for package in PACKAGES:
        for path in (tree / package).rglob("*.py"):
            path.write_text("raise SystemExit('edited after submission')\n")
    until(lambda: not place.queue(), what="the end of the job")
    assert open_sample_set(place.folder / "set", verify=True).count == 2, place.logs()
