"""From a trained run to a sample set: which pictures, in which shards, and only what is missing.

Free of torch until a picture is made, so that a cluster's login node can plan the work.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config import config_to_dict
from core.diffusion.defaults import BUILT_IN, resolved
from core.diffusion.modelinfo import ModelInfo, describe_model, helpers_digests, model_digest
from core.diffusion.sampleconfig import SampleConfig, planned_labels
from core.errors import UserError
from core.files import read_json, write_json
from core.progress import progress
from core.sampleparts import ShardedPictures, complete
from core.sampleset import Sample, SampleSet, finish_sample_set, write_shard

if TYPE_CHECKING:
    from core.diffusion.pipeline import ClassConditionalPipeline

_HOW = (
    *("guidance", "guidance_interval", "guidance_parallel", "guidance_rescale", "guide"),
    *("steps", "solver", "precision"),
)
"""Fields of the config that the pipeline takes."""


def generate_sample_set(
    config: SampleConfig,
    folder: Path,
    *,
    batch_size: int = 32,
    device: str = "auto",
    origin: Mapping[str, Any] | None = None,
) -> SampleSet:
    """Make every picture that is missing, then the contact sheet and the done-marker.

    `batch_size` and interruptions do not change a picture (equal on one machine
    to within 1 of 255 levels). Raises UserError when the folder holds another sample set.
    """
    return complete(
        SamplingParts(config, folder, batch_size=batch_size, device=device, origin=origin)
    )


class SamplingParts(ShardedPictures):
    """A sample set in the making (`core.parts.Parts`): one part per shard, a range of seeds.

    UserError when the config asks for what the model has not. Defaults of the model are looked up
    when a set is begun and recorded: one that was begun goes on with those. origin: more parents of
    the set, by which its config was chosen.
    """

    def __init__(
        self,
        config: SampleConfig,
        folder: Path,
        *,
        batch_size: int = 32,
        device: str = "auto",
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.model: ModelInfo = describe_model(config.run)
        self.config = resolved(_as_begun(config, folder), self.model)
        self.labels = planned_labels(config, self.model.label_names)
        self._batch_size = min(batch_size, config.shard_size, len(self.labels))
        self._device = device
        self._origin = dict(origin or {})
        super().__init__(folder, pictures=len(self.labels), shard_size=config.shard_size)

    def begin(self) -> None:
        """Write plan.json, or check that the one there is this work's."""
        plan = {"settings": _settings(self.config), "parents": self._parents}
        path = self.folder / "plan.json"
        if not path.exists():
            write_json(path, plan)
        elif read_json(path) != plan:
            raise UserError(
                f"{self.folder} holds samples of another run or settings: name another --out"
            )

    def make(self, part: int) -> None:
        """Draw one shard's pictures and write it."""
        size = self.config.shard_size
        first = part * size
        wanted = self.labels[first : first + size]
        samples: list[Sample] = []
        title = f"sampling {part + 1}/{self.count}"
        with progress(title=title, total=len(wanted), unit="picture") as bar:
            for batch in self._batches(wanted, self.config.seed + first):
                samples += batch
                bar.update(len(batch))
        write_shard(self.folder / self.shards[part], samples)

    def finish(self) -> None:
        """Draw the contact sheet and write the done-marker."""
        self.write_contact_sheet()
        finish_sample_set(
            self.folder,
            count=len(self.labels),
            labels=self.model.label_names,
            settings=_settings(self.config),
            parents=self._parents,
            shards=self.shards,
        )

    @functools.cached_property
    def _parents(self) -> dict[str, Any]:
        config = self.config
        helpers = helpers_digests(
            config.run,
            guide=config.guide == "early" and config.guidance != 1,
            averages=bool(config.ema_width),
        )
        facts = {**self.model.facts, **self._origin}
        return {"model": model_digest(config.run), **helpers, **facts}

    @functools.cached_property
    def _pipeline(self) -> "ClassConditionalPipeline":
        import torch

        from core.diffusion.pipeline import open_pipeline

        device = self._device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        width = self.config.ema_width or 0.0
        return open_pipeline(self.config.run, device=device, ema_width=width)

    def _batches(self, labels: list[str], first_seed: int) -> Iterator[list[Sample]]:
        """Pictures with consecutive seeds, a batch at a time.

        The last batch is filled up with repeats: the network then always sees one shape, hence one
        choice of kernels.
        """
        how = {name.removeprefix("guidance_"): getattr(self.config, name) for name in _HOW}
        for begin in range(0, len(labels), self._batch_size):
            names = labels[begin : begin + self._batch_size]
            seeds = [first_seed + begin + i for i in range(len(names))]
            filler = self._batch_size - len(names)
            pictures = self._pipeline.generate(
                names + names[:1] * filler,
                seeds + seeds[:1] * filler,
                **how,
            )
            yield [
                Sample(image_hwc=picture, label=name, seed=seed)
                for picture, name, seed in zip(pictures, names, seeds, strict=False)
            ]


def _as_begun(config: SampleConfig, folder: Path) -> SampleConfig:
    """The config with what a set that was begun has recorded for all that it leaves open."""
    plan = folder / "plan.json"
    if not plan.exists():
        return config
    begun = read_json(plan)["settings"]
    still_open = [name for name in BUILT_IN if name in begun and getattr(config, name) is None]
    recorded: dict[str, Any] = {
        name: tuple(begun[name]) if isinstance(begun[name], list) else begun[name]
        for name in still_open
    }
    return dataclasses.replace(config, **recorded)


def _settings(config: SampleConfig) -> dict[str, object]:
    """The config less the run's path: the model's digest stands for it."""
    return {name: value for name, value in config_to_dict(config).items() if name != "run"}
