"""What a finished run's samples are like: a sheet of the same seeds, and figures.

Distances are in the features of a classifier that has learned from the data of the sweep with all
its classes, one for all runs on that data: they compare between runs that draw other classes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from core.data.pinned import PinnedDataset
from core.diffusion.pipeline import ClassConditionalPipeline, open_pipeline
from core.diffusion.sampleconfig import Solver
from core.evaluation.novelty import TrainingNeighbours
from core.evaluation.quality import RealPictures, measure_real, open_real
from core.evaluation.recognition import Recognizer, open_recognizer, train_recognizer
from core.files import atomic_folder, exclusive
from core.images import Picture, contact_sheet, png_bytes
from core.rundir import RunFolder
from core.sampleset import Sample
from core.threads import fixed_threads
from core.training.card import make_pipeline
from core.training.config import TrainConfig
from core.training.finetune import inherited_statistics
from core.training.step import measured_patches, new_state

_BATCH = 32
_CELL_PX = 64
_SHEET_CLASSES = 8
_JUDGED_FROM = 1_000_000
"""Seeds of judged pictures: others than the sheet's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """How samples are drawn."""

    guidance: float
    steps: int
    solver: Solver
    cpu: bool

    def open(self, run: Path) -> ClassConditionalPipeline:
        """The model of a run, where it computes fastest."""
        device = "cuda" if torch.cuda.is_available() and not self.cpu else "cpu"
        return open_pipeline(run, device=device)

    def open_stopped(
        self, run: RunFolder, config: TrainConfig, dataset: PinnedDataset
    ) -> ClassConditionalPipeline:
        """The averaged weights of the newest checkpoint of a run that has no model."""
        device = torch.device("cuda" if torch.cuda.is_available() and not self.cpu else "cpu")
        state = new_state(config, dataset, device)
        folder = run.checkpoint(max(run.steps_saved()))
        state.ema.load_state_dict(load_file(folder / "ema.safetensors"))
        if config.init_from:
            statistics = inherited_statistics(config.init_from)
        else:
            statistics = measured_patches(dataset, config.patch, whiten=config.whiten)
        pipeline = make_pipeline(state.ema, config, dataset, statistics)
        pipeline.to(device)
        return pipeline

    def draw(
        self, pipeline: ClassConditionalPipeline, labels: Sequence[str], seeds: Sequence[int]
    ) -> list[Picture]:
        """One picture for each label and seed."""
        pictures: list[Picture] = []
        for at in range(0, len(labels), _BATCH):
            these = slice(at, at + _BATCH)
            pictures += pipeline.generate(
                labels[these],
                seeds[these],
                guidance=self.guidance,
                steps=self.steps,
                solver=self.solver,
            )
        return pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge:
    """What samples are held against."""

    recognizer: Recognizer
    real: RealPictures


def open_judge(folder: Path, dataset: PinnedDataset, *, epochs: int) -> Judge:
    """The classifier of a dataset and its pictures' features; one process makes them for all."""
    if not folder.exists():
        with exclusive(folder.with_name(f".{folder.name}.making"), wait=True):
            if not folder.exists():
                trained = train_recognizer(dataset, epochs=epochs)
                with atomic_folder(folder) as temporary:
                    trained.save(temporary)
                    measure_real(trained, dataset).save(temporary / "real.safetensors")
    recognizer = open_recognizer(folder)
    real = open_real(folder / "real.safetensors", recognizer.label_names)
    return Judge(recognizer=recognizer, real=real)


def sample_sheet(pipeline: ClassConditionalPipeline, drawing: Drawing, per_class: int) -> bytes:
    """A PNG: a row for each of the first classes, a column for each seed."""
    names = pipeline.label_names[:_SHEET_CLASSES]
    labels = [name for name in names for _ in range(per_class)]
    seeds = [seed for _ in names for seed in range(per_class)]
    pictures = drawing.draw(pipeline, labels, seeds)
    return png_bytes(contact_sheet(pictures, columns=per_class, cell_px=_CELL_PX))


def judged(
    pipeline: ClassConditionalPipeline,
    drawing: Drawing,
    dataset: PinnedDataset,
    judge: Judge,
    per_class: int,
) -> dict[str, Any]:
    """Figures of `per_class` samples of each class; `dataset` is what the run has learned from."""
    names = pipeline.label_names
    labels = [name for name in names for _ in range(per_class)]
    seeds = [_JUDGED_FROM + k for k in range(len(labels))]
    pictures = drawing.draw(pipeline, labels, seeds)
    samples = [
        Sample(image_hwc=picture, label=label, seed=seed)
        for picture, label, seed in zip(pictures, labels, seeds, strict=True)
    ]
    rows = judge.recognizer.judge(samples)
    features = judge.recognizer.features(pictures)
    with fixed_threads():
        copies = TrainingNeighbours(dataset).rate(pictures)
    asked = dict.fromkeys(names, per_class)
    right = {
        name: sum(row["guess"] == name for row in rows if row["label"] == name) / per_class
        for name in names
    }
    return {
        "judged": len(pictures),
        "classifier": judge.recognizer.digest,
        "held_out_accuracy": judge.recognizer.held_out_accuracy,
        "copy_rate": copies,
        "recognised": sum(right.values()) / len(right),
        "recognised_by_class": right,
        **_distances(judge.real, features, labels, asked),
        **_separations(judge.real, features, labels),
    }


def _distances(
    real: RealPictures, features: Tensor, labels: Sequence[str], asked: Mapping[str, int]
) -> dict[str, Any]:
    """Fréchet distances to the training pictures, of all and of each class, and what held-out
    pictures reach."""
    with fixed_threads():
        by_class = {
            name: real.frechet(features[_rows_of(name, labels)], {name: count})
            for name, count in asked.items()
        }
        floors = {name: real.floor({name: count})[0] for name, count in asked.items()}
        return {
            "distance": real.frechet(features, asked),
            "distance_floor": real.floor(asked)[0],
            "distance_by_class": by_class,
            "distance_floor_by_class": floors,
        }


def _separations(real: RealPictures, features: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    """How far the classes are apart, in samples and in held-out pictures."""
    names = list(dict.fromkeys(labels))
    scale = real.train.std(0).clamp(min=1e-6)
    samples = (features - real.train.mean(0)) / scale
    place = {name: k for k, name in enumerate(real.label_names)}
    wanted = torch.tensor([place[name] for name in names])
    rows = torch.isin(real.held_out_labels, wanted)
    held_out = (real.held_out[rows] - real.train.mean(0)) / scale
    mine = torch.tensor([place[label] for label in labels])
    with fixed_threads():
        return {
            "separation": separation(samples, mine),
            "separation_real": separation(held_out, real.held_out_labels[rows]),
        }


def separation(features: Tensor, labels: Tensor) -> dict[str, float] | None:
    """How far classes are apart in features, N×D, with class indices, N; None for one class.

    silhouette: mean of (b - a)/max(a, b), a the mean distance to the others of the class and b
    that to the nearest other class (Rousseeuw 1987): 1 = apart, 0 = touching, below 0 = mixed up;
    ratio: mean distance between classes over that within.
    """
    classes, counts = torch.unique(labels, return_counts=True)
    if len(classes) < 2 or int(counts.min()) < 2:
        return None
    apart = torch.cdist(features.double(), features.double())
    is_of = labels[:, None] == classes
    sums = apart @ is_of.double()
    own = is_of.double()
    within = (sums * own).sum(1) / (own @ (counts.double() - 1))
    between = torch.where(is_of, torch.inf, sums / counts).min(1).values
    silhouette = ((between - within) / torch.maximum(between, within).clamp(min=1e-12)).mean()
    same = labels[:, None] == labels
    others = ~torch.eye(len(labels), dtype=torch.bool)
    ratio = apart[~same].mean() / apart[same & others].mean().clamp(min=1e-12)
    return {"silhouette": float(silhouette), "ratio": float(ratio)}


def _rows_of(name: str, labels: Sequence[str]) -> Tensor:
    return torch.tensor([label == name for label in labels])
