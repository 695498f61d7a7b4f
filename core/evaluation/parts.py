"""An evaluation: one part per block of pictures, judged by any number of processes.

recognition.json     figures of one sample set; written last, the done-marker (--out names another)
metrics.json         all figures of all sets; the done-marker when it is not one sample set
report.html          the same for people
recognised.jsonl     a row per picture: seed, label, guess, confidence, copy (of a training picture)
kept.json            seeds of the samples that are recognised: what `menagerie export --only` takes
                     (with --out cats.json: cats-report.html, cats-kept.json and so on)
drawn-<digest>/      what was drawn from a run, a sample set
.evaluate-<digest>/  while it lasts
    recognizer/          the classifier, trained by one process for all
    part-00003.json      the rows of block 3; its pictures' features beside it

Free of torch until a picture is judged.
"""

import functools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.pinned import PinnedDataset, open_pinned
from core.errors import UserError
from core.evaluation.config import EvaluateConfig
from core.evaluation.rows import Row, shares
from core.evaluation.subjects import Subject, open_subject
from core.evaluation.traced import Trace
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

if TYPE_CHECKING:
    from tqdm import tqdm

    from core.evaluation.conclusion import Judged
    from core.evaluation.extractors import Extracted, Extractor
    from core.evaluation.novelty import TrainingNeighbours
    from core.evaluation.recognition import Recognizer

FORMAT = "menagerie-recognition-3"
_LEARNED = ("held_out_accuracy", "classifier", "frechet", "frechet_floor", "frechet_floor_count")
"""Figures that take the classifier to make."""


class EvaluateParts:
    """An evaluation, with its figures in `out` and beside it (`core.parts.Parts`).

    Figures are the same however the parts were spread. trace: draws pictures as flat SVGs, for the
    figures of how well that goes. UserError when something is missing, or has classes that the
    dataset has not.
    """

    def __init__(
        self, config: EvaluateConfig, out: Path | None = None, *, trace: Trace | None = None
    ) -> None:
        self.config, self._trace = config, trace
        for missing in (path for path in config.samples if not path.is_dir()):
            raise UserError(
                f"{missing} is not a finished sample set, a run or a folder of pictures: it is "
                "not there"
            )
        self._dataset = _open_dataset(config.data)
        self.out = out or default_out(config.samples)
        self.subjects = [
            open_subject(path, config, self._dataset, self.out.parent) for path in config.samples
        ]
        self.is_sample_set = [subject.kind for subject in self.subjects] == ["sample set"]
        self.metrics_path = self._beside("metrics.json")
        self.report_path = self._beside("report.html")
        self.pictures_path = self._beside("recognised.jsonl")
        self.kept_path = self._beside("kept.json")
        if self.is_sample_set and self.out == self.metrics_path:
            raise UserError("--out metrics.json is written beside --out: name recognition.json")
        if not self.is_sample_set:
            self.metrics_path = self.out
        self.inputs = self._inputs()
        self.folder = self.out.with_name(f".evaluate-{digest_of(self.inputs)[:8]}")
        self._blocks = [
            (subject, block) for subject in self.subjects for block in range(subject.blocks)
        ]
        self._bar: tqdm[Any] | None = None

    @property
    def count(self) -> int:
        """Number of blocks: the sample sets' shards, and as much of the others."""
        return len(self._blocks)

    def begin(self) -> None:
        """Say in the work's folder what it is for."""
        if self._judged():
            return
        for subject in self.subjects:
            subject.begin()
        path = self.folder / "plan.json"
        if not path.exists():
            write_json(path, self.inputs)
        elif read_json(path) != self.inputs:
            raise UserError(f"{self.folder} is of another evaluation: remove it")

    def missing(self) -> list[int]:
        """Blocks whose pictures are not judged yet."""
        missing = [part for part in range(self.count) if not self._part(part).exists()]
        return [] if missing and self._judged() else missing

    def make(self, part: int) -> None:
        """Judge one block's pictures; the first process to come here trains the classifier."""
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
        """Whether all files are there and of this evaluation, good enough or not."""
        marks = [self.out, self.kept_path] if self.is_sample_set else [self.out]
        files = (*marks, self.pictures_path, self.metrics_path, self.report_path)
        if not all(path.exists() for path in files):
            return False
        ours = self._evaluation_digest
        if not all(_facts(path).get("evaluation") == ours for path in marks):
            return False
        # Another evaluation may have left its own rows and report since.
        return bool(self.figures().get("pictures_sha256") == digest_file(self.pictures_path))

    def figures(self) -> dict[str, Any]:
        """The figures that were written into `out`."""
        return _facts(self.out)

    def metrics(self) -> dict[str, Any]:
        """All figures that were written."""
        return _facts(self.metrics_path)

    def _beside(self, name: str) -> Path:
        """A file of this evaluation: others in the same folder have theirs, under other names."""
        plain = self.out.name in ("recognition.json", "metrics.json")
        return self.out.with_name(name if plain else f"{self.out.stem}-{name}")

    def _inputs(self) -> dict[str, Any]:
        config = self.config
        digests = [subject.digest for subject in self.subjects]
        return {
            "format": FORMAT,
            "samples": digests[0] if self.is_sample_set else digests,
            "data": self._dataset.digest,
            "epochs": config.epochs,
            "seed": config.seed,
            "features": config.features,
            "weights": weights_named(config.weights),
            "draws": config.draws,
            "vectorise": config.vectorise if self._trace else 0,
        }

    @property
    def _evaluation_digest(self) -> str:
        return digest_of([self.inputs, self.config.min_confidence])

    def _part(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}.json"

    def _features(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}.safetensors"

    def _judged(self) -> bool:
        """Whether an evaluation with the same classifier left its rows, kept as they were."""
        files = (self.out, self.pictures_path, self.metrics_path, self.report_path)
        if not all(path.exists() for path in files):
            return False
        figures = self.figures()
        if figures.get("inputs") != self.inputs:
            return False
        return bool(figures["pictures_sha256"] == digest_file(self.pictures_path))

    def _judge(self, part: int) -> None:
        """Write the features and then the rows of one block's pictures."""
        from safetensors.torch import save

        from core.threads import fixed_threads

        extractor = self._extractor  # Weights that are missing are told before anything is trained.
        subject, block = self._blocks[part]
        samples = subject.read(block)
        pictures = [sample.image_hwc for sample in samples]
        ours = self._built_in.extract(pictures)
        rows = self._recognizer.told(samples, ours.probabilities)
        tensors = {"features": ours.features, "probabilities": ours.probabilities}
        if extractor is not self._built_in:
            other = extractor.extract(pictures)
            tensors |= {"other": other.features, "other_probabilities": other.probabilities}
        with fixed_threads():
            matches = self._neighbours.matches(pictures)
        write_bytes(self._features(part), save(tensors))
        found = zip(
            rows,
            matches.copies.tolist(),
            matches.rows.tolist(),
            matches.closeness.tolist(),
            matches.laid.tolist(),
            strict=True,
        )
        rows = [
            {
                **row,
                "copy": copy,
                "nearest": nearest,
                "closeness": round(closeness, 4),
                "unexplained": round(laid, 4),
            }
            for row, copy, nearest, closeness, laid in found
        ]
        write_json(self._part(part), rows)

    @functools.cached_property
    def _built_in(self) -> "Extractor":
        from core.evaluation.extractors import open_extractor

        return open_extractor("built-in", "", self._recognizer)

    @functools.cached_property
    def _extractor(self) -> "Extractor":
        from core.evaluation.extractors import open_network

        if self.config.features == "built-in":
            return self._built_in
        return open_network(self.config.features, self.config.weights)

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
        """Blocks that are judged, by other processes too."""
        if self._bar is None:
            self._bar = progress(title="judging", unit="block", total=self.count, done=done - 1)
        self._bar.update(done - self._bar.n)

    def _remove_parts(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_figures(self) -> None:
        """Rows, kept seeds, report, figures: in this order, so that the figures mark the end."""
        judged_before = self._judged()
        rows = self._old_rows() if judged_before else self._new_rows()
        common: dict[str, Any] = {"evaluation": self._evaluation_digest}
        ending = {"inputs": self.inputs, "pictures_sha256": digest_file(self.pictures_path)}
        known = self.figures() if judged_before else {}
        metrics = self.metrics() if judged_before else self._conclude()
        if not self.is_sample_set:
            write_json(self.out, {**metrics, **common, **ending})
            return
        learned = {name: known[name] for name in _LEARNED} if known else self._learned(metrics)
        if not judged_before:
            write_json(self.metrics_path, {**metrics, "inputs": self.inputs})
        common["sample_set"] = self.subjects[0].digest
        kept = [row["seed"] for row in rows if self._keeps(row)]
        write_json(self.kept_path, {**common, "seeds": kept})
        figures = {
            **common,
            **shares(rows),
            **learned,
            "kept": len(kept),
            "min_confidence": self.config.min_confidence,
            "classifier_dataset": self._dataset.digest,
            **ending,
        }
        write_json(self.out, figures)

    def _old_rows(self) -> list[Row]:
        with self.pictures_path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def _new_rows(self) -> list[Row]:
        """Rows of all parts, written down; with the name of their set, if there are several."""
        rows = []
        for part, (subject, _) in enumerate(self._blocks):
            of_set = {} if self.is_sample_set else {"set": self.subjects.index(subject)}
            rows += [{**row, **of_set} for row in read_json(self._part(part))]
        lines = "".join(canonical_json(row) + "\n" for row in rows)
        write_bytes(self.pictures_path, lines.encode())
        return rows

    def _conclude(self) -> dict[str, Any]:
        """All figures, and the report of them, written."""
        from core.evaluation.conclusion import Judge, conclude
        from core.evaluation.page import report_page

        judge = Judge(
            config=self.config,
            dataset=self._dataset,
            recognizer=self._recognizer,
            extractor=self._extractor,
            neighbours=self._neighbours,
            trace=self._trace,
        )
        sets = [self._set(subject) for subject in self.subjects]
        for subject in self.subjects:
            subject.finish()
        metrics = conclude(judge, sets)
        write_bytes(self.report_path, report_page(metrics, judge, sets).encode())
        return metrics

    def _set(self, subject: Subject) -> "Judged":
        """One set's rows, and its features as the figures are told in."""
        from core.evaluation.conclusion import Judged
        from core.evaluation.extractors import joined

        parts = [part for part, (other, _) in enumerate(self._blocks) if other is subject]
        found = [self._loaded(part) for part in parts]
        rows = [read_json(self._part(part)) for part in parts]
        return Judged(subject=subject, rows=rows, found=joined(found))

    def _loaded(self, part: int) -> "Extracted":
        from safetensors.torch import load_file

        from core.evaluation.extractors import Extracted

        tensors = load_file(self._features(part))
        if "other" in tensors:
            return Extracted(
                features=tensors["other"], probabilities=tensors["other_probabilities"]
            )
        return Extracted(features=tensors["features"], probabilities=tensors["probabilities"])

    def _learned(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """The figures of recognition.json that take the classifier: always in its features."""
        import torch
        from safetensors.torch import load_file

        from core.evaluation.quality import measure_real
        from core.threads import fixed_threads

        classes = metrics["sets"][0]["classes"]
        asked = {name: int(figures["count"]) for name, figures in classes.items()}
        real = measure_real(self._recognizer, self._dataset)
        parts = [load_file(self._features(part))["features"] for part in range(self.count)]
        with fixed_threads():
            frechet = real.frechet(torch.cat(parts), asked)
            floor, count = real.floor(asked)
        accuracy = self._recognizer.held_out_accuracy
        found = (accuracy, self._recognizer.digest, frechet, floor, count)
        return dict(zip(_LEARNED, found, strict=True))

    def _keeps(self, row: Row) -> bool:
        recognised = row["guess"] == row["label"]
        return bool(recognised and row["confidence"] >= self.config.min_confidence)

    def _complaint(self) -> str | None:
        """What is wrong with the figures; None when enough is recognised."""
        for measured in self.metrics()["sets"]:
            if (share := measured["recognised"]) is None or share >= self.config.min_recognised:
                continue
            classes = measured["classes"]
            worst = min(classes, key=lambda label: float(classes[label]["recognised"]))
            which = "" if len(self.subjects) == 1 else f" of {measured['name']}"
            return (
                f"{share:.1%} of {measured['count']} samples{which} are recognised, fewer than "
                f"--min-recognised {self.config.min_recognised:.1%}; worst is {worst} with "
                f"{classes[worst]['recognised']:.1%} (figures: {self.out})"
            )
        return None


def default_out(samples: Sequence[Path]) -> Path:
    """Where figures go: into a sample set, or beside a run's model; UserError for others."""
    path = samples[0]
    if len(samples) == 1 and (path / "sampleset.json").exists():
        return path / "recognition.json"
    if len(samples) == 1 and (path / "model" / "model_index.json").exists():
        return path / "evaluation" / "metrics.json"
    if len(samples) == 1 and (path / "plan.json").exists():
        return path / "recognition.json"  # It is unfinished, which is said when it is opened.
    where = f"{path} is" if len(samples) == 1 else f"{len(samples)} sets are"
    raise UserError(
        f"{where} not one sample set or run that the figures could be put into: name a file for "
        "them, --out FOLDER/metrics.json"
    )


def weights_named(weights: str) -> str:
    """What stands for weights among the inputs: their digest, or their name on the hub."""
    path = Path(weights)
    if not weights or not path.exists():
        return weights
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return digest_of([digest_file(file) for file in files])


def _facts(path: Path) -> dict[str, Any]:
    """A JSON object; empty when the file holds something else."""
    value = read_json(path)
    return value if isinstance(value, dict) else {}


def _open_dataset(folder: Path) -> PinnedDataset:
    """The dataset, if a classifier can learn from it and be tested on it."""
    dataset = open_pinned(folder)
    if not dataset.split["train"]:
        raise UserError(f"{folder} has no training pictures to learn classes from")
    if not dataset.split["test"]:
        raise UserError(f"{folder} has no test pictures to test the classifier on")
    return dataset
