"""What the training of an upscaler depends on, and its two presets. Free of torch."""

import dataclasses
from pathlib import Path
from typing import Literal

from core.errors import UserError

SCALE = 4
"""Pixels of the output for each of the input, in width and in height."""

Kind = Literal["drawings", "photographs"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UpscalerConfig:
    """How a ×4 upscaler is trained."""

    data: tuple[Path, ...] = ()
    """Folders of pictures, or pinned datasets; none: the starter animals, drawn at three sizes."""
    init_from: Path | None = None
    """Weights to begin with, of the same network (.safetensors or .pth); unset: random ones."""
    per_class: int = 100
    """Animals drawn per class (starter animals only)."""
    held_out: int = 16
    """Pictures kept aside to measure on, drawn from all of them by the seed."""
    shrink_first: float = 1.0
    """Divide the sides of each picture by this before training on it: hides its own blur, noise and
    JPEG blocks. It then becomes both the small and the large picture of a pair."""
    channels: Literal[3, 4] = 4
    """4: premultiplied colour and alpha; 3: opaque pictures, on white where they are not."""
    features: int = 48
    """Channels inside the network."""
    convolutions: int = 10
    """Convolutions between its first and its last."""
    steps: int = 4000
    """Optimiser steps."""
    batch_size: int = 16
    """Pairs of patches in a step."""
    patch_px: int = 32
    """Side of a small patch, in pixels; the large one has four times that."""
    learning_rate: float = 1e-3
    """Adam's rate after the first 100 steps; it then falls along a cosine to a hundredth."""
    average: float = 0.999
    """Decay of the averaged weights, which are what comes out."""
    loss: Literal["charbonnier", "l1", "l2"] = "charbonnier"
    """Charbonnier is a smooth L1; L2 is what PSNR counts."""
    shrinking: Literal["area", "bicubic"] = "area"
    """How small pictures are made: `area` averages, half of them in light and half in coded values;
    `bicubic` is what benchmarks of photographs use."""
    spoilt: float = 0.6
    """Share (0…1) of small patches that are spoilt as diffusion samples are: noise, mottling, blur,
    each by a random part of what follows."""
    noise_levels: float = 6.0
    """Most noise, as a standard deviation in grey levels."""
    mottle_levels: float = 6.0
    """Most mottling (slow drift of hue), as a standard deviation in grey levels."""
    blur: float = 0.12
    """Most blur: the share that each neighbouring pixel gives (0…0.25)."""
    recolour: bool = True
    """Exchange red, green and blue at random, so that no palette is learnt by heart."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Arithmetic of the convolutions; weights stay fp32."""
    threads: int = 2
    """Threads on the CPU; sums, and so the last bits, depend on it."""
    seed: int = 0
    """Decides patches, spoiling and the first weights."""
    log_every: int = 100
    """Steps between two rows of metrics.jsonl."""
    checkpoint_every: int = 500
    """Steps between two checkpoints, each measured on the held-out pictures."""

    def __post_init__(self) -> None:
        for name, low, high in _LIMITS:
            value = getattr(self, name)
            if not low <= value <= high:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag} is {value:g}: from {low:g} to {high:g}")
        if self.channels not in (3, 4):
            raise UserError(f"--channels is {self.channels}: 3 (RGB) or 4 (RGBA)")


_LIMITS = (
    ("per_class", 1, 100_000),
    ("held_out", 1, 1000),
    ("shrink_first", 1, 16),
    ("features", 4, 256),
    ("convolutions", 1, 64),
    ("steps", 1, 10**8),
    ("batch_size", 1, 1024),
    ("patch_px", 8, 256),
    ("learning_rate", 1e-7, 0.1),
    ("average", 0, 0.99999),
    ("spoilt", 0, 1),
    ("noise_levels", 0, 64),
    ("mottle_levels", 0, 64),
    ("blur", 0, 0.25),
    ("threads", 1, 256),
    ("seed", 0, 2**62),
    ("log_every", 1, 10**6),
    ("checkpoint_every", 1, 10**6),
)


def preset(kind: Kind) -> UpscalerConfig:
    """`drawings`: RGBA, spoilt as samples are; `photographs`: RGB, shrunk as benchmarks do."""
    if kind == "photographs":
        return UpscalerConfig(
            channels=3, shrinking="bicubic", spoilt=0.0, recolour=False, patch_px=24, steps=2500
        )
    return UpscalerConfig()
