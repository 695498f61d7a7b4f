"""The starter recipe against noise prediction on a plain U-Net, for the same processor time.

    python tests/benchmarks/recipes.py [--seeds 0 1 2] [--samples 400] [--out FOLDER] [--jobs 2]

Both learn the starter animals at 32 px, each in a process with one thread; the starter preset makes
its own number of steps, the plain recipe as many as cost the same time (steps of both are timed in
turns first). Each is then judged by a classifier that learned from the animals alone: the share of
samples recognised as what they were asked to be, and the Fréchet distance in its features. Every
stage resumes: the same command goes on where it was interrupted.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.pinned import PinnedDataset, SplitName, open_pinned  # noqa: E402  # after the path
from core.data.prepare import PrepareConfig, prepare  # noqa: E402
from core.evaluation.frechet import frechet_distance  # noqa: E402
from core.evaluation.recognition import Recognizer, train_recognizer  # noqa: E402
from core.files import read_json, write_json  # noqa: E402
from core.images import unpremultiply  # noqa: E402
from core.sampleset import open_sample_set  # noqa: E402
from core.training.arithmetic import fast_kernels  # noqa: E402
from core.training.config import TrainConfig, preset  # noqa: E402
from core.training.processes import Processes  # noqa: E402
from core.training.step import Stepper, new_state  # noqa: E402

RECIPES: dict[str, dict[str, object]] = {
    "starter": {},
    "noise, plain U-Net": {
        "prediction": "noise",
        "weighting": "uniform",
        "noise_schedule": "cosine",
        "whiten": False,
        "patch": 1,
        "block_channels": (64, 96, 128),
        "optimizer": "adamw",
        "learning_rate": 1e-3,
    },
}
"""Changes to the starter preset. The plain U-Net has 2.7 M parameters: a wider one makes too few
steps."""


def main() -> int:
    """Train, sample, judge, print a table, and the figures as one JSON line."""
    arguments = _arguments()
    out: Path = arguments.out
    prepare(PrepareConfig(source="starter", size_px=32), out / "data", workers=2)
    dataset = open_pinned(out / "data")
    steps = _fair_steps(dataset, out / "steps.json")
    runs = [(name, seed) for seed in arguments.seeds for name in RECIPES]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda run: _make(*run, steps[run[0]], arguments), runs))
    recognizer = train_recognizer(dataset)
    real = _real(dataset, recognizer, "train")
    floor = frechet_distance(_real(dataset, recognizer, "validation"), real)
    figures = [_judge(name, seed, out, recognizer, real) for name, seed in runs]
    _print(figures, steps, floor)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=400, help="for each run, over all classes")
    parser.add_argument("--out", type=Path, default=Path("benchmark-recipes"))
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, a core each")
    return parser.parse_args()


def _config(name: str) -> TrainConfig:
    return dataclasses.replace(preset("starter"), **RECIPES[name])


def _fair_steps(dataset: PinnedDataset, kept: Path) -> dict[str, int]:
    """Steps of each recipe that take as long as the starter preset's own."""
    if not kept.exists():
        torch.set_num_threads(1)
        device = torch.device("cpu")
        steppers = {
            name: Stepper(
                _config(name),
                dataset,
                new_state(_config(name), dataset, device),
                Processes.alone(device),
            )
            for name in RECIPES
        }
        times: dict[str, list[float]] = {name: [] for name in RECIPES}
        with fast_kernels(device):
            for turn in range(14):
                for name, stepper in steppers.items():
                    begun = time.thread_time()
                    stepper.step()
                    if turn >= 2:
                        times[name].append(time.thread_time() - begun)
        each = {name: statistics.median(values) for name, values in times.items()}
        budget = preset("starter").steps * each["starter"]
        write_json(kept, {name: round(budget / seconds) for name, seconds in each.items()})
    return {name: int(count) for name, count in read_json(kept).items()}


def _folder(name: str, seed: int) -> str:
    return f"{name.split(',')[0]}-{seed}"


def _make(name: str, seed: int, steps: int, arguments: argparse.Namespace) -> None:
    """Train and sample with the commands that people use."""
    out: Path = arguments.out
    run = out / f"run-{_folder(name, seed)}"
    flags = ["--preset", "starter", "--seed", str(seed), "--steps", str(steps)]
    for field, value in RECIPES[name].items():
        flag = field.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            values = value if isinstance(value, tuple) else (value,)
            flags += [f"--{flag}", *map(str, values)]
    _command("train", "--data", str(out / "data"), "--out", str(run), *flags)
    per_class = arguments.samples // len(open_pinned(out / "data").label_names)
    samples = str(out / f"samples-{_folder(name, seed)}")
    _command(
        "sample",
        "--run",
        str(run),
        *("--per-class", str(per_class)),
        *("--out", samples, "--precision", "bf16"),
    )


def _command(verb: str, *flags: str) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "jobs" / f"{verb}.py"), "--cluster", "inline", *flags],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _judge(
    name: str, seed: int, out: Path, recognizer: Recognizer, real: Tensor
) -> dict[str, object]:
    samples = list(open_sample_set(out / f"samples-{_folder(name, seed)}").samples())
    pictures = [sample.image_hwc for sample in samples]
    wanted = torch.tensor([recognizer.label_names.index(sample.label) for sample in samples])
    right = recognizer.probabilities(pictures).argmax(1) == wanted
    return {
        "recipe": name,
        "seed": seed,
        "recognised": round(float(right.float().mean()), 4),
        "frechet": round(frechet_distance(recognizer.features(pictures), real), 4),
    }


def _real(dataset: PinnedDataset, recognizer: Recognizer, split: SplitName) -> Tensor:
    images, _ = dataset.part(split)
    return recognizer.features([unpremultiply(image) for image in np.array(images)])


def _print(figures: list[dict[str, object]], steps: dict[str, int], floor: float) -> None:
    print(f"{'recipe':<24}{'seed':>5}{'steps':>7}{'recognised':>12}{'Frechet':>10}")
    for row in figures:
        print(
            f"{row['recipe']:<24}{row['seed']:>5}{steps[str(row['recipe'])]:>7}"
            f"{row['recognised']:>12.1%}{row['frechet']:>10.3f}"
        )
    print(f"held-out pictures against the training pictures: {floor:.3f}")
    print(json.dumps({"floor": round(floor, 4), "steps": steps, "runs": figures}))


if __name__ == "__main__":
    sys.exit(main())
