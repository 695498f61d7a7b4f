"""Training over two nodes: the losses of one process, and the same weights after any trouble."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from core.rundir import RunFolder
from jobs.launches import LaunchFolder
from tests.cluster.conftest import Cluster
from tests.cluster.launching import PROFILE, Workplace, events, until
from tests.tiny import tiny_dataset

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

TINY = (
    *("--data", "data", "--batch-size", "4", "--block-channels", "32", "32"),
    *("--precision", "fp32", "--log-every", "1", "--sample-every", "100000"),
    *("--evaluate-every", "100000", "--checkpoint-every", "100000"),
)


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Workplace:
    tiny_dataset(tmp_path / "data", per_split=8)
    return Workplace(tmp_path, cluster.slurm_conf)


def losses(run: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in RunFolder(run).metrics.read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def weights(run: Path) -> str:
    file = run / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_two_nodes_lose_what_one_process_loses(place: Workplace) -> None:
    place.done("train", *TINY, "--steps", "50", "--out", "one", "--cluster", "inline")
    said = place.done(
        "train", *TINY, "--steps", "50", "--out", "two", "--partition", "gpu", "--nodes", "2",
        "--wait",
    )  # fmt: skip
    assert "1 job of 2 × 1 processes" in said
    one, two = losses(place.folder / "one"), losses(place.folder / "two")
    assert sorted(one) == sorted(two) == list(range(1, 51))
    assert max(abs(two[step] - one[step]) / one[step] for step in one) < 1e-4
    [launch] = place.launches()
    assert {entry["node"] for entry in events(launch, "started")} == {"node1", "node2"}
    code = json.loads((place.folder / "two" / "code.json").read_text())
    assert Path(code["folder"]).is_dir()


def test_time_out_preemption_requeue_and_kill_change_no_weight(
    cluster: Cluster, place: Workplace
) -> None:
    steps = ("--steps", "400")
    place.done(
        "train", *TINY, *steps, "--out", "calm", "--partition", "gpu", "--nodes", "2", "--wait"
    )
    # The warning comes 50 s before the end of each minute: every attempt has about 10 s.
    hasty = Workplace(
        place.folder,
        cluster.slurm_conf,
        PROFILE.replace("signal_lead_s = 30", "signal_lead_s = 50"),
    )
    hasty.done(
        "train", *TINY, *steps, "--out", "stormy", "--partition", "spot", "--nodes", "2",
        "--time", "1", "--max-requeues", "50",
    )  # fmt: skip
    launch = hasty.launches()[-1]
    [job] = launch.job_ids()
    until(lambda: events(launch, "requeued"), what="the time-out", timeout_s=120)
    assert "time was up" in events(launch, "requeued")[0]["cause"]

    trained_on(launch, attempts=2)
    hasty.slurm("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--wrap=sleep 1")
    trained_on(launch, attempts=3)
    hasty.slurm("scontrol", "requeue", job)
    trained_on(launch, attempts=4)
    os.kill(hasty.processes(job)[-1], signal.SIGKILL)
    until(lambda: "Killed" in str(events(launch, "requeued")[-1]["cause"]), what="the kill")

    until(lambda: not hasty.queue(), what="the end of the training", timeout_s=240)
    assert (place.folder / "stormy" / "model").is_dir(), hasty.logs()
    attempts = len(events(launch, "going on"))
    assert attempts >= 5
    assert weights(place.folder / "stormy") == weights(place.folder / "calm")
    assert losses(place.folder / "stormy") == losses(place.folder / "calm")


def trained_on(launch: LaunchFolder, *, attempts: int) -> None:
    """Wait until the job runs for (at least) the n-th time and has made steps there."""

    def far() -> bool:
        begun = events(launch, "going on")
        if len(begun) < attempts:
            return False
        ended = [e for e in launch.entries() if e["event"] in ("stopped", "requeued")]
        return not ended or float(begun[-1]["time"]) > float(ended[-1]["time"])

    until(far, what=f"attempt {attempts}", timeout_s=90)
