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
    # SLURM warns 50 s before the end of the minute, or at its next look, every half minute.
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
    stormy = place.folder / "stormy"

    hold_in_mid_training(hasty, launch, stormy, attempts=1)
    until(lambda: events(launch, "requeued"), what="the time-out")
    assert "time was up" in events(launch, "requeued")[0]["cause"]
    # From here on no time-out may come before the trouble that is meant.
    hasty.slurm("scontrol", "update", f"JobId={job}", "TimeLimit=30")

    hold_in_mid_training(hasty, launch, stormy, attempts=2)
    hasty.slurm("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--wrap=sleep 1")
    hold_in_mid_training(hasty, launch, stormy, attempts=3)
    hasty.slurm("scontrol", "requeue", job)
    pid = hold_in_mid_training(hasty, launch, stormy, attempts=4)
    os.kill(pid, signal.SIGKILL)
    until(lambda: "Killed" in str(events(launch, "requeued")[-1]["cause"]), what="the kill")

    until(lambda: not hasty.queue(), what="the end of the training")
    assert (stormy / "model").is_dir(), hasty.logs()
    assert len(events(launch, "going on")) >= 5
    assert weights(stormy) == weights(place.folder / "calm")
    assert losses(stormy) == losses(place.folder / "calm")


def hold_in_mid_training(
    place: Workplace, launch: LaunchFolder, run: Path, *, attempts: int
) -> int:
    """Stop (SIGSTOP) a process when the n-th attempt has made steps; its pid.

    So nothing ends before what is to disturb it comes; SLURM's signals wake it (SIGCONT).
    """

    def process() -> int | None:
        begun = events(launch, "going on")
        running = place.processes(launch.job_ids()[0])
        if len(begun) < attempts or len(running) < 2 or not RunFolder(run).metrics.exists():
            return None
        made = max(losses(run), default=0)
        return running[-1] if made >= int(begun[-1]["progress"]) + 10 else None

    pid = until(process, what=f"steps of attempt {attempts}")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return pid
