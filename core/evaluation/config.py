"""What an evaluation depends on. Free of torch, so that `--help` is quick."""

import dataclasses
import math
from pathlib import Path

from core.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """All that the figures, and the list of what is kept, depend on."""

    samples: Path
    """Folder of a finished sample set."""
    data: Path
    """Folder of the pinned dataset that the classifier learns from."""
    epochs: int = 8
    """Passes over the training pictures."""
    seed: int = 0
    """Decides the classifier's weights and augmentation."""
    min_confidence: float = 0.0
    """Keep a recognised sample from this confidence of the classifier (0…1)."""
    min_recognised: float = 0.0
    """Fail, with the figures written, when a smaller share of the samples (0…1) is recognised."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UserError(f"--epochs is {self.epochs}; it must be 1 or more")
        for name in ("min_confidence", "min_recognised"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= 1):
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {value:g}; it must be from 0 to 1")
