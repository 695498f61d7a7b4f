"""What is evaluated: sample sets, trained runs, and folders of pictures, block by block.

A run is what it draws: a sample set with the model's own defaults, kept beside the figures. A
folder's pictures become what the dataset's are, by the transform that prepared it. Free of torch
until a picture is drawn.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from core.config import config_to_dict
from core.data.decode import UnreadableError, decode
from core.data.pinned import PinnedDataset
from core.data.sources import FolderSource
from core.data.transform import SquareTransform
from core.diffusion.defaults import resolved
from core.diffusion.generate import SamplingParts
from core.diffusion.modelinfo import describe_model, model_digest
from core.diffusion.sampleconfig import SampleConfig
from core.errors import UserError
from core.evaluation.config import EvaluateConfig
from core.files import digest_bytes, digest_of
from core.images import unpremultiply
from core.sampleset import DONE, Sample, open_sample_set, read_shard

UNLABELLED = ""
"""The class of pictures that state none."""
_BLOCK = 256
"""Pictures of a folder that are judged together."""
_FIRST_SEED = 1_000_000
"""Of what is drawn from a run: far from the seeds that people take."""
Kind = Literal["sample set", "run", "pictures"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One thing that is evaluated."""

    path: Path
    kind: Kind
    digest: str
    """SHA-256 of all that its pictures are made of."""
    labels: tuple[str, ...]
    """Classes that its pictures were asked to be; empty for pictures that state none."""
    blocks: int
    """Pictures are read block by block."""
    read: Callable[[int], list[Sample]]
    """The pictures of one block; a run's are drawn if they are not there yet."""
    begin: Callable[[], None] = lambda: None
    """Claim what is written on the way."""
    finish: Callable[[], None] = lambda: None
    """All blocks were read."""
    listed: int = 0
    """Pictures that a folder names; those that are damaged are left out of the figures."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.path.resolve().name

    @property
    def facts(self) -> dict[str, Any]:
        """What is written into the figures."""
        return {"name": self.name, "kind": self.kind, "digest": self.digest}


def open_subject(path: Path, config: EvaluateConfig, dataset: PinnedDataset, work: Path) -> Subject:
    """Find out what a folder holds; UserError when it is nothing to evaluate, or does not fit.

    work: folder where a run's pictures go.
    """
    if (path / DONE).exists() or (path / "plan.json").exists():
        subject = _sample_set(path)
    elif (path / "model_index.json").exists() or (path / "model" / "model_index.json").exists():
        subject = _run(path, config, work)
    elif (path / "checkpoints").exists():
        raise UserError(f"{path} is a run that is not finished: run its train command again")
    else:
        subject = _pictures(path, dataset)
    if unknown := sorted(set(subject.labels) - set(dataset.label_names)):
        raise UserError(
            f"{dataset.folder} has no class {unknown[0]!r}, which the samples have ({path})"
        )
    return subject


def _sample_set(path: Path) -> Subject:
    found = open_sample_set(path)
    return Subject(
        path=path,
        kind="sample set",
        digest=found.digest,
        labels=found.labels,
        blocks=len(found.shards),
        read=found.read,
    )


def _run(path: Path, config: EvaluateConfig, work: Path) -> Subject:
    how = SampleConfig(run=path, per_class=config.per_class, seed=_FIRST_SEED)
    model = describe_model(path)
    digest = digest_of([model_digest(path), _values(resolved(how, model))])
    folder = work / f"drawn-{digest[:8]}"
    drawing = SamplingParts(how, folder)

    def read(block: int) -> list[Sample]:
        if block in drawing.missing():
            drawing.make(block)
        return read_shard(folder / drawing.shards[block])

    return Subject(
        path=path,
        kind="run",
        digest=digest,
        labels=model.label_names,
        blocks=drawing.count,
        read=read,
        begin=drawing.begin,
        finish=lambda: None if drawing.finished() else drawing.finish(),
    )


def _values(config: SampleConfig) -> dict[str, Any]:
    return {name: value for name, value in config_to_dict(config).items() if name != "run"}


def _pictures(path: Path, dataset: PinnedDataset) -> Subject:
    source = FolderSource(path, default_label=UNLABELLED)
    listing = source.listing()
    if not listing.entries:
        raise UserError(f"{path} is not a finished sample set, a run or a folder of pictures")
    transform = _transform_of(dataset)
    readable, digests = [], []
    for entry in listing.entries:
        try:
            digests.append([entry.name, entry.label, digest_bytes(source.read(entry))])
            readable.append(entry)
        except UnreadableError:
            continue

    def read(block: int) -> list[Sample]:
        found = []
        for index in range(block * _BLOCK, min(len(readable), (block + 1) * _BLOCK)):
            entry = readable[index]
            try:
                picture = decode(source.read(entry), enough_px=2 * dataset.size_px)
            except UnreadableError:
                continue  # Counted as missing beside the figures.
            facts = {"file": entry.name}
            image = unpremultiply(transform(picture))
            found.append(Sample(image_hwc=image, label=entry.label, seed=index, facts=facts))
        return found

    labelled = {entry.label for entry in readable} - {UNLABELLED}
    return Subject(
        path=path,
        kind="pictures",
        digest=digest_of(digests),
        labels=tuple(sorted(labelled)) if _known(labelled, dataset) else (),
        blocks=-(-len(readable) // _BLOCK),
        read=read if _known(labelled, dataset) else _without_labels(read),
        listed=len(listing.entries),
    )


def _known(labels: set[str], dataset: PinnedDataset) -> bool:
    """Whether class folders are the dataset's; others are taken for mere folders."""
    return bool(labels) and labels <= set(dataset.label_names)


def _without_labels(read: Callable[[int], list[Sample]]) -> Callable[[int], list[Sample]]:
    def bare(block: int) -> list[Sample]:
        return [dataclasses.replace(sample, label=UNLABELLED) for sample in read(block)]

    return bare


def _transform_of(dataset: PinnedDataset) -> SquareTransform:
    """What made the dataset's pictures, as far as its facts say."""
    known = {field.name for field in dataclasses.fields(SquareTransform)}
    facts = {key: value for key, value in dataset.facts["transform"].items() if key in known}
    if "background_rgb" in facts:
        facts["background_rgb"] = tuple(facts["background_rgb"])
    return SquareTransform(**{**facts, "size_px": dataset.size_px, "channels": dataset.channels})
