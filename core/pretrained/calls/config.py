"""What calls depend on. Free of torch, so that `--help` is quick."""

import dataclasses
from pathlib import Path

from core.errors import UserError
from core.pretrained.asked import check_labels


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallsConfig:
    """All that a set of calls depends on."""

    samples: Path | None = None
    """Folder of a finished sample set: one call for each of its pictures, by class and seed."""
    classes: tuple[str, ...] = ()
    """Classes to make calls for, instead of a sample set; any name has a call."""
    per_class: int = 4
    """Calls of each of --classes."""
    first_seed: int = 0
    """Seed of each class's first call."""
    pipeline: str = ""
    """A diffusers StableAudioPipeline: a local folder or a name on the hub. Empty: the embedded
    synthesiser, which needs no weights."""
    prompt: str = "the call of one {label}, close up, dry recording, no background"
    """What the pipeline is asked for; {label} stands for the class."""
    negative_prompt: str = "music, speech, reverberation, low quality"
    """What the pipeline is to keep away from."""
    steps: int = 100
    """The pipeline's steps for a sound."""
    guidance: float = 7.0
    """How strongly the pipeline follows the prompt; 1 switches guidance off."""
    waveforms: int = 3
    """Sounds that the pipeline makes for each call; the best one is kept."""
    seconds: float = 2.0
    """Length of the pipeline's sounds, 1…3."""

    def __post_init__(self) -> None:
        if (self.samples is None) == (not self.classes):
            raise UserError("give either --samples SAMPLE_SET or --classes NAME…")
        check_labels(self.classes)
        _require("per-class", self.per_class, 1, 100_000)
        _require("first-seed", self.first_seed, 0, 2**53)
        _require("steps", self.steps, 1, 1000)
        _require("guidance", self.guidance, 1, 50)
        _require("waveforms", self.waveforms, 1, 64)
        _require("seconds", self.seconds, 1, 3)
        if not self.prompt.strip():
            raise UserError("--prompt is empty: say what to ask the pipeline for")


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"--{name} is {value:g}; it must be from {low:g} to {high:g}")
