"""A LoRA over two nodes, queued again in the middle: the losses of one process, each step once."""

import json
import os
import signal
from pathlib import Path

import pytest

from core.pretrained.lora.run import LoraRun
from tests.cluster.conftest import Cluster
from tests.cluster.launching import Workplace, events, until
from tests.finetuning import tiny_pictures
from tests.pipelines import tiny_sd

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

STEPS = 60
TINY = (
    *("--pipeline", "sd", "--data", "pictures", "--resolution-px", "32", "--bucket-step-px", "8"),
    *("--steps", str(STEPS), "--learning-rate", "1e-3", "--log-every", "1"),
    *("--validate-every", "0", "--checkpoint-every", "100000"),
)


def losses(run: Path) -> list[tuple[int, float]]:
    if not LoraRun(run).metrics.exists():
        return []
    rows = [json.loads(line) for line in LoraRun(run).metrics.read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


def test_two_nodes_adapt_a_pipeline_though_their_job_is_queued_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    place = Workplace(tmp_path, cluster.slurm_conf)
    tiny_sd(tmp_path / "sd")
    tiny_pictures(tmp_path / "pictures", per_class=4)
    place.done("finetune", *TINY, "--out", "one", "--cluster", "inline")
    said = place.done("finetune", *TINY, "--out", "two", "--partition", "spot", "--nodes", "2")
    assert "1 job of 2 × 1 processes" in said
    assert "pictures: 8 with 2 captions, such as 'a cat'" in said
    [launch] = place.launches()
    [job] = launch.job_ids()

    two = tmp_path / "two"
    until(lambda: len(place.processes(job)) == 2, what="both processes")
    pid = place.processes(job)[-1]
    until(lambda: len(losses(two)) >= 5, what="the first steps", every_s=0.01)
    os.kill(pid, signal.SIGSTOP)  # so that it does not end before it is disturbed
    place.slurm("scontrol", "requeue", job)
    until(lambda: not place.queue(), what="the end of the training")

    assert (two / "lora" / "kohya.safetensors").is_file(), place.logs()
    assert len(events(launch, "going on")) >= 2
    assert [step for step, _ in losses(two)] == list(range(1, STEPS + 1))
    for (_, ours), (_, theirs) in zip(losses(tmp_path / "one"), losses(two), strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)
