"""A night's pictures, counted: asked for, made, recognised, kept, turned into stickers, refused."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import read_json
from core.sampleset import read_labels
from jobs.nights.folder import Night

Facts = dict[str, Any]


def count(night: Night, record: Facts) -> Facts:
    """Pictures asked for, made, recognised and kept, stickers and refusals."""
    made: Counter[str] = Counter()
    for shard in sorted((night.samples / "data").glob("part-*.parquet")):
        with contextlib.suppress(UserError):
            made.update(read_labels(shard))
    counts: Facts = {"asked": record["asked"], "made": dict(sorted(made.items()))}
    packs = [
        night.packs / stage["name"].split(" ", 1)[1]
        for stage in record["stages"]
        if stage["verb"] == "export"
    ]
    with _gaps_allowed():
        counts |= _judged(night)
    counts["packs"] = []
    for path in packs:
        with _gaps_allowed():
            counts["packs"].append(_pack(path))
    return counts


@contextlib.contextmanager
def _gaps_allowed() -> Iterator[None]:
    """Leave out what is not there, or half replaced: a digest is written in any case."""
    with contextlib.suppress(UserError, OSError, KeyError, ValueError):
        yield


def _judged(night: Night) -> Facts:
    figures, kept = read_json(night.figures), read_json(night.kept)["seeds"]
    rows = night.figures.with_name("recognised.jsonl").read_text(encoding="utf-8").splitlines()
    labels = {row["seed"]: row["label"] for row in map(json.loads, rows)}
    return {
        "recognised": figures["recognised"],
        "recognised_by_class": figures["recognised_by_class"],
        "held_out_accuracy": figures["held_out_accuracy"],
        "kept": dict(sorted(Counter(labels[seed] for seed in kept).items())),
    }


def _pack(path: Path) -> Facts:
    facts = read_json(path / "pack.json")
    reasons = Counter(re.sub(r"\d+(\.\d+)?", "…", item["reason"]) for item in facts["refused"])
    return {
        "name": facts["name"],
        "folder": str(path),
        "stickers": dict(sorted(Counter(item["label"] for item in facts["stickers"]).items())),
        "refused": dict(reasons.most_common()),
    }


def totals(facts: Facts) -> Facts:
    """The counts in a line, to hold against another night's."""
    counts, stages = facts["counts"], facts["stages"]
    begun = [row["begun"] for row in stages if row["begun"]]
    ended = [row["ended"] for row in stages if row["ended"]]
    return {
        "asked": sum(counts["asked"].values()),
        "made": sum(counts["made"].values()),
        "kept": sum(counts["kept"].values()) if "kept" in counts else None,
        "stickers": sum(sum(pack["stickers"].values()) for pack in counts["packs"]),
        "refused": sum(sum(pack["refused"].values()) for pack in counts["packs"]),
        "seconds": round(max(ended) - min(begun), 1) if begun and ended else None,
    }
