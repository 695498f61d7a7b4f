"""Pictures drawn with some settings, and how good they are; each figure is kept as it comes.

tuning/                     in the run
    classifier-<digest>/    what judges: network.safetensors, recognizer.json, real.safetensors
    <digest>.json           figures of a setting, and all that they depend on
"""

import functools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.data.pinned import PinnedDataset
from core.diffusion.ema import averaged_weights
from core.diffusion.modelinfo import describe_model, helpers_digests, model_digest
from core.diffusion.pipeline import ClassConditionalPipeline, open_pipeline
from core.diffusion.sampleconfig import SamplePrecision
from core.errors import UserError
from core.evaluation.novelty import TrainingNeighbours
from core.evaluation.quality import RealPictures, measure_real, open_real
from core.evaluation.recognition import Recognizer, open_recognizer, train_recognizer
from core.evaluation.tuning import Cell, Settings, line
from core.files import atomic_folder, digest_of, read_json, write_json
from core.images import Picture
from core.progress import progress
from core.rundir import RunFolder
from core.threads import fixed_threads

FORMAT = "menagerie-tuning-1"


class Cells:
    """Measures settings of a run's model against a dataset's own pictures, each once.

    UserError when the dataset has not the model's classes, or too few pictures.
    """

    def __init__(
        self,
        run: Path,
        dataset: PinnedDataset,
        *,
        batch_size: int = 32,
        device: str = "cpu",
        precision: SamplePrecision = "fp32",
        say: Callable[[str], None] = print,
    ) -> None:
        self.run, self.model = run, describe_model(run)
        if self.model.channels != dataset.channels:
            raise UserError(
                f"{dataset.folder} has pictures of {dataset.channels} channels, the model makes "
                f"{self.model.channels}: name the dataset that it was trained on"
            )
        if unknown := sorted(set(self.model.label_names) - set(dataset.label_names)):
            raise UserError(f"{dataset.folder} has no class {unknown[0]!r}, which the model draws")
        self.folder = RunFolder(self.model.folder.parent).tuning
        self._dataset, self._batch_size, self._device = dataset, batch_size, device
        self._precision: SamplePrecision = precision
        self._say = say
        self._open: tuple[float, ClassConditionalPipeline] | None = None
        self._made = 0

    def measure(self, settings: Settings, count: int, first_seed: int) -> Cell | None:
        """The figures of `count` pictures, from disk if they are there.

        None, and said why, when the snapshots do not make the average that is asked for.
        """
        if settings["ema_width"]:
            try:
                averaged_weights(self.model.averages, settings["ema_width"])
            except UserError as error:
                self._say(f"left out: {error}")
                return None
        cell = self._measured(settings, count, first_seed)
        self._say(line(cell))
        return cell

    def floor(self, count: int) -> tuple[float | None, int]:
        """The Fréchet distance that perfect pictures reach, of as many if there are; how many."""
        with fixed_threads():
            return self._judge[1].floor(Counter(self._labels(count)))

    @functools.cached_property
    def classifier_digest(self) -> str:
        """SHA-256 of the weights that judge."""
        return self._judge[0].digest

    def _labels(self, count: int) -> list[str]:
        """All classes in turn."""
        names = self.model.label_names
        return [names[index % len(names)] for index in range(count)]

    def _inputs(self, settings: Settings, count: int, first_seed: int) -> dict[str, Any]:
        """All that the figures depend on."""
        guided = settings["guide"] == "early" and settings["guidance"] != 1
        averages = bool(settings["ema_width"])
        return {
            "format": FORMAT,
            "settings": {name: settings[name] for name in sorted(settings)},
            "precision": self._precision,
            "count": count,
            "first_seed": first_seed,
            "model": model_digest(self.run),
            **helpers_digests(self.run, guide=guided, averages=averages),
            "data": self._dataset.digest,
            "classifier": self.classifier_digest,
        }

    def _measured(self, settings: Settings, count: int, first_seed: int) -> Cell:
        known = self._inputs(settings, count, first_seed)
        path = self.folder / f"{digest_of(known)[:16]}.json"
        if path.exists():
            figures = read_json(path)["figures"]
        else:
            pipeline = self._pipeline(settings["ema_width"])
            figures = self._figures(pipeline, settings, count, first_seed)
            write_json(path, {**known, "figures": figures})
        return Cell(settings=settings, count=count, first_seed=first_seed, **figures)

    def _figures(
        self, pipeline: ClassConditionalPipeline, settings: Settings, count: int, first_seed: int
    ) -> dict[str, float]:
        begun = time.monotonic()
        labels = self._labels(count)
        pictures = self._drawn(pipeline, settings, labels, first_seed)
        seconds = time.monotonic() - begun
        recognizer, real = self._judge
        features = recognizer.features(pictures)
        guesses = recognizer.probabilities(pictures).argmax(1).tolist()
        right = [recognizer.label_names[k] == name for k, name in zip(guesses, labels, strict=True)]
        with fixed_threads():
            frechet = real.frechet(features, Counter(labels))
            copy_rate = self._neighbours.rate(pictures)
        if frechet is None:
            raise UserError(f"{self._dataset.folder} has too few training pictures to compare with")
        return {
            "frechet": frechet,
            "recognised": sum(right) / count,
            "copy_rate": copy_rate,
            "seconds": round(seconds, 3),
        }

    def _drawn(
        self,
        pipeline: ClassConditionalPipeline,
        settings: Settings,
        labels: list[str],
        first_seed: int,
    ) -> list[Picture]:
        """One picture per label, with consecutive seeds."""
        how = {name.removeprefix("guidance_"): value for name, value in settings.items()}
        del how["ema_width"]
        size = self._batch_size
        pictures: list[Picture] = []
        self._made += 1
        with progress(title=f"setting {self._made}", total=len(labels), unit="picture") as bar:
            for at in range(0, len(labels), size):
                names = labels[at : at + size]
                # The last batch is filled up: the network always sees one shape.
                filled = names + names[:1] * (size - len(names))
                seeds = [first_seed + at + index for index in range(size)]
                drawn = pipeline.generate(filled, seeds, precision=self._precision, **how)
                pictures += drawn[: len(names)]
                bar.update(len(names))
        return pictures

    def _pipeline(self, ema_width: float) -> ClassConditionalPipeline:
        if self._open is None or self._open[0] != ema_width:
            pipeline = open_pipeline(self.run, device=self._device, ema_width=ema_width)
            self._open = ema_width, pipeline
        return self._open[1]

    @functools.cached_property
    def _neighbours(self) -> TrainingNeighbours:
        with fixed_threads():
            return TrainingNeighbours(self._dataset)

    @functools.cached_property
    def _judge(self) -> tuple[Recognizer, RealPictures]:
        """The classifier, and the real pictures' features by it: made once for a dataset."""
        path = self.folder / f"classifier-{self._dataset.digest[:8]}"
        if not path.exists():
            recognizer = train_recognizer(self._dataset)
            real = measure_real(recognizer, self._dataset)
            with atomic_folder(path) as temporary:
                recognizer.save(temporary)
                real.save(temporary / "real.safetensors")
        names = self._dataset.label_names
        return open_recognizer(path), open_real(path / "real.safetensors", names)
