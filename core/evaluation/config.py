"""What an evaluation depends on. Free of torch, so that `--help` is quick."""

import dataclasses
import math
from pathlib import Path
from typing import Literal, get_args

from core.errors import UserError

FeatureKind = Literal["built-in", "inception", "dinov2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """All that the figures, and the list of what is kept, depend on."""

    samples: tuple[Path, ...]
    """What to measure, several side by side: finished sample sets, trained runs, or folders of
    pictures (class folders, metadata.jsonl, or neither)."""
    data: Path
    """Folder of the pinned dataset that the classifier learns from."""
    epochs: int = 8
    """Passes over the training pictures."""
    seed: int = 0
    """Decides the classifier's weights and augmentation, and every draw."""
    features: FeatureKind = "built-in"
    """What distances are measured in: `built-in` is the classifier trained here, which needs no
    download; `inception` and `dinov2` are what papers use."""
    weights: str = ""
    """Of inception: its weights file; of dinov2: a folder, or a name on the Hugging Face hub."""
    draws: int = 5
    """Seeded draws of as many pictures as there are held-out ones, halved; a figure's spread."""
    per_class: int = 64
    """Pictures of each class that are drawn from a run."""
    vectorise: int = 12
    """Pictures of each set that are traced as flat SVGs, to see how well that goes; 0 = none."""
    min_confidence: float = 0.0
    """Keep a recognised sample from this confidence of the classifier (0…1)."""
    min_recognised: float = 0.0
    """Fail, with the figures written, when a smaller share of the samples (0…1) is recognised."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", _as_tuple(self.samples))
        if not self.samples:
            raise UserError("--samples is empty; name a sample set, a run or a folder of pictures")
        if len(set(self.samples)) < len(self.samples):
            raise UserError("--samples names the same folder twice; name each once")
        for name, least in (("epochs", 1), ("draws", 2), ("per_class", 1), ("vectorise", 0)):
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, name)}; it must be {least} or more")
        if self.features not in get_args(FeatureKind):
            known = ", ".join(get_args(FeatureKind))
            raise UserError(f"no features {self.features!r}; known are {known}")
        if self.weights and self.features == "built-in":
            raise UserError("--weights goes with --features inception or dinov2")
        for name in ("min_confidence", "min_recognised"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= 1):
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {value:g}; it must be from 0 to 1")


def _as_tuple(paths: object) -> object:
    """One path alone may be given from Python."""
    return (paths,) if isinstance(paths, Path) else paths
