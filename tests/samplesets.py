"""Small finished sample sets that several tests build on."""

from collections.abc import Sequence
from pathlib import Path

from core.data.starter import draw_animal
from core.sampleset import Sample, SampleSet, finish_sample_set, shard_name, write_shard

PARENTS = {"model": "a" * 64, "dataset": "b" * 64, "licence": "CC0-1.0"}


def animal(label: str, seed: int, size_px: int = 32) -> Sample:
    """A starter animal in place of a generated one."""
    return Sample(image_hwc=draw_animal(label, seed, size_px), label=label, seed=seed)


def write_sample_set(folder: Path, shards: Sequence[Sequence[Sample]]) -> SampleSet:
    """A finished sample set of these shards."""
    names = [shard_name(index) for index in range(len(shards))]
    for name, samples in zip(names, shards, strict=True):
        write_shard(folder / name, samples)
    return finish_sample_set(
        folder,
        count=sum(len(samples) for samples in shards),
        labels=sorted({sample.label for samples in shards for sample in samples}),
        settings={"guidance": 1.5},
        parents=PARENTS,
        shards=names,
    )
