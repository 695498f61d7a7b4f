"""What a look inside a network depends on. Free of torch."""

import dataclasses
from pathlib import Path
from typing import Literal

from core.errors import UserError

Section = Literal[
    "maps",
    "attention",
    "denoising",
    "activations",
    "skips",
    "gradients",
    "levels",
    "interpolation",
]
SECTIONS: tuple[Section, ...] = (
    *("denoising", "levels", "maps", "attention", "activations"),
    *("skips", "gradients", "interpolation"),
)
"""All sections, in the report's order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisualizeConfig:
    """All that the report depends on, besides the network and the pictures themselves."""

    run: Path
    """A run, or the folder of any diffusers `UNet2DModel` (config.json and safetensors; the
    scheduler is found in the pipeline folder around it)."""
    data: Path | None = None
    """Pinned dataset whose held-out pictures are looked at; default: what the run was trained on;
    for a model from elsewhere, pictures that it draws itself."""
    sections: tuple[Section, ...] = SECTIONS
    """Parts of the report."""
    pictures: tuple[str, ...] = ()
    """Two pictures to go between, by their file names in the dataset's items.jsonl; default: a
    held-out one of each of the first two classes."""
    sigma: float = 0.5
    """Noise level at which feature maps and attention are shown (pictures have values from -1
    to 1)."""
    batch: int = 16
    """Held-out pictures that figures are means over."""
    steps: int = 24
    """Steps of the denoising strips."""
    inversion_steps: int = 60
    """Noise levels on the way from a picture to its noise and back."""
    seed: int = 0
    """Decides all noise."""

    def __post_init__(self) -> None:
        if not self.sections:
            raise UserError(f"--sections names none; known are {', '.join(SECTIONS)}")
        if unknown := sorted(set(self.sections) - set(SECTIONS)):
            raise UserError(f"--sections has {unknown[0]!r}; known are {', '.join(SECTIONS)}")
        if len(self.pictures) not in (0, 2) or len(set(self.pictures)) != len(self.pictures):
            raise UserError(
                f"--pictures names {len(self.pictures)}; give two different ones, or none"
            )
        if not self.sigma > 0:
            raise UserError(f"--sigma is {self.sigma}; it must be above 0")
        for name, least in (("batch", 2), ("steps", 4), ("inversion_steps", 8), ("seed", 0)):
            if getattr(self, name) < least:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag} is {getattr(self, name)}; it must be {least} or more")
