"""A sample set as a source: its usable pictures, with the set's licence and their prompts."""

import dataclasses
import json
from pathlib import Path, PurePosixPath

from core.data.sources import Entry, Listing
from core.data.tables import ParquetSource
from core.errors import UserError
from core.sampleset import DONE, SampleSet

_PROMPTS = "prompts.jsonl"
"""Beside a pipeline's sample set: one line a picture, with its seed and prompt."""


@dataclasses.dataclass(frozen=True)
class SampleSetSource:
    """A finished sample set; each entry's `extra` holds its `seed` and, as `text`, its prompt."""

    sample_set: SampleSet
    kind: str = "samples"

    def listing(self) -> Listing:
        """Every row, one shard at a time; those without a usable picture are rejected."""
        entries: list[Entry] = []
        rejected: dict[str, str] = {}
        prompts = _prompts(self.sample_set.folder / _PROMPTS)
        for shard in self.sample_set.shards:
            folder = PurePosixPath(shard).parent
            listing = self._table(shard).listing()
            rejected |= {str(folder / name): why for name, why in listing.rejected.items()}
            troubles = self._troubles(shard)
            for entry in listing.entries:
                name, seed = str(folder / entry.name), (entry.extra or {})["seed"]
                if trouble := troubles.get((entry.label, seed)):
                    rejected[name] = trouble
                    continue
                extra = {"seed": seed, "text": prompts.get(seed)}
                entries.append(
                    dataclasses.replace(entry, name=name, licence=self._licence, extra=extra)
                )
        return Listing(entries=sorted(entries, key=lambda entry: entry.name), rejected=rejected)

    def read(self, entry: Entry) -> bytes:
        """One sample's PNG file."""
        return self._table().read(entry)

    @property
    def _licence(self) -> str | None:
        licence = self.sample_set.parents.get("licence")
        return licence if isinstance(licence, str) and licence != "unknown" else None

    def _table(self, shard: str = "data") -> ParquetSource:
        path = self.sample_set.folder / shard
        return ParquetSource(path, "image", "label", caption_column="seed")

    def _troubles(self, shard: str) -> dict[tuple[str, int], str]:
        """By class and seed, why samples of a shard cannot be used."""
        alone = dataclasses.replace(self.sample_set, shards=(shard,))
        return {(sample.label, sample.seed): sample.trouble for sample in alone.troubled()}


def is_sample_set(folder: Path) -> bool:
    """Whether a folder holds a sample set, finished or not."""
    if (folder / DONE).is_file():
        return True
    begun = (folder / "unfinished").is_dir() or any((folder / "data").glob("part-*.parquet"))
    return begun and (folder / "plan.json").is_file()


def _prompts(path: Path) -> dict[int, str]:
    """What pictures were asked to be, by seed; nothing for a set that was made without prompts."""
    if not path.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
        return {int(row["seed"]): str(row["prompt"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as prompts ({type(error).__name__}: {error}): sample again, or "
            "remove it to go without prompts"
        ) from None
