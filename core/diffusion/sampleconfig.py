"""What a sample set depends on. Free of torch, so that `--help` is quick."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import Literal, get_args

from core.errors import UserError

Solver = Literal["ddpm", "ddim", "euler", "heun", "dpmpp-2m", "dpmpp-3m-sde"]
Guide = Literal["label", "early"]
SamplePrecision = Literal["fp32", "bf16", "auto"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """All that the pictures depend on; None: see `core.diffusion.defaults`."""

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
    guidance: float | None = None
    """How strongly to guide; 1 = not at all, more = clearer but less varied. Default: the model's
    own, else 1.5."""
    guidance_interval: tuple[float, float] | None = None
    """Guide only between these noise levels (standard deviation, pictures in [-1, 1]). Default: the
    model's own, else 0.2 20."""
    guidance_parallel: float | None = None
    """Share kept of guidance's part along the picture, which saturates colours: 1 = plain guidance,
    0 = the orthogonal part alone. Default: the model's own, else 1."""
    guidance_rescale: float | None = None
    """How far a guided picture's contrast goes back to the unguided one's, 0 to 1. Default: the
    model's own, else 0."""
    guide: Guide | None = None
    """What guidance leads away from: `label`, the model's guess for no class; `early`, its guess
    after a quarter of the training (costs a forward too). Default: the model's own, else label."""
    steps: int | None = None
    """Sampler steps: more is finer and slower. Default: the model's own, else 24."""
    solver: Solver | None = None
    """dpmpp-2m, euler and ddim look at the model once a step and add no noise, heun twice; ddpm and
    dpmpp-3m-sde add noise and want 40 steps and more; ddpm and ddim keep to the steps that the
    model was trained with (else, 1000 linear ones). Default: the model's own, else dpmpp-2m."""
    ema_width: float | None = None
    """Width of the weights' average, relative to the run, made from its snapshots; 0 = the average
    that the model was saved with. Default: the model's own, else 0."""
    precision: SamplePrecision = "fp32"
    """Arithmetic of the network. bf16 is twice as fast where the processor multiplies it natively,
    and near (about 53 dB); auto = bf16 there, else fp32: pictures then depend on the machine."""
    shard_size: int = 256
    """Pictures per Parquet file, the unit of resuming."""

    def __post_init__(self) -> None:
        for name in ("per_class", "steps", "shard_size"):
            self._require(name, 1, None, "1 or more")
        self._require("guidance", 0, None, "0 or more (1 = none)")
        self._require("guidance_parallel", 0, 1, "from 0 to 1")
        self._require("guidance_rescale", 0, 1, "from 0 to 1")
        self._require("ema_width", 0, 0.28, "from 0 (the model's own) to 0.28")
        if not 0 <= self.seed < 2**62:
            raise UserError(f"--seed is {self.seed}; it must be from 0 to 2^62")
        if self.solver is not None and self.solver not in get_args(Solver):
            raise UserError(f"no solver {self.solver!r}; known are {', '.join(get_args(Solver))}")
        if self.guide is not None and self.guide not in get_args(Guide):
            raise UserError(f"no guide {self.guide!r}; known are {', '.join(get_args(Guide))}")
        low, high = self.guidance_interval or (0.0, 0.0)
        if not 0 <= low <= high < math.inf:
            raise UserError(
                f"--guidance-interval is {low} {high}; it must be two levels, the lower one first "
                "(1000 is above all)"
            )
        if self.labels and self.classes:
            raise UserError("--labels and --classes exclude each other: give one of them")

    def _require(self, name: str, least: float, most: float | None, allowed: str) -> None:
        value = getattr(self, name)
        if value is None or least <= value <= (sys.float_info.max if most is None else most):
            return
        raise UserError(f"--{name.replace('_', '-')} is {value}; it must be {allowed}")


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
