"""A sample set: Parquet shards of generated pictures, and `sampleset.json` that explains them.

    plan.json            what is to be made; written first
    data/part-00000.parquet   rows of a fixed range of pictures; each appears whole or not at all
    sampleset.json       parents, settings and shard digests; written last: the done-marker

`datasets.load_dataset("parquet", data_files="<folder>/data/*.parquet")` opens the shards, the
`image` column as pictures.
"""

import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from core.errors import UserError
from core.files import atomic_file, digest_bytes, digest_file, digest_of, read_json, write_json
from core.images import Picture, png_bytes

FORMAT = "menagerie-samples-1"
DONE = "sampleset.json"
_TROUBLE = "menagerie:trouble"

_HF_FEATURES = {
    "image": {"_type": "Image"},
    "label": {"dtype": "string", "_type": "Value"},
    "seed": {"dtype": "int64", "_type": "Value"},
    "sha256": {"dtype": "string", "_type": "Value"},
}
_SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.string()),
        ("seed", pa.int64()),
        ("sha256", pa.string()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _HF_FEATURES}})},
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """One generated picture."""

    image_hwc: Picture
    """uint8, H×W×C, straight alpha when C = 4."""
    label: str
    """The class that it was asked to be."""
    seed: int
    """The seed that alone decides the picture (with the model and the settings)."""
    trouble: str = ""
    """Why there is no picture that can be used: none at all (then it is empty), or a black one."""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What is known of a picture that was not sampled: its file, licence and source."""

    @property
    def name(self) -> str:
        """File stem, such as `cat_000017`."""
        return f"{self.label}_{self.seed:06d}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSet:
    """A finished sample set on disk."""

    folder: Path
    count: int
    """Number of pictures."""
    labels: tuple[str, ...]
    """Classes, in the model's order."""
    settings: dict[str, Any]
    """The sampling config."""
    parents: dict[str, Any]
    """Digests of what made it: `model`, `dataset`, and the data's `licence`."""
    shards: tuple[str, ...]
    """Shard paths relative to the folder, in order."""
    shard_digests: tuple[str, ...]
    """SHA-256 of each shard's bytes."""
    digest: str
    """SHA-256 over all of the above."""

    def samples(self) -> Iterator[Sample]:
        """All pictures, in order, one at a time in memory."""
        for shard in self.shards:
            yield from read_shard(self.folder / shard)

    def read(self, shard: int) -> list[Sample]:
        """The pictures of one shard; UserError when its bytes are not those of the set."""
        self._check(shard)
        return read_shard(self.folder / self.shards[shard])

    def labels_of(self, shard: int) -> list[str]:
        """The classes asked for in one shard, in order; no picture is decoded."""
        return read_labels(self.folder / self.shards[shard])

    def seeds_of(self, shard: int) -> list[int]:
        """The seeds of one shard, in order; no picture is decoded."""
        return read_seeds(self.folder / self.shards[shard])

    def troubled(self) -> list[Sample]:
        """Those without a picture that can be used; nothing is decoded for the others."""
        found: list[Sample] = []
        for shard in self.shards:
            pictures = _read_column(self.folder / shard, "image")
            if any(_trouble(picture["bytes"]) for picture in pictures):
                found += [sample for sample in read_shard(self.folder / shard) if sample.trouble]
        return found

    def verify(self) -> None:
        """Check every shard's digest; UserError names the first that was altered."""
        for shard in range(len(self.shards)):
            self._check(shard)

    def _check(self, shard: int) -> None:
        path = self.folder / self.shards[shard]
        if not path.is_file():
            raise UserError(f"{path} is missing: sample again")
        if digest_file(path) != self.shard_digests[shard]:
            raise UserError(f"{path} was altered: its digest does not match")


def shard_name(index: int) -> str:
    """Path of shard `index` relative to the sample set's folder."""
    return f"data/part-{index:05d}.parquet"


def write_shard(path: Path, samples: Sequence[Sample]) -> None:
    """Write pictures as one Parquet file, atomically; the same samples give the same bytes."""
    rows = []
    for sample in samples:
        png = sample_png(sample)
        rows.append(
            {
                "image": {"bytes": png, "path": f"{sample.name}.png"},
                "label": sample.label,
                "seed": sample.seed,
                "sha256": digest_bytes(png),
            }
        )
    with atomic_file(path) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), file, compression="none")


def sample_png(sample: Sample) -> bytes:
    """The picture as a PNG file that tells its class and seed, and its trouble."""
    text = {"menagerie:label": sample.label, "menagerie:seed": str(sample.seed)}
    if sample.trouble:
        text[_TROUBLE] = sample.trouble
    return png_bytes(sample.image_hwc, text)


def read_png(data: bytes, *, label: str, seed: int) -> Sample:
    """The sample of a PNG file that `sample_png` wrote; OSError when it is broken."""
    return Sample(image_hwc=_pixels(data), label=label, seed=seed, trouble=_trouble(data))


def read_shard(path: Path) -> list[Sample]:
    """Read one shard; UserError when it is broken."""
    try:
        rows = pq.read_table(path).to_pylist()
        return [
            read_png(row["image"]["bytes"], label=row["label"], seed=row["seed"]) for row in rows
        ]
    except (OSError, pa.ArrowInvalid, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a readable sample shard: {error}") from None


def _trouble(data: bytes) -> str:
    """What a picture's file says of its trouble; read without decoding it."""
    if _TROUBLE.encode() not in data:
        return ""
    with Image.open(io.BytesIO(data)) as image:
        return str(image.info.get(_TROUBLE, ""))


def _pixels(data: bytes) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        if image.mode in ("RGB", "RGBA"):
            return np.array(image)
    # Shards that others wrote may hold palettes, grey, or 16 bits.
    from core.data.decode import UnreadableError, decode

    try:
        return decode(data)
    except UnreadableError as error:
        raise OSError(str(error)) from None


def read_labels(path: Path) -> list[str]:
    """The classes asked for in one shard, in order; no picture is decoded."""
    return _read_column(path, "label")


def read_seeds(path: Path) -> list[int]:
    """The seeds of one shard, in order; no picture is decoded."""
    return _read_column(path, "seed")


def _read_column(path: Path, name: str) -> list[Any]:
    try:
        return list(pq.read_table(path, columns=[name]).column(name).to_pylist())
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise UserError(f"{path} is not a readable sample shard: {error}") from None


def finish_sample_set(
    folder: Path,
    *,
    count: int,
    labels: Sequence[str],
    settings: dict[str, Any],
    parents: dict[str, Any],
    shards: Sequence[str],
) -> SampleSet:
    """Write the done-marker after the last shard and return the finished set."""
    facts = {
        "format": FORMAT,
        "count": count,
        "labels": list(labels),
        "settings": settings,
        "parents": parents,
        "shards": {shard: digest_file(folder / shard) for shard in shards},
    }
    write_json(folder / DONE, facts | {"digest": digest_of(facts)})
    return open_sample_set(folder)


def open_sample_set(folder: Path, *, verify: bool = False) -> SampleSet:
    """Open a finished sample set; with `verify`, every shard's digest is checked.

    Raises UserError when it is missing, unfinished, of another format, or altered.
    """
    if not (folder / DONE).exists():
        hint = "it is unfinished: run the same sample command again to complete it"
        if not (folder / "plan.json").exists():
            hint = f"it has no {DONE}: make one with `menagerie sample`"
        raise UserError(f"{folder} is not a finished sample set: {hint}")
    facts = read_json(folder / DONE)
    if facts.get("format") != FORMAT:
        raise UserError(f"{folder / DONE} has format {facts.get('format')!r}, not {FORMAT!r}")
    digest = facts.pop("digest", None)
    if digest != digest_of(facts):
        raise UserError(f"{folder / DONE} was altered: its digest does not match; sample again")
    sample_set = SampleSet(
        folder=folder,
        count=facts["count"],
        labels=tuple(facts["labels"]),
        settings=facts["settings"],
        parents=facts["parents"],
        shards=tuple(facts["shards"]),
        shard_digests=tuple(facts["shards"].values()),
        digest=digest,
    )
    if verify:
        sample_set.verify()
    return sample_set
