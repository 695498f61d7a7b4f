"""What a sample set depends on. Free of torch, so that `--help` is quick."""

import dataclasses
from pathlib import Path
from typing import Literal

from core.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """All that the pictures depend on."""

    run: Path
    """Folder of a finished training run."""
    per_class: int = 16
    """Pictures of each class."""
    classes: tuple[str, ...] = ()
    """Classes to draw, each NAME or NAME=COUNT; default: all of the model's, --per-class each."""
    labels: tuple[str, ...] = ()
    """One picture per label listed here, in this order; instead of --classes."""
    seed: int = 0
    """Seed of the first picture; each next one has the next number."""
    guidance: float = 1.5
    """Classifier-free guidance; 1 = none, more = clearer but less varied."""
    guidance_interval: tuple[float, float] = (0.2, 20.0)
    """Guide only between these noise levels (standard deviation, pictures in [-1, 1])."""
    steps: int = 24
    """Solver steps: more is finer and slower."""
    solver: Literal["dpmpp-2m", "heun", "euler"] = "dpmpp-2m"
    """dpmpp-2m and euler look at the model once a step, heun twice."""
    shard_size: int = 256
    """Pictures per Parquet file, the unit of resuming."""

    def __post_init__(self) -> None:
        for name in ("per_class", "steps", "shard_size"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, name)}; it must be 1 or more")
        if not 0 <= self.seed < 2**62:
            raise UserError(f"--seed is {self.seed}; it must be from 0 to 2^62")
        if self.guidance < 0:
            raise UserError(f"--guidance is {self.guidance}; it must be 0 or more (1 = none)")
        if self.labels and self.classes:
            raise UserError("--labels and --classes exclude each other: give one of them")


def planned_labels(config: SampleConfig, known: tuple[str, ...]) -> list[str]:
    """The label of every picture, in order; UserError for a class that the model does not know."""
    if config.labels:
        wanted = list(config.labels)
    else:
        wanted = []
        for entry in config.classes or known:
            name, _, count = entry.partition("=")
            if count and not (count.isdigit() and int(count) > 0):
                raise UserError(f"--classes {entry}: the count must be a whole number above 0")
            wanted += [name] * (int(count) if count else config.per_class)
    if unknown := sorted(set(wanted) - set(known)):
        raise UserError(f"no class {unknown[0]!r}; this model knows {', '.join(known)}")
    return wanted
