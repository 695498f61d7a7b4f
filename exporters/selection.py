"""Which pictures of a sample set go into a pack, told from labels and seeds: none is decoded."""

import collections
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_of, read_json
from core.sampleset import SampleSet
from exporters.config import ExportConfig

APPROVED = "approved.json"
"""Written into a sample set's folder by the curation app, like evaluate's kept.json."""


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
    chosen_by: str
    """The flags that name the seeds."""
    tags: Mapping[int, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """What curators said of approved pictures, sorted, by seed."""

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
        wanted = [
            (row, label)
            for row, label in enumerate(self.sample_set.labels_of(shard))
            if not self.labels or label in self.labels
        ]
        if self.seeds is None:
            return wanted
        seeds = self.sample_set.seeds_of(shard)
        return [(row, label) for row, label in wanted if seeds[row] in self.seeds]

    def _check_seeds(self) -> None:
        if self.seeds is None:
            return
        folder = self.sample_set.folder
        shards = range(len(self.sample_set.shards))
        known = {seed for shard in shards for seed in self.sample_set.seeds_of(shard)}
        if unknown := sorted(self.seeds - known):
            raise UserError(
                f"{folder} has no picture of seed {unknown[0]}, which {self.chosen_by} names"
            )
        if not self.seeds:
            raise UserError(f"{self.chosen_by} keeps no picture of {folder}: nothing to export")


def select(config: ExportConfig, sample_set: SampleSet) -> Selection:
    """What a config asks for; UserError names an unknown class or a list that does not fit."""
    unknown = sorted(set(config.labels) - set(sample_set.labels))
    if unknown:
        known = ", ".join(sample_set.labels)
        raise UserError(f"{config.origin} has no class {unknown[0]!r}; known are {known}")
    lists: dict[str, frozenset[int]] = {}
    if config.only is not None:
        hint = "`menagerie evaluate` writes a kept.json for --only"
        lists["--only"] = _seeds_of(_read_list(config.only, sample_set, hint))
    tags: dict[int, tuple[str, ...]] = {}
    if config.approved:
        lists["--approved"], tags = _approved(config, sample_set)
    seeds = frozenset.intersection(*lists.values()) if lists else None
    return Selection(
        sample_set=sample_set,
        labels=frozenset(config.labels),
        limit=config.limit,
        seeds=seeds,
        chosen_by=" with ".join(lists),
        tags={seed: told for seed, told in tags.items() if seed in (seeds or ())},
    )


def _approved(
    config: ExportConfig, sample_set: SampleSet
) -> tuple[frozenset[int], dict[int, tuple[str, ...]]]:
    """What was approved and has none of the unwanted tags; the tags of each."""
    path = sample_set.folder / APPROVED
    hint = f"approve samples with `menagerie curate {sample_set.folder}`, then export --approved"
    approved = _read_list(path, sample_set, hint)
    tagged = approved.get("tags", {})
    if not isinstance(tagged, dict) or not all(map(_are_seeds, tagged.values())):
        raise UserError(f'{path} has tags that are not {{"tag": [seeds]}}: write it again')
    for tag in config.without_tags:
        if tag not in tagged:
            known = ", ".join(sorted(tagged)) or "none at all"
            raise UserError(f"without_tags: {path} knows no tag {tag!r}; known are {known}")
    unwanted = {seed for tag in config.without_tags for seed in tagged[tag]}
    wanted = _seeds_of(approved) - unwanted
    tags: dict[int, tuple[str, ...]] = {}
    for tag in sorted(tagged):
        for seed in sorted(wanted & set(tagged[tag])):
            tags[seed] = (*tags.get(seed, ()), tag)
    return wanted, tags


def _read_list(path: Path, sample_set: SampleSet, hint: str) -> dict[str, Any]:
    """A list of seeds of this sample set."""
    if not path.is_file():
        raise UserError(f"{path} is no file; {hint}")
    facts = read_json(path)
    if not isinstance(facts, dict) or not _are_seeds(facts.get("seeds")):
        raise UserError(
            f'{path} lists no seeds; wanted is {{"sample_set": "<digest>", "seeds": [1, 2]}}'
        )
    found = str(facts.get("sample_set"))
    if found != sample_set.digest:
        raise UserError(
            f"{path} is of the sample set {found[:12]}, not of {sample_set.folder} "
            f"({sample_set.digest[:12]}): make it of that one; {hint}"
        )
    return facts


def _seeds_of(facts: dict[str, Any]) -> frozenset[int]:
    return frozenset(facts["seeds"])


def _are_seeds(value: Any) -> bool:
    return isinstance(value, list) and all(type(seed) is int for seed in value)
