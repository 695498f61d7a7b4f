"""What calls and phrases are made for: animals, each a class and a seed."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.sampleset import open_sample_set

_NAME = re.compile(r"[^\W_][\w .'()&+-]{0,59}")


@dataclasses.dataclass(frozen=True, kw_only=True, order=True)
class Animal:
    """One animal that is to be heard."""

    label: str
    """Its class."""
    seed: int
    """Of its picture, call and phrase alike."""

    @property
    def name(self) -> str:
        """File stem, such as `cat_000017`: its picture's own."""
        return f"{self.label}_{self.seed:06d}"


def check_labels(labels: tuple[str, ...]) -> None:
    """UserError unless every class can be a file's name."""
    for label in labels:
        if not _NAME.fullmatch(label) or label != label.strip():
            raise UserError(
                f"{label!r} is no class's name: it needs 1 to 60 letters, digits, spaces or "
                "- _ . ' ( ) & +, and begins with a letter or digit"
            )
    if len(set(labels)) < len(labels):
        raise UserError("a class is named twice: name each once")


def animals_asked(
    samples: Path | None, classes: tuple[str, ...], per_class: int, first_seed: int
) -> tuple[tuple[Animal, ...], dict[str, Any]]:
    """All animals in order, and what names them: a sample set's digest, or classes and seeds."""
    if samples is None:
        seeds = range(first_seed, first_seed + per_class)
        animals = tuple(Animal(label=label, seed=seed) for label in classes for seed in seeds)
        return animals, {"classes": list(classes), "seeds": [first_seed, first_seed + per_class]}
    found = open_sample_set(samples, verify=True)
    check_labels(found.labels)
    rows = [
        row
        for shard in range(len(found.shards))
        for row in zip(found.labels_of(shard), found.seeds_of(shard), strict=True)
    ]
    _check_rows(samples, rows)
    wanted = dict.fromkeys(Animal(label=label, seed=seed) for label, seed in rows)
    return tuple(wanted), {"samples": found.digest}


def _check_rows(samples: Path, rows: list[tuple[Any, Any]]) -> None:
    """UserError unless every row has a class that can be a file's name, and a seed."""
    for label, seed in rows:
        if not isinstance(label, str) or not isinstance(seed, int) or seed < 0:
            raise UserError(
                f"{samples} has a picture of the class {label!r} and the seed {seed!r}: a class is "
                "a text and a seed a whole number from 0 on; sample again"
            )
    check_labels(tuple(dict.fromkeys(label for label, _ in rows)))
