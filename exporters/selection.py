"""Which pictures of a sample set go into a pack, told from labels and seeds: none is decoded."""

import collections
import dataclasses
import functools
from pathlib import Path

from core.errors import UserError
from core.files import digest_of, read_json
from core.sampleset import SampleSet, read_labels, read_seeds
from exporters.config import ExportConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """The pictures to export, shard by shard."""

    sample_set: SampleSet
    labels: frozenset[str]
    """Wanted classes; empty: all."""
    limit: int | None
    """At most so many of each class, the first of those that are wanted."""
    seeds: frozenset[int] | None
    """Wanted seeds; None: all."""

    @property
    def seeds_digest(self) -> str:
        """What stands for the wanted seeds among a pack's inputs."""
        return f"{len(self.seeds or ())} seeds sha256:{digest_of(sorted(self.seeds or ()))}"

    def rows(self, shard: int) -> list[int]:
        """Rows of one shard that are exported, rising."""
        if self.limit is None:
            return [row for row, _ in self._wanted(shard)]
        return self._within_limit[shard]

    def counts(self) -> list[int]:
        """Number of exported pictures of each shard; UserError when there are none at all."""
        self._check_seeds()
        counts = [len(self.rows(shard)) for shard in range(len(self.sample_set.shards))]
        if not any(counts):
            raise UserError(f"{self.sample_set.folder} holds no picture to export")
        return counts

    @functools.cached_property
    def _within_limit(self) -> list[list[int]]:
        """Rows of every shard: what a limit lets pass depends on the shards before."""
        taken: collections.Counter[str] = collections.Counter()
        shards = []
        for shard in range(len(self.sample_set.shards)):
            rows = []
            for row, label in self._wanted(shard):
                taken[label] += 1
                if taken[label] <= (self.limit or 0):
                    rows.append(row)
            shards.append(rows)
        return shards

    def _wanted(self, shard: int) -> list[tuple[int, str]]:
        """Rows and labels that labels and seeds let pass."""
        path = self.sample_set.folder / self.sample_set.shards[shard]
        wanted = [
            (row, label)
            for row, label in enumerate(read_labels(path))
            if not self.labels or label in self.labels
        ]
        if self.seeds is None:
            return wanted
        seeds = read_seeds(path)
        return [(row, label) for row, label in wanted if seeds[row] in self.seeds]

    def _check_seeds(self) -> None:
        if self.seeds is None:
            return
        folder = self.sample_set.folder
        known = {seed for shard in self.sample_set.shards for seed in read_seeds(folder / shard)}
        if unknown := sorted(self.seeds - known):
            raise UserError(f"{folder} has no picture of seed {unknown[0]}, which --only names")
        if not self.seeds:
            raise UserError(f"--only keeps no picture of {folder}: nothing to export")


def select(config: ExportConfig, sample_set: SampleSet) -> Selection:
    """What a config asks for; UserError names an unknown class or what is wrong with `only`."""
    unknown = sorted(set(config.labels) - set(sample_set.labels))
    if unknown:
        known = ", ".join(sample_set.labels)
        raise UserError(f"{config.samples} has no class {unknown[0]!r}; known are {known}")
    return Selection(
        sample_set=sample_set,
        labels=frozenset(config.labels),
        limit=config.limit,
        seeds=None if config.only is None else _read_seeds(config.only, sample_set),
    )


def _read_seeds(path: Path, sample_set: SampleSet) -> frozenset[int]:
    if not path.is_file():
        raise UserError(f"{path} is no file; `menagerie evaluate` writes a kept.json for --only")
    kept = read_json(path)
    seeds = kept.get("seeds") if isinstance(kept, dict) else None
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise UserError(
            f'{path} lists no seeds; wanted is {{"sample_set": "<digest>", "seeds": [1, 2]}}'
        )
    found = str(kept.get("sample_set"))
    if found != sample_set.digest:
        raise UserError(
            f"{path} is of the sample set {found[:12]}, not of {sample_set.folder} "
            f"({sample_set.digest[:12]}): evaluate that one"
        )
    return frozenset(seeds)
