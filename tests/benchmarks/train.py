"""Training speed against the reference recipe, on the same pictures and the same batch.

    python tests/benchmarks/train.py [--device cuda] [--rounds 5] [--seconds 6] [--batch-size 16]

Rows: the reference recipe as it comes (tests/benchmarks/reference.py: 16.2 M parameters, fp32,
eager); the very same network in our arithmetic (bf16 where native, channels last, fused optimiser,
nothing waited for); and our own U-Net of that size, `animals-64`, through the real training step
with batches, noise, clipping and averaging. Rounds are interleaved and warm; ratios are of medians.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.pinned import PinnedDataset, open_pinned  # noqa: E402  # after the path is set
from core.data.prepare import PrepareConfig, prepare  # noqa: E402
from core.training.arithmetic import fast_kernels, use_bf16  # noqa: E402
from core.training.config import preset  # noqa: E402
from core.training.memory import pictures_of  # noqa: E402
from core.training.processes import Processes  # noqa: E402
from core.training.step import Stepper, new_state  # noqa: E402
from tests.benchmarks.reference import ReferenceTraining  # noqa: E402


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender:
    """Something that makes training steps."""

    name: str
    parameters: int
    step: Callable[[], object]


def main() -> int:
    """Measure, print a table, and the figures as one JSON line."""
    arguments = _arguments()
    device = torch.device(arguments.device)
    with tempfile.TemporaryDirectory() as name, fast_kernels(device):
        dataset = _pictures(arguments.data, Path(name))
        clean, labels = pictures_of(dataset, device, at_most=2048, split="train")
        contenders = [
            _reference(clean, labels, arguments.batch_size),
            _same_network(clean, labels, arguments.batch_size),
            _ours(dataset, device, arguments.batch_size),
        ]
        flops = [_flops(contender, arguments.batch_size) for contender in contenders]
        speeds = _measured(contenders, arguments, device)
    base = statistics.median(speeds[0])
    print(f"{'recipe':<44}{'parameters':>12}{'GFLOP/image':>13}{'images/s':>10}{'ratio':>7}")
    figures = {}
    for contender, cost, rounds in zip(contenders, flops, speeds, strict=True):
        speed = statistics.median(rounds)
        print(
            f"{contender.name:<44}{contender.parameters / 1e6:>10.1f} M{cost / 1e9:>13.1f}"
            f"{speed:>10.1f}{speed / base:>7.2f}"
        )
        figures[contender.name] = {
            "images_per_s": round(speed, 2),
            "ratio": round(speed / base, 3),
            "rounds": [round(value, 2) for value in rounds],
        }
    print(json.dumps({"threads": torch.get_num_threads(), "device": str(device), **figures}))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, help="a pinned dataset of 64 px; default: starter")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="for each recipe in a round")
    parser.add_argument("--batch-size", type=int, default=16)
    return parser.parse_args()


def _pictures(data: Path | None, folder: Path) -> PinnedDataset:
    if data is None:
        data = folder / "data"
        prepare(PrepareConfig(source="starter", size_px=64), data, workers=2)
    return open_pinned(data)


def _reference(clean: Tensor, labels: Tensor, batch_size: int) -> Contender:
    training = ReferenceTraining(clean, labels, batch_size=batch_size)
    return Contender(
        name="reference recipe (fp32, eager)",
        parameters=sum(p.numel() for p in training.network.parameters()),
        step=training.step,
    )


def _same_network(clean: Tensor, labels: Tensor, batch_size: int) -> Contender:
    """The reference's network and loss in our arithmetic."""
    training = ReferenceTraining(clean, labels, batch_size=batch_size)
    training.network.to(memory_format=torch.channels_last)
    training.clean = training.clean.contiguous(memory_format=torch.channels_last)
    training.optimizer = torch.optim.AdamW(
        training.network.parameters(), lr=8e-5, betas=(0.9, 0.99), fused=True
    )
    bf16 = use_bf16("auto", clean.device)

    def step() -> object:
        with torch.autocast(clean.device.type, torch.bfloat16, enabled=bf16):
            loss = training.loss()
        return training.update(loss)

    return Contender(
        name="the same network in our arithmetic",
        parameters=sum(p.numel() for p in training.network.parameters()),
        step=step,
    )


def _ours(dataset: PinnedDataset, device: torch.device, batch_size: int) -> Contender:
    config = dataclasses.replace(preset("animals-64"), batch_size=batch_size)
    state = new_state(config, dataset, device)
    stepper = Stepper(config, dataset, state, Processes.alone(device))
    return Contender(
        name="ours: animals-64, the whole step",
        parameters=state.unet.num_parameters(),
        step=stepper.step,
    )


def _flops(contender: Contender, batch_size: int) -> float:
    """Floating-point operations of a step, forward and backward, per picture."""
    with FlopCounterMode(display=False) as counter:
        contender.step()
    return counter.get_total_flops() / batch_size


def _measured(
    contenders: list[Contender], arguments: argparse.Namespace, device: torch.device
) -> list[list[float]]:
    """Images per second of each contender in each round, in turns."""
    speeds: list[list[float]] = [[] for _ in contenders]
    for round_ in range(arguments.rounds + 1):
        for contender, found in zip(contenders, speeds, strict=True):
            speed = _speed(contender.step, arguments.seconds, arguments.batch_size, device)
            if round_:  # the first one warms up
                found.append(speed)
    return speeds


def _speed(
    step: Callable[[], object], seconds: float, batch_size: int, device: torch.device
) -> float:
    _wait(device)
    begun, made = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds or made < 2:
        step()
        _wait(device)
        made += 1
    return made * batch_size / passed


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
