"""Pictures of one's own in place of a sample set: a folder or a zip, read where it lies.

Classes come from folders or from metadata.jsonl (`core.data.sources`), licences and sources too. A
picture's seed is its number in the sorted listing, from 1.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from core.data.decode import UnreadableError, decode
from core.data.sources import Entry, FolderSource, Source, ZipSource, check_digest
from core.errors import UserError
from core.files import digest_bytes, digest_of
from core.sampleset import Sample, SampleSet, open_sample_set
from exporters.config import ExportConfig

SHARD = 64
"""Pictures of one part of the export."""
NO_CLASS = "picture"
"""The class of pictures in a folder without class folders."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureSet(SampleSet):
    """Pictures that nobody sampled, as the exporters read a sample set."""

    source: Source
    entries: tuple[Entry, ...]
    """Each with the digest of its bytes."""

    def read(self, shard: int) -> list[Sample]:
        """Decode one part's pictures; one that cannot be read is empty and says why."""
        return [self._read(entry, seed) for seed, entry in self._part(shard)]

    def verify(self) -> None:
        """Nothing: digests were taken when it was opened, and are compared when it is read."""

    def labels_of(self, shard: int) -> list[str]:
        """The classes of one part."""
        return [entry.label for _, entry in self._part(shard)]

    def seeds_of(self, shard: int) -> list[int]:
        """The numbers of one part's pictures."""
        return [seed for seed, _ in self._part(shard)]

    def _part(self, shard: int) -> list[tuple[int, Entry]]:
        numbered = list(enumerate(self.entries, 1))
        return numbered[shard * SHARD : (shard + 1) * SHARD]

    def _read(self, entry: Entry, seed: int) -> Sample:
        image, trouble = np.zeros((0, 0, 3), dtype=np.uint8), ""
        try:
            data = _bytes_of(self.source, entry)
            check_digest(entry, data)
            image = decode(data)
        except UnreadableError as error:
            trouble = str(error)
        facts = {"picture": entry.name, "licence": entry.licence, "source": entry.source}
        known = {key: value for key, value in facts.items() if value is not None}
        return Sample(image_hwc=image, label=entry.label, seed=seed, trouble=trouble, facts=known)


def open_origin(config: ExportConfig) -> SampleSet:
    """The sample set, or the pictures, that a config names; UserError when there are none."""
    if config.samples is not None:
        return open_sample_set(config.samples)
    return open_pictures(config.origin, licence=config.licence)


def open_pictures(path: Path, *, licence: str = "unknown") -> PictureSet:
    """List a folder or zip of pictures and take their digests; nothing is decoded.

    `licence` is that of pictures that state none. UserError when there is nothing to export.
    """
    source = _source(path)
    listing = source.listing()
    if not listing.entries:
        name, reason = next(iter(sorted(listing.rejected.items())), ("it", "is empty"))
        raise UserError(f"{path} holds no picture to export ({name}: {reason})")
    entries = tuple(_with_digest(source, _named(entry), licence) for entry in listing.entries)
    rows = [[e.name, e.label, e.sha256, e.licence, e.source] for e in entries]
    digest = digest_of({"format": "menagerie-pictures-1", "pictures": rows})
    count = -(-len(entries) // SHARD)
    return PictureSet(
        folder=path,
        count=len(entries),
        labels=tuple(sorted({entry.label for entry in entries})),
        settings={},
        parents=_parents(entries, digest),
        shards=tuple(f"pictures {index * SHARD + 1} and on" for index in range(count)),
        shard_digests=(digest,) * count,
        digest=digest,
        source=source,
        entries=entries,
    )


def _source(path: Path) -> Source:
    if path.is_dir():
        return FolderSource(path, default_label=NO_CLASS)
    if path.is_file() and path.suffix.lower() == ".zip":
        return ZipSource(path, default_label=NO_CLASS)
    what = "neither a folder nor a .zip" if path.exists() else "not there"
    raise UserError(f"--pictures {path} is {what}: give a folder or a .zip of pictures")


def _with_digest(source: Source, entry: Entry, licence: str) -> Entry:
    """An entry that states its licence and the digest of its bytes, if they can be read."""
    changes: dict[str, Any] = {"licence": entry.licence or licence}
    if entry.sha256 is None:
        try:
            changes["sha256"] = digest_bytes(_bytes_of(source, entry))
        except UnreadableError:
            changes["sha256"] = None  # said when it is read
    return dataclasses.replace(entry, **changes)


def _named(entry: Entry) -> Entry:
    """An entry whose class can stand in an SVG: XML has no control characters, nor halves of
    surrogate pairs."""
    label = re.sub(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", entry.label)
    return dataclasses.replace(entry, label=label)


def _bytes_of(source: Source, entry: Entry) -> bytes:
    data = source.read(entry)
    if not isinstance(data, bytes):
        raise UnreadableError("it is no file")
    return data


def _parents(entries: tuple[Entry, ...], digest: str) -> dict[str, Any]:
    licences = sorted({entry.licence or "unknown" for entry in entries})
    return {"pictures": digest, "licence": " AND ".join(licences)}
