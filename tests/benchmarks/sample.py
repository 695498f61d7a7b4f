"""Sampling speed and quality against the reference way, from one checkpoint.

    python tests/benchmarks/sample.py --run RUN [--data DATASET] [--samples 2000] [--out FOLDER]

Reference: 1000 ancestral steps, each with two forwards (tests/benchmarks/reference.py), fp32,
eager. Ours: the pipeline's own sampling at 10, 18, 25 and 35 steps, fp32 too. Same network, labels
and guidance. In the first --timed chunks all take turns, and speed is the median over these.
The reference's other chunks, which only its quality needs, are drawn with the network compiled and
in bf16; how near that comes is printed for the first chunk. Quality is the Fréchet distance to the
training pictures in the features of a classifier that learned from them alone, beside the distance
of held-out pictures. Each chunk is kept in --out, and the same command goes on.
"""

import argparse
import copy
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.data.pinned import PinnedDataset, SplitName, open_pinned  # noqa: E402  # after the path is set
from core.diffusion.denoiser import Denoiser  # noqa: E402
from core.diffusion.modelinfo import model_digest  # noqa: E402
from core.diffusion.pipeline import (  # noqa: E402
    ClassConditionalPipeline,
    open_pipeline,
    starting_noise,
    to_pictures,
)
from core.diffusion.sampleconfig import SamplePrecision  # noqa: E402
from core.errors import UserError  # noqa: E402
from core.evaluation.frechet import frechet_distance  # noqa: E402
from core.evaluation.recognition import Recognizer, train_recognizer  # noqa: E402
from core.files import digest_of, read_json, write_bytes  # noqa: E402
from core.images import Picture, contact_sheet, png_bytes, unpremultiply  # noqa: E402
from tests.benchmarks.reference import TIMESTEPS, ancestral  # noqa: E402

STEPS = (10, 18, 25, 35)
REFERENCE = f"reference: ancestral {TIMESTEPS} x 2"
QUICK = "reference, compiled bf16"
Draw = Callable[[list[str], list[int]], list[Picture]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one way of sampling gave."""

    images_per_s: float
    recognised: float
    """Share of the pictures that show what they were asked to."""
    features: Tensor
    """N×D."""


def main() -> int:
    """Measure, print a table, and the figures as one JSON line."""
    arguments = _arguments()
    try:
        pipeline = open_pipeline(arguments.run, device=arguments.device)
        dataset = open_pinned(arguments.data or _data_of(arguments.run))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out = (arguments.out or arguments.run / "benchmark-sample") / _key(arguments, dataset)
    out.mkdir(parents=True, exist_ok=True)
    contenders = _contenders(pipeline, arguments.guidance)
    labels = [name for _ in range(arguments.samples) for name in dataset.label_names]
    chunks = range(0, arguments.samples, arguments.chunk)
    for first in chunks:
        part = slice(first, min(first + arguments.chunk, arguments.samples))
        timed = first < arguments.timed * arguments.chunk
        _make_chunk(contenders, labels[part], first, out, timed=timed)
        print(f"{part.stop} of {arguments.samples} pictures each", flush=True)
    made = [out / f"chunk-{first:06d}.npz" for first in chunks]
    _print_agreement(made[0])
    recognizer = train_recognizer(dataset)
    outcomes = {
        name: _outcome(name, made, recognizer, labels) for name in contenders if name != QUICK
    }
    _compare(outcomes, dataset, recognizer)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="a finished training run")
    parser.add_argument("--data", type=Path, help="pinned dataset; default: the run's")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--chunk", type=int, default=100, help="pictures drawn together")
    parser.add_argument("--timed", type=int, default=3, help="chunks that speed is taken from")
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="where chunks are kept; default: in the run")
    return parser.parse_args()


def _key(arguments: argparse.Namespace, dataset: PinnedDataset) -> str:
    """Names what the chunks depend on: others are not taken for these."""
    how = [arguments.samples, arguments.chunk, arguments.timed, arguments.guidance]
    return digest_of([model_digest(arguments.run), dataset.digest, arguments.device, *how])[:12]


def _data_of(run: Path) -> Path:
    return Path(read_json(run / "data.json")["folder"])


def _reference(denoiser: Denoiser, pipeline: ClassConditionalPipeline, guidance: float) -> Draw:
    def draw(labels: list[str], seeds: list[int]) -> list[Picture]:
        classes = pipeline.label_indices(labels).to(pipeline.device)
        none = torch.full_like(classes, denoiser.no_label)

        def guess(x: Tensor, sigma: float, which: Tensor) -> Tensor:
            level = torch.full((len(which),), sigma, device=x.device)
            result: Tensor = denoiser(x, level, which)
            return result

        torch.manual_seed(seeds[0])
        return to_pictures(
            ancestral(
                lambda x, sigma: guess(x, sigma, classes),
                lambda x, sigma: guess(x, sigma, none),
                starting_noise(seeds, pipeline.shape_chw).to(pipeline.device),
                scale=guidance,
            )
        )

    return draw


def _quick(denoiser: Denoiser) -> Denoiser:
    """The same network, compiled and in bf16."""
    quick = copy.copy(denoiser)
    quick._modules = {**denoiser._modules, "unet": torch.compile(denoiser.unet)}
    quick.autocast_dtype = torch.bfloat16
    return quick


def _contenders(pipeline: ClassConditionalPipeline, guidance: float) -> dict[str, Draw]:
    def ours(steps: int, precision: SamplePrecision = "fp32") -> Draw:
        return lambda labels, seeds: pipeline.generate(
            labels,
            seeds,
            guidance=guidance,
            interval=(0.2, 20.0),
            steps=steps,
            precision=precision,
        )

    denoiser = pipeline.denoiser().eval()
    return {
        QUICK: _reference(_quick(denoiser), pipeline, guidance),
        REFERENCE: _reference(denoiser, pipeline, guidance),
        **{f"ours: {steps} steps": ours(steps) for steps in STEPS},
        "ours: 18 steps, bf16": ours(18, "bf16"),
    }


def _make_chunk(
    contenders: dict[str, Draw], labels: list[str], first: int, out: Path, *, timed: bool
) -> None:
    """Pictures (N×H×W×C uint8) and seconds of every contender, kept in one file."""
    path = out / f"chunk-{first:06d}.npz"
    if path.exists():
        return
    seeds = list(range(first, first + len(labels)))
    kept: dict[str, np.ndarray] = {"timed": np.array(timed)}
    for name, draw in contenders.items():
        if (name == REFERENCE and not timed) or (name == QUICK and timed and first):
            continue
        begun = time.perf_counter()
        pictures = draw(labels, seeds)
        kept[f"{name}|seconds"] = np.array(time.perf_counter() - begun)
        kept[f"{name}|pictures"] = np.stack(pictures)
        if first == 0:
            sheet = contact_sheet(pictures, columns=16, cell_px=64)
            write_bytes(out / f"{name.replace(': ', '-').replace(' ', '-')}.png", png_bytes(sheet))
    np.savez(path.with_suffix(".tmp.npz"), **kept)
    path.with_suffix(".tmp.npz").rename(path)


def _print_agreement(first: Path) -> None:
    """How near the compiled bf16 network's pictures come to the reference's own."""
    chunk = np.load(first)
    error = chunk[f"{QUICK}|pictures"].astype(float) - chunk[f"{REFERENCE}|pictures"]
    print(f"reference in bf16 against fp32: {20 * np.log10(255 / error.std()):.1f} dB")


def _outcome(name: str, made: list[Path], recognizer: Recognizer, labels: list[str]) -> Outcome:
    chunks = [np.load(chunk) for chunk in made]
    timed = [chunk for chunk in chunks if chunk["timed"]]
    drawn = [c[f"{name if f'{name}|pictures' in c else QUICK}|pictures"] for c in chunks]
    pictures = [picture for part in drawn for picture in part]
    wanted = torch.tensor([recognizer.label_names.index(name) for name in labels[: len(pictures)]])
    right = recognizer.probabilities(pictures).argmax(1) == wanted
    return Outcome(
        images_per_s=statistics.median(
            len(c[f"{name}|pictures"]) / float(c[f"{name}|seconds"]) for c in timed
        ),
        recognised=float(right.float().mean()),
        features=recognizer.features(pictures),
    )


def _compare(outcomes: dict[str, Outcome], dataset: PinnedDataset, recognizer: Recognizer) -> None:
    real = _features(dataset, recognizer, "train")
    floor = frechet_distance(_features(dataset, recognizer, "validation"), real)
    base = outcomes[REFERENCE].images_per_s
    print(f"{'sampling':<32}{'images/s':>10}{'ratio':>8}{'Frechet':>10}{'recognised':>12}")
    summary: dict[str, object] = {}
    for name, found in outcomes.items():
        distance, ratio = frechet_distance(found.features, real), found.images_per_s / base
        print(
            f"{name:<32}{found.images_per_s:>10.3f}{ratio:>8.1f}{distance:>10.3f}"
            f"{found.recognised:>12.1%}"
        )
        summary[name] = {
            "images_per_s": round(found.images_per_s, 3),
            "ratio": round(ratio, 2),
            "frechet": round(distance, 4),
            "recognised": round(found.recognised, 4),
        }
    held_out = len(dataset.split["validation"])
    print(f"held-out pictures ({held_out}) against the training pictures: {floor:.3f}")
    print(json.dumps({"threads": torch.get_num_threads(), "floor": round(floor, 4), **summary}))


def _features(dataset: PinnedDataset, recognizer: Recognizer, split: SplitName) -> Tensor:
    images, _ = dataset.part(split)
    return recognizer.features(
        [unpremultiply(image) if dataset.channels == 4 else image for image in np.array(images)]
    )


if __name__ == "__main__":
    sys.exit(main())
