"""From a trained run to a sample set: which pictures, in which shards, and only what is missing."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import torch

from core.config import config_to_dict
from core.diffusion.pipeline import ClassConditionalPipeline, open_pipeline
from core.diffusion.sampleconfig import SampleConfig, planned_labels
from core.errors import UserError
from core.files import digest_file, exclusive, read_json, write_bytes, write_json
from core.images import contact_sheet, png_bytes
from core.progress import progress
from core.sampleset import (
    DONE,
    Sample,
    SampleSet,
    finish_sample_set,
    open_sample_set,
    read_shard,
    shard_name,
    write_shard,
)

_SHEET_AT_MOST = 128


def generate_sample_set(
    config: SampleConfig, folder: Path, *, batch_size: int = 16, device: str = "auto"
) -> SampleSet:
    """Make every picture that is missing, then the contact sheet and the done-marker.

    Computed in fp32; `batch_size` and interruptions do not change a picture (equal on one machine
    to within 1 of 255 levels). Raises UserError when the folder holds another sample set.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = open_pipeline(config.run, device=device)
    labels = planned_labels(config, pipeline.label_names)
    parents = {"model": model_digest(config.run), **pipeline.facts}
    with exclusive(folder):
        _claim(folder, config, parents)
        if (folder / DONE).exists():
            print(f"{folder} is finished already: nothing to do")
            return open_sample_set(folder)
        shards = [shard_name(i) for i in range(-(-len(labels) // config.shard_size))]
        _write_missing(config, folder, pipeline, labels, shards, batch_size)
        _write_contact_sheet(folder, shards, len(labels))
        return finish_sample_set(
            folder,
            count=len(labels),
            labels=pipeline.label_names,
            settings=_settings(config),
            parents=parents,
            shards=shards,
        )


def model_digest(run: Path) -> str:
    """SHA-256 of the weights of a run's model."""
    weights = sorted(run.glob("**/unet/diffusion_pytorch_model.safetensors"))
    if not weights:
        raise UserError(f"{run} has no model weights in safetensors")
    return digest_file(weights[0])


def _write_missing(
    config: SampleConfig,
    folder: Path,
    pipeline: ClassConditionalPipeline,
    labels: list[str],
    shards: list[str],
    batch_size: int,
) -> None:
    with progress(title="sampling", total=len(labels), unit="picture") as bar:
        for index, shard in enumerate(shards):
            first = index * config.shard_size
            wanted = labels[first : first + config.shard_size]
            if (folder / shard).exists():
                bar.update(len(wanted))
                continue
            samples = []
            for batch in _batches(config, pipeline, wanted, config.seed + first, batch_size):
                samples += batch
                bar.update(len(batch))
            write_shard(folder / shard, samples)


def _batches(
    config: SampleConfig,
    pipeline: ClassConditionalPipeline,
    labels: list[str],
    first_seed: int,
    batch_size: int,
) -> Iterator[list[Sample]]:
    """Pictures with consecutive seeds, a batch at a time.

    The last batch is filled up with repeats: the network then always sees one shape, hence one
    choice of kernels.
    """
    for begin in range(0, len(labels), batch_size):
        names = labels[begin : begin + batch_size]
        seeds = [first_seed + begin + i for i in range(len(names))]
        filler = batch_size - len(names)
        pictures = pipeline.generate(
            names + names[:1] * filler,
            seeds + seeds[:1] * filler,
            guidance=config.guidance,
            interval=config.guidance_interval,
            steps=config.steps,
            solver=config.solver,
        )
        yield [
            Sample(image_hwc=picture, label=name, seed=seed)
            for picture, name, seed in zip(pictures, names, seeds, strict=False)
        ]


def _write_contact_sheet(folder: Path, shards: list[str], count: int) -> None:
    """Pictures spread evenly over the whole set, in order."""
    stride = -(-count // _SHEET_AT_MOST)
    samples = itertools.chain.from_iterable(read_shard(folder / shard) for shard in shards)
    chosen = [sample.image_hwc for sample in itertools.islice(samples, None, None, stride)]
    sheet = contact_sheet(chosen, columns=min(16, len(chosen)), cell_px=96)
    write_bytes(folder / "contact_sheet.png", png_bytes(sheet))


def _claim(folder: Path, config: SampleConfig, parents: dict[str, str]) -> None:
    plan = {"settings": _settings(config), "parents": parents}
    path = folder / "plan.json"
    if not path.exists():
        write_json(path, plan)
    elif read_json(path) != plan:
        raise UserError(f"{folder} holds samples of another run or settings: name another --out")


def _settings(config: SampleConfig) -> dict[str, object]:
    """The config less the run's path: the model's digest stands for it."""
    return {name: value for name, value in config_to_dict(config).items() if name != "run"}
