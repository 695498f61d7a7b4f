"""The time and memory of an evaluation with built-in features, by the number of samples.

    python tests/benchmarks/evaluate.py [--counts 2500 10000] [--train 2000] [--size-px 64]

Starter animals are pinned and a sample set of fresh ones is written; `jobs/evaluate.py` then runs
as a person starts it, training of the classifier and the report included, and its wall time, CPU
time and peak memory are told. Memory should hardly grow with the number of samples.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.prepare import PrepareConfig, prepare  # noqa: E402  # after the path is set
from core.data.starter import LABELS, draw_animal  # noqa: E402
from core.images import Picture  # noqa: E402
from core.sampleset import Sample, finish_sample_set, shard_name, write_shard  # noqa: E402

SHARD = 256
DISTINCT = 400
"""Animals that are drawn; samples are these with a little noise, which takes less time to make."""


def main() -> None:
    """Parse, make the inputs, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[2500, 10_000])
    parser.add_argument("--train", type=int, default=2000, help="pictures of the dataset")
    parser.add_argument("--size-px", type=int, default=64)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        per_class = -(-flags.train // len(LABELS))
        config = PrepareConfig(source="starter", size_px=flags.size_px, per_class=per_class)
        prepare(config, place / "data", workers=2)
        animals = [
            draw_animal(LABELS[k % len(LABELS)], 900_000 + k, flags.size_px)
            for k in range(DISTINCT)
        ]
        rows = [measured(place, animals, count) for count in flags.counts]
    print("| samples | wall | CPU | peak memory |\n| ---: | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| {row['samples']:,} | {row['wall_s']:.0f} s | {row['cpu_s']:.0f} s "
            f"| {row['peak_mib']:,.0f} MiB |"
        )
    growth = rows[-1]["peak_mib"] / rows[0]["peak_mib"]
    print(json.dumps({"rows": rows, "peak_last_over_first": round(growth, 3)}))


def measured(place: Path, animals: list[Picture], count: int) -> dict[str, float]:
    """One evaluation in a process of its own."""
    samples = place / f"samples-{count}"
    _write_samples(samples, animals, count)
    command = [sys.executable, str(ROOT / "jobs" / "evaluate.py"), "--cluster", "inline"]
    command += ["--samples", str(samples), "--data", str(place / "data")]
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"the evaluation of {count} samples failed: {status}")
    return {
        "samples": count,
        "wall_s": round(time.monotonic() - begun, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
    }


def _write_samples(folder: Path, animals: list[Picture], count: int) -> None:
    noise = np.random.default_rng(0)
    shards = []
    for number, first in enumerate(range(0, count, SHARD)):
        rows = []
        for seed in range(first, min(first + SHARD, count)):
            picture = animals[seed % len(animals)].astype(np.int16)
            picture = picture + noise.integers(-6, 7, picture.shape) * (picture[..., 3:] > 0)
            image = np.clip(picture, 0, 255).astype(np.uint8)
            label = LABELS[seed % len(animals) % len(LABELS)]
            rows.append(Sample(image_hwc=image, label=label, seed=seed))
        write_shard(folder / shard_name(number), rows)
        shards.append(shard_name(number))
    finish_sample_set(
        folder, count=count, labels=LABELS, settings={}, parents={"model": "none"}, shards=shards
    )


if __name__ == "__main__":
    main()
