"""Preparing pictures against torchvision's Resize, and the training input against a DataLoader.

    python tests/benchmarks/data.py [--data DIR] [--rounds 5]

DIR holds class folders of pictures; default: the real animals (MENAGERIE_REAL_DATA), else starter
animals written as JPEG. All rounds are interleaved, after a warm one; ratios are of medians.

1. Preparing, in pictures per second of one core's time (process time, one process; what several
   threads do is added up). The baselines are loops as people write them, each picture opened by
   PIL, made RGB, resized with antialiasing and cropped to 64 px: by torchvision on the PIL picture,
   its quickest way, with which all are compared; and on the tensor, as its current guide has it.
   `prepare` is the real command's whole work: listing, digests, damage, copies, split, writing.
2. Training input, in pictures per second of the clock: `TrainingPictures.batch`, with noise and
   labels, against `ImageFolder` (resize, crop, flip, normalise) in a DataLoader; and our input's
   share of a training step on the CPU (fp32 where bf16 is not native).
"""

import argparse
import dataclasses
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.pinned import open_pinned  # noqa: E402  # after the path is set
from core.data.prepare import PrepareConfig, prepare  # noqa: E402
from core.data.starter import draw_many  # noqa: E402
from core.errors import UserError  # noqa: E402
from core.images import over  # noqa: E402
from core.training.arithmetic import fast_kernels  # noqa: E402
from core.training.config import Preset, preset, preset_size_px  # noqa: E402
from core.training.memory import TrainingPictures  # noqa: E402
from core.training.processes import Processes  # noqa: E402
from core.training.step import Stepper, new_state  # noqa: E402

SIZE_PX = 64
STEP_BATCH = 16
"""Pictures per step where the preset's own batch would take a CPU a quarter of a minute."""
_WHITE = (255, 255, 255)


def main() -> int:
    """Measure, print tables, and the figures as one JSON line."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        try:
            _check(arguments)
            pictures = _pictures(arguments.data, scratch)
            preparing = _preparing(pictures, scratch, arguments.rounds)
        except UserError as error:
            print(f"data: error: {error}", file=sys.stderr)
            return 2
        _print_speeds("preparing, per second of one core", preparing)
        loading = _loading(pictures, scratch, arguments.rounds)
        _print_speeds("training input, per second", loading)
        shares = [_share(pictures, scratch, preset, arguments.rounds) for preset in _PRESETS]
    _print_shares(shares)
    print(json.dumps({"prepare": preparing, "input": loading, "share_of_step": shares}))
    return 0


_PRESETS: tuple[Preset, ...] = ("starter", "animals-64")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a folder of class folders of pictures")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def _check(arguments: argparse.Namespace) -> None:
    if arguments.rounds < 1:
        raise UserError(f"--rounds is {arguments.rounds}: give 1 or more")
    if arguments.data is not None and not arguments.data.is_dir():
        raise UserError(f"--data {arguments.data} is no folder: name one with class folders in it")


def _pictures(data: Path | None, scratch: Path) -> Path:
    if data is not None:
        return data
    real = Path(os.environ.get("MENAGERIE_REAL_DATA", ROOT.parent / "shared" / "data")) / "animals8"
    if real.is_dir():
        return real
    for label, seed, picture in draw_many(100, 0, 128):
        folder = scratch / "pictures" / label
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(over(picture, _WHITE)).save(folder / f"{seed}.jpg", quality=95)
    return scratch / "pictures"


def _preparing(pictures: Path, scratch: Path, rounds: int) -> dict[str, dict[str, float]]:
    files = sorted(path for path in pictures.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    if not files:
        raise UserError(f"{pictures} holds no .jpg or .png: name another --data")
    crop = transforms.CenterCrop(SIZE_PX)
    by_pil = transforms.Compose([transforms.Resize(SIZE_PX), crop, transforms.PILToTensor()])
    by_tensor = transforms.Compose(
        [transforms.PILToTensor(), transforms.Resize(SIZE_PX, antialias=True), crop]
    )
    like_torchvision = PrepareConfig(
        source=str(pictures), size_px=SIZE_PX, colour_space="srgb", duplicates="exact"
    )
    in_light = dataclasses.replace(like_torchvision, colour_space="linear")
    default = dataclasses.replace(in_light, duplicates="moved")
    places = (scratch / f"prepared-{number}" for number in itertools.count())
    contenders: dict[str, Callable[[], object]] = {
        "torchvision Resize of PIL pictures": lambda: _loop(files, by_pil),
        "torchvision Resize of tensors": lambda: _loop(files, by_tensor),
        "prepare, averaging as they do, exact copies": lambda: prepare(
            like_torchvision, next(places)
        ),
        "prepare, averaging light, exact copies": lambda: prepare(in_light, next(places)),
        "prepare, all defaults (moved copies too)": lambda: prepare(default, next(places)),
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = _measured(contenders, rounds, count=len(files), clock=time.process_time)
    torch.set_num_threads(before)
    return found


def _loop(files: list[Path], transform: Callable[[Image.Image], object]) -> None:
    for path in files:
        with Image.open(path) as image:
            transform(image.convert("RGB"))


def _loading(pictures: Path, scratch: Path, rounds: int) -> dict[str, dict[str, float]]:
    config = preset("animals-64")
    dataset = open_pinned(_prepared(pictures, scratch, SIZE_PX))
    ours = TrainingPictures(dataset, config, torch.device("cpu"))
    on_the_fly = ImageFolder(
        pictures,
        transforms.Compose(
            [
                *(transforms.Resize(SIZE_PX), transforms.CenterCrop(SIZE_PX)),
                *(transforms.RandomHorizontalFlip(), transforms.ToTensor()),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
            ]
        ),
    )
    steps = max(1, min(len(on_the_fly), 2048) // config.batch_size)
    counter = itertools.count()

    def our_batches() -> None:
        for _ in range(steps):
            ours.batch(next(counter))

    loaders = {workers: _batches(on_the_fly, config.batch_size, workers) for workers in (0, 2)}
    contenders: dict[str, Callable[[], object]] = {
        f"ImageFolder, {workers} workers": lambda batches=batches: [
            next(batches) for _ in range(steps)
        ]
        for workers, batches in loaders.items()
    }
    contenders["ours: TrainingPictures.batch"] = our_batches
    return _measured(contenders, rounds, count=steps * config.batch_size, clock=time.perf_counter)


def _batches(folder: ImageFolder, batch_size: int, workers: int) -> Iterator[object]:
    """Shuffled epochs, end to end, by workers that stay."""
    loader = DataLoader(
        folder,
        batch_size=min(batch_size, len(folder)),
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        drop_last=True,
    )
    while True:
        yield from loader


def _share(pictures: Path, scratch: Path, name: Preset, rounds: int) -> dict[str, float | str]:
    """How much of a training step of this preset the input is."""
    size_px, config = preset_size_px(name), preset(name)
    if name != "starter":
        config = dataclasses.replace(config, batch_size=STEP_BATCH)
    dataset = open_pinned(_prepared(pictures, scratch, size_px))
    processes = Processes.alone(torch.device("cpu"))
    stepper = Stepper(config, dataset, new_state(config, dataset, processes.device), processes)
    ours = TrainingPictures(dataset, config, processes.device)
    inputs, steps = [], []
    with fast_kernels(processes.device):
        for round_ in range(rounds + 1):
            input_s = statistics.median(_seconds(lambda k=k: ours.batch(k)) for k in range(20))
            step_s = min(_seconds(stepper.step) for _ in range(2))
            if round_:  # the first one warms up
                inputs.append(input_s)
                steps.append(step_s)
    input_s, step_s = statistics.median(inputs), statistics.median(steps)
    return {
        "preset": name,
        "size_px": size_px,
        "batch_size": config.batch_size,
        "input_ms": round(input_s * 1000, 3),
        "step_ms": round(step_s * 1000, 1),
        "share": round(input_s / step_s, 5),
    }


def _prepared(pictures: Path, scratch: Path, size_px: int) -> Path:
    config = PrepareConfig(source=str(pictures), size_px=size_px, duplicates="exact")
    return prepare(config, scratch / f"dataset-{size_px}").dataset.folder


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _measured(
    contenders: dict[str, Callable[[], object]],
    rounds: int,
    *,
    count: int,
    clock: Callable[[], float],
) -> dict[str, dict[str, float]]:
    """Pictures per second of each contender, and the ratio to the first, by medians of rounds."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, work in contenders.items():
            begun = clock()
            work()
            if round_:  # the first one warms up
                speeds[name].append(count / (clock() - begun))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    base = next(iter(medians.values()))
    return {
        name: {"pictures_per_s": round(speed, 1), "ratio": round(speed / base, 3)}
        for name, speed in medians.items()
    }


def _print_speeds(title: str, speeds: dict[str, dict[str, float]]) -> None:
    print(f"\n{title:<52}{'pictures/s':>12}{'ratio':>8}", flush=True)
    for name, figures in speeds.items():
        print(f"{name:<52}{figures['pictures_per_s']:>12.0f}{figures['ratio']:>8.2f}", flush=True)


def _print_shares(shares: list[dict[str, float | str]]) -> None:
    title = "our input within a training step (CPU)"
    print(f"\n{title:<46}{'input ms':>10}{'step ms':>10}{'share':>8}")
    for share in shares:
        what = f"{share['preset']}, {share['size_px']} px, batch {share['batch_size']}"
        print(
            f"{what:<46}{share['input_ms']:>10.2f}{share['step_ms']:>10.1f}{share['share']:>8.2%}"
        )


if __name__ == "__main__":
    sys.exit(main())
