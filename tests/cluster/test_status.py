"""Status beside a real SLURM: what runs, what failed and why, and steering it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core.data.pinned import open_pinned
from core.training.loop import train
from tests.cluster.conftest import Cluster
from tests.cluster.launching import ROOT, Workplace, until
from tests.patience import best_of_three
from tests.tiny import tiny_config, tiny_dataset

pytestmark = pytest.mark.slurm

TRAIN = (
    *("--data", "data", "--batch-size", "4", "--block-channels", "32", "--attention-levels"),
    *("--precision", "fp32", "--log-every", "1", "--sample-every", "1000000"),
    *("--evaluate-every", "1000000", "--partition", "gpu"),
)


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Workplace:
    tiny_dataset(tmp_path / "data")
    return Workplace(tmp_path, cluster.slurm_conf)


def seen(place: Workplace, out: str) -> dict[str, Any]:
    """What status knows of the newest launch that makes `out`."""
    facts = json.loads(place.done("status", "--json"))
    assert facts["slurm_asked"]
    return next(one for one in facts["launches"] if Path(one["out"]).name == out)


def test_a_training_is_seen_queued_again_followed_and_cancelled(place: Workplace) -> None:
    place.done("train", *TRAIN, "--steps", "1000000", "--out", "run")
    [launch] = place.launches()
    [job] = launch.job_ids()
    until(lambda: seen(place, "run")["done"] > 0, what="the first steps")
    facts = seen(place, "run")
    assert (facts["state"], facts["jobs"], facts["total"]) == ("running", [job], 1_000_000)
    assert facts["nodes"][0].startswith("node")
    assert facts["images_per_s"] > 0
    assert facts["seconds_left_by"] == "speed"

    assert f"queued again: job {job}" in place.done("status", "--requeue", job)
    until(lambda: seen(place, "run")["requeues"] == 1, what="the requeue")
    until(lambda: seen(place, "run")["state"] == "running", what="the second attempt")

    follow = [sys.executable, str(ROOT / "jobs/status.py"), "--log", job, "--follow"]
    with subprocess.Popen(
        follow, cwd=place.folder, env=place.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as following:  # fmt: skip
        assert f"cancelled: job {job}" in place.done("status", "--cancel", job)
        said, last = following.communicate(timeout=60)
        assert following.returncode == 0
    assert "training run on 8 pictures" in said
    assert last.splitlines()[-1].startswith(f"job {job}: cancelled")
    assert seen(place, "run")["state"] == "cancelled"
    again = place.run("status", "--cancel", job)
    assert again.returncode == 2
    assert f"{job} has been cancelled already" in again.stderr


def test_an_array_a_chain_that_fails_and_a_cluster_that_is_down(
    place: Workplace, cluster: Cluster
) -> None:
    config = tiny_config(steps=2, block_channels=(32,), attention_levels=())
    train(config, open_pinned(place.folder / "data"), place.folder / "model", cpu=True)
    sample = ("--run", "model", "--per-class", "4", "--shard-size", "2", "--steps", "2")
    place.done("sample", *sample, "--out", "set", "--partition", "gpu", "--tasks", "2")
    place.done("train", *TRAIN, "--steps", "99", "--learning-rate", "1e9", "--out", "bad")
    bad = place.launches()[-1].job_ids()[0]
    place.done("sample", *sample, "--out", "next", "--partition", "gpu", "--after", bad)
    counts = seen(place, "set")["counts"]
    assert sum(counts.values()) == 2
    assert set(counts) <= {"pending", "running", "done"}

    until(lambda: seen(place, "next")["state"] == "cancelled", what="the end of the chain")
    until(lambda: not place.queue(), what="the end of the array")
    array = seen(place, "set")
    assert (array["counts"], array["done"], array["total"]) == ({"done": 2}, 4, 4)
    said = place.done("status")
    assert "2 done" in said
    assert "└ the training diverged at step" in said
    assert f"└ it needs job {bad}, which failed" in said
    assert place.run("status", "--check").returncode == 1
    assert "train: error: the training diverged" in place.done("status", "--log", bad)

    conf = cluster.slurm_conf.read_text().splitlines()
    dead = ["SlurmctldPort=1" if line.startswith("SlurmctldPort=") else line for line in conf]
    (place.folder / "dead.conf").write_text("\n".join(dead) + "\n")
    place.environment["SLURM_CONF"] = str(place.folder / "dead.conf")

    def told(_: int) -> float:
        begun = time.monotonic()
        said = place.done("status")
        seconds = time.monotonic() - begun
        assert said.count("SLURM was not asked: ") == 1
        assert "└ the training diverged at step" in said
        return seconds

    best_of_three(told, lambda seconds: seconds < 5)
    refused = place.run("status", "--cancel", "all", "--yes")
    assert refused.returncode == 2
    assert "SLURM cannot be asked" in refused.stderr
