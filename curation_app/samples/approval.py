"""Approval: what was kept of a sample set becomes its `approved.json`, which exports read.

    {"sample_set": "<digest>", "seeds": [3, 17], "tags": {"extra ear": [17]}, "approved_by": […], …}

The first two are what `kept.json` of `menagerie evaluate` holds, too. Under `tags` is every tag
of the sample set, with the approved seeds that have it, so that an export can leave those out.
"""

import dataclasses
import datetime
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from core.errors import UserError
from core.files import read_json, write_json
from core.sampleset import SampleSet
from curation_app.records import Collection
from curation_app.store import samples as store

FILE = "approved.json"
FORMAT = "menagerie-approved-1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Approval:
    """What is approved of a sample set."""

    sample_set: str
    """Digest of the set."""
    seeds: tuple[int, ...]
    tags: dict[str, tuple[int, ...]]
    """Every tag of the set's pictures: the approved seeds that have it."""
    counts: dict[str, int]
    """Approved samples of each class that they were asked to be."""
    moved: int
    """How many of them were moved to another class, of which a pack knows nothing."""
    approved_by: tuple[str, ...]

    def without(self, unwanted: Sequence[str]) -> int:
        """How many have none of these tags."""
        out = {seed for tag in unwanted for seed in self.tags.get(tag, ())}
        return len(set(self.seeds) - out)

    def decided(self) -> dict[str, Any]:
        """What an export depends on."""
        return {
            "format": FORMAT,
            "sample_set": self.sample_set,
            "seeds": list(self.seeds),
            "tags": {tag: list(seeds) for tag, seeds in self.tags.items()},
        }


def approval(connection: Connection, collection: Collection, samples: SampleSet) -> Approval:
    """What is approved now: marked “keep”, and not merged into another one."""
    kept = store.approved(connection, collection.id)
    rows = {one.id: json.loads(one.item) for one in kept}
    # What was brought in from elsewhere has no seed, and is in no sample set.
    seeds = {key: int(row["seed"]) for key, row in rows.items() if type(row.get("seed")) is int}
    tagged = store.tags_of_all(connection, collection.id)
    return Approval(
        sample_set=samples.digest,
        seeds=tuple(sorted(set(seeds.values()))),
        tags={
            tag: tuple(sorted({seeds[key] for key in ids if key in seeds}))
            for tag, ids in tagged.items()
        },
        counts=dict(sorted(Counter(str(rows[key].get("label", "")) for key in seeds).items())),
        moved=sum(one.label != rows[one.id].get("label") for one in kept if one.id in seeds),
        approved_by=tuple(store.approvers(connection, collection.id)),
    )


def write_approval(samples: SampleSet, approved: Approval, *, by: str) -> Path:
    """Write the approval into the sample set's folder; UserError when that cannot be."""
    path = samples.folder / FILE
    if not approved.seeds:
        raise UserError("no sample is approved yet: mark some “keep”, then write the file")
    written = read_approval(samples)
    if written is not None and is_current(written, approved):
        return path
    facts = {
        **approved.decided(),
        "counts": approved.counts,
        "approved_by": list(approved.approved_by),
        "written_by": by,
        "written_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    try:
        write_json(path, facts)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): give this user the right to, and "
            "write it again"
        ) from None
    return path


def read_approval(samples: SampleSet) -> dict[str, Any] | None:
    """What was written last; None when there is no such file, or none that can be read."""
    try:
        facts = read_json(samples.folder / FILE)
    except (UserError, OSError):
        return None
    return facts if isinstance(facts, dict) else None


def is_current(facts: dict[str, Any], approved: Approval) -> bool:
    """Whether a written approval says what is approved now."""
    return {key: facts.get(key) for key in approved.decided()} == approved.decided()


def export_command(folder: Path, unwanted: Sequence[str] = ()) -> str:
    """What to run next."""
    words = ["python", "jobs/export.py", "--samples", str(folder), "--approved"]
    return shlex.join([*words, *(["--without-tags", *unwanted] if unwanted else [])])
