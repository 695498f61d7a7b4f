"""Memory that training and sampling take, preset by preset, gradient checkpointing off and on.

    python tests/benchmarks/memory.py [--device cuda] [--memory-gb 8] [--presets animals-256]

Each figure is of a fresh process, on a CPU its whole peak of resident memory (Python and libraries
too), on a GPU the peak of what tensors took. Training: the micro-batch that `--accumulate auto`
finds for the limit, in a step of two of them where the batch is larger. Sampling: guided, as many
pictures at once as `jobs/sample.py` does by default.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.pinned import PinnedDataset  # noqa: E402  # after the path is set
from core.data.prepare import PrepareConfig, prepare  # noqa: E402
from core.training.arithmetic import fast_kernels  # noqa: E402
from core.training.card import make_pipeline  # noqa: E402
from core.training.config import TrainConfig, preset, preset_size_px  # noqa: E402
from core.training.processes import Processes  # noqa: E402
from core.training.step import Stepper, measured_patches, new_state  # noqa: E402
from core.training.trial import fitting_accumulate  # noqa: E402
from core.training.usage import forget_peak, memory_in_use_bytes  # noqa: E402

_PRESETS = ("animals-64", "animals-128", "animals-256")


def main() -> int:
    """Measure all, print a table and the figures as one JSON line; 1 if something did not fit."""
    arguments = _arguments()
    if arguments.part:
        print(json.dumps(_PARTS[arguments.part](arguments)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = Path(folder)
        figures = _measured(arguments)
    fits = all(found.get("gib", 1e9) <= arguments.memory_gb for found in figures.values())
    print(json.dumps({"device": arguments.device, "memory_gb": arguments.memory_gb, **figures}))
    return 0 if fits else 1


def _measured(arguments: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    print(
        f"{'preset':<14}{'checkpointing':<15}{'pictures at once':>17}{'--accumulate':>14}{'GiB':>7}"
    )
    for name in arguments.presets:
        for checkpointing in ("off", "on"):
            found = _in_fresh_process("trial", name, checkpointing, arguments)
            if "error" not in found:
                found |= _in_fresh_process("train", name, checkpointing, arguments, **found)
            _show(name, checkpointing, found)
            figures[f"{name} train, checkpointing {checkpointing}"] = found
        found = _in_fresh_process("sample", name, "off", arguments)
        _show(name, "(sampling)", found)
        figures[f"{name} sample"] = found
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory-gb", type=float, default=8.0, help="the limit, in GiB")
    parser.add_argument("--presets", nargs="+", choices=_PRESETS, default=_PRESETS)
    parser.add_argument("--part", choices=sorted(_PARTS), help="measure one thing, in this process")
    parser.add_argument("--folder", type=Path, help="where the pictures are")
    parser.add_argument("--checkpointing", choices=("off", "on"), default="off")
    parser.add_argument("--pictures", type=int, default=32, help="at once")
    parser.add_argument("--accumulate", type=int, default=1)
    return parser.parse_args()


def _in_fresh_process(
    part: str, name: str, checkpointing: str, arguments: argparse.Namespace, **found: Any
) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part, "--presets", name]
    command += ["--device", arguments.device, "--memory-gb", str(arguments.memory_gb)]
    command += ["--checkpointing", checkpointing, "--folder", str(arguments.folder)]
    for flag in ("pictures", "accumulate"):
        if flag in found:
            command += [f"--{flag}", str(found[flag])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _show(name: str, checkpointing: str, found: dict[str, Any]) -> None:
    if "error" in found:
        print(f"{name:<14}{checkpointing:<15}{found['error']}")
        return
    print(
        f"{name:<14}{checkpointing:<15}{found['pictures']:>17}{found.get('accumulate', ''):>14}"
        f"{found['gib']:>7.2f}",
        flush=True,
    )


def _trial(arguments: argparse.Namespace) -> dict[str, Any]:
    config, device = _config(arguments), torch.device(arguments.device)
    accumulate, _ = fitting_accumulate(
        config, _pictures(arguments), device, memory_bytes=int(arguments.memory_gb * 2**30)
    )
    return {"accumulate": accumulate, "pictures": -(-config.batch_size // accumulate)}


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    device, parts = torch.device(arguments.device), min(2, arguments.accumulate)
    dataset, config = _pictures(arguments), _config(arguments)
    state = new_state(config, dataset, device)
    with fast_kernels(device):
        # The first step makes the optimiser's moments.
        for size in (1, arguments.pictures):
            stepper = Stepper(
                dataclasses.replace(config, batch_size=size * parts),
                dataset,
                state,
                Processes.alone(device),
                accumulate=parts,
            )
            forget_peak(device)
            stepper.step()
    return {"gib": round(memory_in_use_bytes(device) / 2**30, 3)}


def _sample(arguments: argparse.Namespace) -> dict[str, Any]:
    device, dataset, config = (
        torch.device(arguments.device),
        _pictures(arguments),
        _config(arguments),
    )
    statistics = measured_patches(dataset, config.patch, whiten=config.whiten)
    pipeline = make_pipeline(
        new_state(config, dataset, torch.device("cpu")).ema, config, dataset, statistics
    )
    pipeline.unet.to(device, memory_format=torch.channels_last)
    forget_peak(device)
    count = arguments.pictures
    names = [dataset.label_names[k % len(dataset.label_names)] for k in range(count)]
    pipeline.generate(names, range(count), guidance=1.5, steps=2, solver="dpmpp-2m")
    return {"pictures": count, "gib": round(memory_in_use_bytes(device) / 2**30, 3)}


def _config(arguments: argparse.Namespace) -> TrainConfig:
    return dataclasses.replace(
        preset(arguments.presets[0]), gradient_checkpointing=arguments.checkpointing == "on"
    )


def _pictures(arguments: argparse.Namespace) -> PinnedDataset:
    """Few starter animals of the preset's size: memory does not depend on what they show."""
    config = PrepareConfig(
        source="starter", size_px=preset_size_px(arguments.presets[0]), per_class=8
    )
    return prepare(config, arguments.folder / str(config.size_px)).dataset


_PARTS = {"trial": _trial, "train": _train, "sample": _sample}

if __name__ == "__main__":
    sys.exit(main())
