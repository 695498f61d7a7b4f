"""How long submitting takes: a job, an array of 50 tasks, and the chain of a night.

    python tests/benchmarks/submission.py        (on a cluster, or on the development cluster)

Each command runs as a person would type it, several times; the jobs are cancelled at once.
Beside it stands what `sbatch` itself takes for the same number of submissions.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
ROUNDS = 5
PLAN = """
name = "bench"
nights = "nights"
[sample]
run = "run"
per_class = 100
shard_size = 4
steps = 2
[evaluate]
data = "data"
[[export]]
name = "Bench"
[publish]
folder = "public"
[cluster]
tasks = 16
"""


def main() -> int:
    """Measure, print a table, and the figures as one JSON line."""
    from core.training.loop import train
    from tests.tiny import tiny_config, tiny_dataset

    if not os.environ.get("SLURM_CONF") and not shutil.which("sbatch"):
        print("no SLURM here: start one with python slurm/devcluster.py start", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = tiny_dataset(folder / "data")
        train(tiny_config(steps=2), dataset, folder / "run", cpu=True)
        (folder / "night.toml").write_text(PLAN)
        figures = {what: _median(folder, what, command) for what, command in COMMANDS.items()}
    print(f"{'what':<34}{'seconds, median of ' + str(ROUNDS):>24}")
    for what, seconds in figures.items():
        print(f"{what:<34}{seconds:>24.2f}")
    print(json.dumps({what: round(seconds, 3) for what, seconds in figures.items()}))
    return 0


COMMANDS: dict[str, Sequence[str]] = {
    "array of 50 tasks": (
        *("jobs/sample.py", "--run", "run", "--per-class", "100", "--shard-size", "4"),
        *("--tasks", "50", "--cluster", "slurm", "--out"),
    ),
    "night of 5 stages": (
        "jobs/nightly.py",
        "--cluster",
        "slurm",
        "--plan",
        "night.toml",
        "--night",
    ),
    "sbatch alone, 5 times": ("sbatch",),
}


def _median(folder: Path, what: str, command: Sequence[str]) -> float:
    times = []
    for k in range(ROUNDS):
        begun = time.perf_counter()
        if command[0] == "sbatch":
            for _ in range(5):
                _run(folder, ["sbatch", "--hold", "--output=/dev/null", "--wrap", "true"])
        else:
            last = f"2026-01-{k + 1:02d}" if what.startswith("night") else f"set-{k}"
            _run(folder, [sys.executable, str(ROOT / command[0]), *command[1:], last])
        times.append(time.perf_counter() - begun)
        _run(folder, ["scancel", "--user", str(os.getuid())])
    return statistics.median(times)


def _run(folder: Path, command: Sequence[str]) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr or done.stdout}")


if __name__ == "__main__":
    sys.exit(main())
