"""The evaluation of a sample set: one part per shard, judged by any number of processes.

recognition.json     the figures; written last, the done-marker (--out names another file)
recognised.jsonl     a row per picture: seed, label, guess, confidence, copy (of a training picture)
kept.json            seeds of the samples that are recognised: what `menagerie export --only` takes
.evaluate-<digest>/  while it lasts
    recognizer/          the classifier, trained by one process for all
    part-00003.json      the rows of shard 3; its pictures' features beside it

Free of torch until a picture is judged.
"""

import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.pinned import PinnedDataset, open_pinned
from core.errors import UserError
from core.evaluation.config import EvaluateConfig
from core.files import (
    atomic_folder,
    canonical_json,
    digest_file,
    digest_of,
    exclusive,
    read_json,
    write_bytes,
    write_json,
)
from core.progress import progress
from core.sampleset import SampleSet, open_sample_set

if TYPE_CHECKING:
    from tqdm import tqdm

    from core.evaluation.novelty import TrainingNeighbours
    from core.evaluation.recognition import Recognizer

FORMAT = "menagerie-recognition-2"
Row = dict[str, Any]
"""What is known about one picture: seed, label, guess, confidence, copy."""
_LEARNED = ("held_out_accuracy", "classifier", "frechet", "frechet_floor", "frechet_floor_count")
"""Figures that take the classifier to make."""


class EvaluateParts:
    """The evaluation of a sample set, with its figures in `out` (`core.parts.Parts`).

    Figures are the same however the parts were spread. UserError when the sample set or the
    dataset is missing, or the one has classes that the other does not.
    """

    def __init__(self, config: EvaluateConfig, out: Path | None = None) -> None:
        self.config = config
        self.out = out or config.samples / "recognition.json"
        self.pictures_path = self.out.with_name("recognised.jsonl")
        self.kept_path = self.out.with_name("kept.json")
        self.sample_set = open_sample_set(config.samples)
        self._dataset = _open_dataset(config.data, self.sample_set)
        self.inputs = {
            "format": FORMAT,
            "samples": self.sample_set.digest,
            "data": self._dataset.digest,
            "epochs": config.epochs,
            "seed": config.seed,
        }
        self.folder = self.out.with_name(f".evaluate-{digest_of(self.inputs)[:8]}")
        self._bar: tqdm[Any] | None = None

    @property
    def count(self) -> int:
        """Number of shards."""
        return len(self.sample_set.shards)

    def begin(self) -> None:
        """Say in the work's folder what it is for."""
        if self._judged():
            return
        path = self.folder / "plan.json"
        if not path.exists():
            write_json(path, self.inputs)
        elif read_json(path) != self.inputs:
            raise UserError(f"{self.folder} is of another evaluation: remove it")

    def missing(self) -> list[int]:
        """Shards whose pictures are not judged yet."""
        missing = [part for part in range(self.count) if not self._part(part).exists()]
        return [] if missing and self._judged() else missing

    def make(self, part: int) -> None:
        """Judge one shard's pictures; the first process to come here trains the classifier."""
        missing = self.missing()
        if part not in missing:
            return
        self._judge(part)
        self._show_progress(self.count - len(missing) + 1)
        if self.has_figures():  # by others, while this process judged a part again
            self._remove_parts()

    def finished(self) -> bool:
        """Whether the figures are there and good enough."""
        return self.has_figures() and self._complaint() is None

    def finish(self) -> None:
        """Write figures and kept seeds; UserError, after that, when too few are recognised."""
        if not self.has_figures():
            self._write_figures()
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._remove_parts()
        if complaint := self._complaint():
            raise UserError(complaint)

    def has_figures(self) -> bool:
        """Whether all three files are there and of this evaluation, good enough or not."""
        files = (self.out, self.pictures_path, self.kept_path)
        if not all(path.exists() for path in files):
            return False
        ours = self._evaluation_digest
        return all(_facts(path).get("evaluation") == ours for path in (self.out, self.kept_path))

    def figures(self) -> dict[str, Any]:
        """The figures that were written."""
        return _facts(self.out)

    @property
    def _evaluation_digest(self) -> str:
        return digest_of([self.inputs, self.config.min_confidence])

    def _part(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}.json"

    def _features(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}.safetensors"

    def _judged(self) -> bool:
        """Whether an evaluation with the same classifier left its rows, kept as they were."""
        if not (self.out.exists() and self.pictures_path.exists()):
            return False
        figures = self.figures()
        if figures.get("inputs") != self.inputs:
            return False
        return bool(figures["pictures_sha256"] == digest_file(self.pictures_path))

    def _judge(self, part: int) -> None:
        """Write the features and then the rows of one shard's pictures."""
        from safetensors.torch import save

        from core.threads import fixed_threads

        samples = self.sample_set.read(part)
        pictures = [sample.image_hwc for sample in samples]
        rows = self._recognizer.judge(samples) if samples else []
        features = self._recognizer.features(pictures)
        with fixed_threads():
            copies = self._neighbours.copies(pictures).tolist()
        write_bytes(self._features(part), save({"features": features}))
        rows = [{**row, "copy": copy} for row, copy in zip(rows, copies, strict=True)]
        write_json(self._part(part), rows)

    @functools.cached_property
    def _neighbours(self) -> "TrainingNeighbours":
        from core.evaluation.novelty import TrainingNeighbours
        from core.threads import fixed_threads

        with fixed_threads():
            return TrainingNeighbours(self._dataset)

    @functools.cached_property
    def _recognizer(self) -> "Recognizer":
        """The classifier, from the one process that trains it."""
        from core.evaluation.recognition import open_recognizer, train_recognizer

        path = self.folder / "recognizer"
        if not path.exists():
            with exclusive(self.folder / "training", wait=True):
                if not path.exists():
                    config = self.config
                    trained = train_recognizer(
                        self._dataset, epochs=config.epochs, seed=config.seed
                    )
                    with atomic_folder(path) as temporary:
                        trained.save(temporary)
        return open_recognizer(path)

    def _show_progress(self, done: int) -> None:
        """Shards that are judged, by other processes too."""
        if self._bar is None:
            self._bar = progress(title="judging", unit="shard", total=self.count, done=done - 1)
        self._bar.update(done - self._bar.n)

    def _remove_parts(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_figures(self) -> None:
        """Rows, kept seeds, figures: in this order, so that the figures mark the end."""
        if self._judged():
            with self.pictures_path.open(encoding="utf-8") as file:
                rows = [json.loads(line) for line in file]
            learned = {name: self.figures()[name] for name in _LEARNED}
        else:
            rows = list(self._merged())
            lines = "".join(canonical_json(row) + "\n" for row in rows)
            write_bytes(self.pictures_path, lines.encode())
            learned = self._learned(shares(rows)["count_by_class"])
        kept = [row["seed"] for row in rows if self._keeps(row)]
        common = {"evaluation": self._evaluation_digest, "sample_set": self.sample_set.digest}
        write_json(self.kept_path, {**common, "seeds": kept})
        figures = {
            **common,
            **shares(rows),
            **learned,
            "kept": len(kept),
            "min_confidence": self.config.min_confidence,
            "classifier_dataset": self._dataset.digest,
            "inputs": self.inputs,
            "pictures_sha256": digest_file(self.pictures_path),
        }
        write_json(self.out, figures)

    def _learned(self, asked: dict[str, int]) -> dict[str, Any]:
        """The figures that take the classifier, of all pictures."""
        import torch
        from safetensors.torch import load_file

        from core.evaluation.quality import measure_real
        from core.threads import fixed_threads

        real = measure_real(self._recognizer, self._dataset)
        parts = [load_file(self._features(part))["features"] for part in range(self.count)]
        with fixed_threads():
            frechet = real.frechet(torch.cat(parts), asked)
            floor, count = real.floor(asked)
        accuracy = self._recognizer.held_out_accuracy
        found = (accuracy, self._recognizer.digest, frechet, floor, count)
        return dict(zip(_LEARNED, found, strict=True))

    def _merged(self) -> Iterator[Row]:
        for part in range(self.count):
            yield from read_json(self._part(part))

    def _keeps(self, row: Row) -> bool:
        recognised = row["guess"] == row["label"]
        return bool(recognised and row["confidence"] >= self.config.min_confidence)

    def _complaint(self) -> str | None:
        """What is wrong with the figures; None when enough is recognised."""
        figures = self.figures()
        if figures["recognised"] >= self.config.min_recognised:
            return None
        by_class: dict[str, float] = figures["recognised_by_class"]
        worst = min(by_class, key=lambda label: by_class[label])
        return (
            f"{figures['recognised']:.1%} of {figures['count']} samples are recognised, fewer than "
            f"--min-recognised {self.config.min_recognised:.1%}; worst is {worst} with "
            f"{by_class[worst]:.1%} (figures: {self.out})"
        )


def shares(rows: Sequence[Row]) -> dict[str, Any]:
    """How many pictures show what they were asked to be, in all and by class, and are copies."""
    right: dict[str, list[bool]] = {}
    for row in rows:
        right.setdefault(row["label"], []).append(row["guess"] == row["label"])
    return {
        "count": len(rows),
        "recognised": sum(map(sum, right.values())) / len(rows),
        "recognised_by_class": {name: sum(v) / len(v) for name, v in sorted(right.items())},
        "copy_rate": sum(row["copy"] for row in rows) / len(rows),
        "count_by_class": {name: len(v) for name, v in sorted(right.items())},
    }


def _facts(path: Path) -> dict[str, Any]:
    """A JSON object; empty when the file holds something else."""
    value = read_json(path)
    return value if isinstance(value, dict) else {}


def _open_dataset(folder: Path, sample_set: SampleSet) -> PinnedDataset:
    """The dataset, if a classifier of the samples can learn from it and be tested on it."""
    dataset = open_pinned(folder)
    if unknown := sorted(set(sample_set.labels) - set(dataset.label_names)):
        raise UserError(f"{folder} has no class {unknown[0]!r}, which the samples have")
    if not dataset.split["train"]:
        raise UserError(f"{folder} has no training pictures to learn classes from")
    if not dataset.split["test"]:
        raise UserError(f"{folder} has no test pictures to test the classifier on")
    return dataset
