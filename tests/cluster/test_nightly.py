"""Nights on a real SLURM: end to end, again, broken, cancelled, on a full disk."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.sampleset import open_sample_set
from core.training.loop import train
from jobs.nights.stages import SEEDS_PER_NIGHT
from tests.cluster.conftest import Cluster
from tests.cluster.launching import ROOT, Workplace, until
from tests.needs import missing
from tests.patience import best_of_three
from tests.tiny import tiny_config, tiny_dataset

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PLAN = """
name = "Tiny animals"
nights = "nights"
keep_nights = 3

[sample]
run = "run"
per_class = 6
steps = 2
shard_size = 4
batch_size = 4

[evaluate]
data = "data"
epochs = 1
min_recognised = 0.0

[[export]]
name = "animals"
size_px = 64
small_px = 64
min_psnr_db = 5
min_alpha_iou = 0.1

[publish]
folder = "public"

[cluster]
partition = "gpu"
tasks = 2

[cluster.evaluate]
tasks = 1
"""
UNFILTERED = (PLAN[PLAN.index("[evaluate]") : PLAN.index("[[export]]")], "")


class Nights(Workplace):
    """A plan, and its nights on the cluster."""

    def plan(self, *changes: tuple[str, str]) -> None:
        """Write the plan, with changes."""
        text = PLAN
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        (self.folder / "nightly.toml").write_text(text)

    def start(self, night: str, *flags: str) -> "subprocess.CompletedProcess[str]":
        """`menagerie nightly` for a night."""
        return self.run("nightly", "--plan", "nightly.toml", "--night", night, *flags)

    def start_inside_a_job(self, night: str) -> None:
        """The same as scrontab does it, whose lines are jobs."""
        nightly = f"{sys.executable} {ROOT}/jobs/nightly.py --plan nightly.toml --night {night}"
        command = f"cd {self.folder} && {nightly} --cluster slurm"
        limits = ("--mem-per-cpu=500", "--time=5", "--output=outer.log")
        self.slurm("sbatch", *limits, "--wrap", command)
        log = self.folder / "outer.log"
        until(lambda: log.exists() and "next: " in log.read_text(), what="a start inside a job")

    def whole(self, night: str) -> str:
        """A night to its end, which must be a good one."""
        done = self.start(night, "--wait")
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done.stdout

    def digest(self, night: str) -> dict[str, Any]:
        """What became of a night."""
        facts: dict[str, Any] = json.loads(
            (self.folder / "nights" / night / "digest.json").read_text()
        )
        return facts

    def states(self, night: str) -> dict[str, str]:
        """State of each stage."""
        return {row["name"]: row["state"] for row in self.digest(night)["stages"]}

    def jobs(self, night: str, stage: str) -> list[str]:
        """Jobs of a stage in the newest attempt."""
        record = json.loads((self.folder / "nights" / night / "night.json").read_text())
        jobs: list[str] = record["attempts"][-1]["stages"][stage]["jobs"]
        return jobs

    def empty_queue(self) -> None:
        """Cancel all jobs."""
        if jobs := {job.split("_")[0] for job in self.queue()}:
            self.slurm("scancel", *jobs)

    @contextlib.contextmanager
    def nothing_begins(self) -> Iterator[None]:
        """Let no job of the plan's partition begin: one of nobody's has all of it."""
        all_of_it = ("--partition=gpu", "--nodes=2", "--exclusive", "--output=/dev/null")
        job = self.slurm("sbatch", "--parsable", *all_of_it, "--wrap=sleep 600")
        try:
            state = ("squeue", "--noheader", "--format=%T", f"--jobs={job}")
            until(lambda: self.slurm(*state) == "RUNNING", what="all of the partition")
            yield
        finally:
            self.slurm("scancel", job)

    def current(self) -> str:
        """The night that readers see."""
        return os.readlink(self.folder / "public" / "current")

    def times(self) -> dict[str, int]:
        """When each file of the nights and of what is published was written last."""
        return {
            str(path): path.lstat().st_mtime_ns
            for top in ("nights", "public")
            for path in sorted((self.folder / top).rglob("*"))
        }


@pytest.fixture(scope="module")
def place(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """A trained model and its data; the tests' nights follow each other in it."""
    folder = tmp_path_factory.mktemp("nights")
    dataset = tiny_dataset(folder / "data")
    config = tiny_config(steps=2, block_channels=(32,), attention_levels=())
    train(config, dataset, folder / "run", cpu=True)
    nights = Nights(folder, cluster.slurm_conf)
    nights.plan()
    return nights


@pytest.fixture(scope="module")
def first(place: Nights) -> str:
    """A night that went well, whose five stages were in the queue within five seconds."""
    place.plan()

    def queued(number: int) -> tuple[float, str]:
        if number:
            place.empty_queue()
        night = f"2026-11-{18 + number}"
        began = time.monotonic()
        done = place.start(night)
        seconds = time.monotonic() - began
        assert done.returncode == 0, done.stderr
        return seconds, night

    _, night = best_of_three(queued, lambda found: found[0] < 5)
    assert "in the queue already as job" in place.whole(night)
    return night


def test_a_night_ends_with_published_packs_and_a_digest(place: Nights, first: str) -> None:
    night = place.folder / "nights" / first
    samples = open_sample_set(night / "samples", verify=True)
    seeds = [sample.seed for sample in samples.samples()]
    assert seeds == list(range(seeds[0], seeds[0] + 12))
    assert seeds[0] % SEEDS_PER_NIGHT == 0
    kept = json.loads((night / "evaluation/kept.json").read_text())["seeds"]
    pack = json.loads((place.folder / "public/current/animals/pack.json").read_text())
    assert {item["seed"] for item in pack["stickers"]} | {
        item["seed"] for item in pack["refused"]
    } == set(kept)
    assert place.current() == f"nights/{first}"
    facts = place.digest(first)
    assert facts["verdict"]["state"] == "published"
    assert facts["totals"]["made"] == 12
    assert all(row["jobs"] and row["nodes"] and row["ended"] for row in facts["stages"])
    assert "data:image/png;base64," in (night / "digest.html").read_text()


def test_the_same_night_again_repeats_nothing(place: Nights, first: str) -> None:
    jobs, before = len(place.launches()), place.times()
    assert "finished already: nothing to do" in place.whole(first)
    assert len(place.launches()) == jobs
    assert place.times() == before


def test_a_failure_is_named_mended_and_gone_on_from(place: Nights, first: str) -> None:
    night = "2026-11-21"
    place.plan(("min_recognised = 0.0", "min_recognised = 1.0"))
    done = place.start(night, "--wait")
    assert done.returncode == 2
    assert "Failed at evaluate" in done.stderr
    assert "fewer than --min-recognised 100.0%" in done.stderr
    assert list(place.states(night).values()) == ["done", "failed", "stopped", "stopped"]

    place.plan(("min_psnr_db = 5", "min_psnr_db = 99"))
    sampled = (place.folder / "nights" / night / "samples/sampleset.json").stat().st_mtime_ns
    done = place.start(night, "--wait")
    assert done.returncode == 2
    assert "Failed at export animals" in done.stderr
    assert "no picture passed" in done.stderr
    assert list(place.states(night).values()) == ["done", "done", "failed", "stopped"]
    page = (place.folder / "nights" / night / "digest.html").read_text()
    assert "Failed at export animals" in page
    assert f"--night {night}" in page
    assert place.current() == f"nights/{first}"

    place.plan()
    place.whole(night)
    assert place.current() == f"nights/{night}"
    assert (
        place.folder / "nights" / night / "samples/sampleset.json"
    ).stat().st_mtime_ns == sampled
    tries = {row["name"]: row["tries"] for row in place.digest(night)["stages"]}
    assert tries == {"sample": 1, "evaluate": 1, "export animals": 2, "publish": 1}


def test_a_cancelled_night_goes_on_without_gap_or_repetition(place: Nights) -> None:
    night = "2026-11-22"
    place.plan(
        ("per_class = 6", "per_class = 12"), ("steps = 2", "steps = 60"), UNFILTERED,
        ("cluster.evaluate", "cluster.sample"), ("tasks = 1", "array_parallelism = 1"),
    )  # fmt: skip
    place.start_inside_a_job(night)
    shards = place.folder / "nights" / night / "samples/data"
    until(lambda: list(shards.glob("part-*.parquet")), what="the first shard")
    [job] = place.jobs(night, "sample")
    place.slurm("scancel", f"{job}_0")
    made = {path: path.stat().st_mtime_ns for path in shards.glob("part-*.parquet")}

    # One task is lost and the other one goes on: what is missing comes after it.
    assert place.start(night).returncode == 0
    [again] = place.jobs(night, "sample")
    assert again != job
    place.empty_queue()

    assert "sample:\nplan: " in place.whole(night)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    samples = open_sample_set(place.folder / "nights" / night / "samples", verify=True)
    seeds = [sample.seed for sample in samples.samples()]
    assert seeds == list(range(seeds[0], seeds[0] + 24))
    assert place.current() == f"nights/{night}"


@pytest.fixture
def small_disk(place: Nights) -> Iterator[Path]:
    """The nights' folder of another plan, on a disk that a test fills."""
    folder = place.folder / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2g", "menagerie-test", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        missing(f"no small disk can be mounted here: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_more_room_is_enough(place: Nights, small_disk: Path) -> None:
    night = "2026-11-23"
    place.plan(('nights = "nights"', 'nights = "small"'), UNFILTERED)
    with place.nothing_begins():
        assert place.start(night).returncode == 0
        used = 4096 * (os.statvfs(small_disk).f_blocks - os.statvfs(small_disk).f_bfree)
        _resize(small_disk, str(used))
    until(lambda: not place.queue(), what="the end of the night")
    facts = json.loads((small_disk / night / "digest.json").read_text())
    assert facts["verdict"]["stage"] == "sample"
    assert "No space left on device" in facts["verdict"]["words"]
    refused = place.start(night)
    assert refused.returncode == 2
    [line] = [x for x in refused.stderr.splitlines() if not x.startswith("cluster: ")]
    assert "No space left on device" in line or "GiB free" in line
    _resize(small_disk, "2g")
    place.whole(night)
    assert place.current() == f"nights/{night}"
    published = sorted(path.name for path in (place.folder / "public/nights").glob("2*"))
    assert published == ["2026-11-21", "2026-11-22", night]  # keep_nights = 3


def _resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_what_the_cluster_would_refuse_is_one_line_and_nothing_is_queued(place: Nights) -> None:
    night = "2026-11-24"
    place.plan(('partition = "gpu"', 'partition = "moon"'))
    newest = place.launches()[-1]
    done = place.start(night)
    assert done.returncode == 2
    [line] = [x for x in done.stderr.splitlines() if not x.startswith("cluster: ")]
    assert line.startswith("nightly: error: --partition moon: there is none; known are gpu")
    assert place.launches()[-1] == newest
    assert "Could not start: --partition moon" in place.digest(night)["verdict"]["words"]
