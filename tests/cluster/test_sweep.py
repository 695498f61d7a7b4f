"""A sweep as an array: killed midway, resumed, nothing trained twice, the report complete."""

import json
import os
import signal
from pathlib import Path

import pytest

from core.rundir import RunFolder
from tests.cluster.conftest import Cluster
from tests.cluster.launching import Workplace, events, until
from tests.tiny import tiny_dataset

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SWEEP = (
    *("--data", "data", "--out", "sweep", "--tiny", "--steps", "8", "--checkpoint-every", "2"),
    *("--evaluate-every", "4", "--sample-every", "100", "--sample-steps", "1"),
    *("--sample-per-class", "1", "--precision", "fp32", "--batch-size", "4"),
    *("--grid", "base_channels=32,64", "schedule=linear,cosine", "seed=0,1,2"),
)
ARRAY = ("--partition", "gpu", "--tasks", "2")


def finished(place: Workplace) -> list[Path]:
    return sorted((place.folder / "sweep" / "runs").glob("*/model"))


def steps_logged(run: Path) -> list[int]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if "loss" in row]


def test_a_sweep_is_killed_and_cancelled_and_trains_nothing_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    tiny_dataset(tmp_path / "data")
    place = Workplace(tmp_path, cluster.slurm_conf)
    said = place.done("sweep", *SWEEP, *ARRAY)
    assert "plan: 12 runs over base_channels, schedule, seed" in said
    assert "12 of 12 parts in 2 tasks, 2 at once" in said
    [launch] = place.launches()
    [job] = launch.job_ids()
    until(lambda: finished(place), what="the first run")
    killed = until(
        lambda: [pid for task in range(2) for pid in place.processes(f"{job}_{task}")],
        what="a task at work",
    )
    os.kill(killed[0], signal.SIGKILL)
    until(lambda: events(launch, "requeued"), what="the killed task in the queue again")
    again = place.done("sweep", *SWEEP, *ARRAY)  # to see how far it is
    assert "in the queue already" in again
    assert "so far: " in again
    place.slurm("scancel", job)
    until(lambda: not place.queue(), what="the end of the array")
    before = {path: path.stat().st_mtime_ns for path in finished(place)}
    assert 0 < len(before) < 12
    place.done("sweep", *SWEEP, *ARRAY, "--wait", timeout_s=600)
    assert len(finished(place)) == 12
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for model in finished(place):
        run = RunFolder(model.parent)
        assert steps_logged(run.root) == [2, 4, 6, 8]  # every step once
        assert max(run.steps_saved()) == 8
    facts = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert facts["complete"]
    assert [run["state"] for run in facts["runs"]] == ["finished"] * 12
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 12
    assert facts["longer"].split()[1] == "jobs/train.py"
    done = place.done("sweep", *SWEEP, *ARRAY)
    assert "finished already: nothing to do" in done
