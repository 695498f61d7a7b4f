"""What a sweep depends on. Free of torch, so that `--help` is quick."""

import dataclasses
from typing import Literal

from core.diffusion.sampleconfig import Solver
from core.errors import UserError
from core.training.config import TrainConfig

Study = Literal["ddpm", "timesteps", "channels", "attention", "length", "classes"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """All that a sweep's runs, and what is told of them, depend on."""

    train: TrainConfig
    """What all runs have in common."""
    grid: tuple[str, ...] = ()
    """Fields of a training and their values, each NAME=VALUE,VALUE…, every combination a run:
    base_channels=64,128 schedule=linear,cosine. A value of several words is quoted:
    block_channels='64 128','96 160'. `base_channels` widens all levels alike, `schedule` is
    noise_schedule, classes=cat,'cat dog' keeps these classes of the data. With --random, LOW..HIGH
    is a range."""
    random: int = 0
    """Runs drawn at random from the grid; 0 = all of it."""
    random_seed: int = 0
    """Decides which."""
    preset_study: Study | None = None
    """A study that is ready to run, instead of --grid: `timesteps` 500, 1000, 2000 with linear and
    cosine noise; `channels` 64, 128, 256; `attention` self, cross, none; `length` of the training;
    `classes`, cats alone and cats and dogs; `ddpm`, all of them, one field at a time."""
    tiny: bool = False
    """Start from a training of seconds, to see that all goes well; flags of the training win."""
    halving: int = 0
    """Stop early what is hopeless: of the runs that have come to a rung only the best 1 in so many,
    by held-out loss, goes on to the next, so many times as far; 0 = train all to the end."""
    first_rung: int = 0
    """Step of the first rung; 0 = the length of the training / halving², so that there are two."""
    sample_per_class: int = 4
    """Pictures of each class in a run's sample sheet, of the same seeds in all."""
    judge_per_class: int | None = None
    """Pictures of each class from which distances and copy rates are measured; 0 = do not measure.
    Default: 64 in a study (8 in a tiny one), else 0."""
    judge_epochs: int = 8
    """Passes over the training pictures of the classifier in whose features distances are."""
    guidance: float = 1.5
    """Guidance of the samples."""
    sample_steps: int = 24
    """Sampler steps of the samples."""
    solver: Solver = "dpmpp-2m"
    """Sampler of the samples; `ddpm` and `ddim` walk along the levels that a run was trained with
    (ddpm wants many --sample-steps)."""

    def __post_init__(self) -> None:
        for name in ("random", "first_rung", "sample_per_class", "random_seed", "guidance"):
            self._require(name, 0)
        for name in ("judge_epochs", "sample_steps"):
            self._require(name, 1)
        if self.halving == 1 or self.halving < 0:
            raise UserError(f"--halving is {self.halving}; it must be 2 or more, or 0 for none")
        if self.judge_per_class is not None and (
            self.judge_per_class < 0 or self.judge_per_class == 1
        ):
            raise UserError(
                f"--judge-per-class is {self.judge_per_class}; it must be 2 or more, or 0 for none"
            )
        if self.first_rung and not self.halving:
            raise UserError("--first-rung goes with --halving: give --halving 3, or leave it out")
        if self.random and self.preset_study:
            raise UserError("--random draws from a --grid, not from a --preset-study")

    @property
    def judged(self) -> int:
        """Pictures of each class that are judged."""
        if self.judge_per_class is not None:
            return self.judge_per_class
        if self.preset_study is None:
            return 0
        return 8 if self.tiny else 64

    def _require(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} is {getattr(self, name)}; it must be {least} or more")
