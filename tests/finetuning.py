"""Small pictures with captions, and LoRA trainings of seconds, for the tests of fine-tuning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.pretrained.lora.config import LoraConfig

COLOURS = {"cat": (200, 60, 40), "fish": (40, 80, 200)}
SIZES = ((32, 32), (48, 24), (24, 40))


def tiny_pictures(folder: Path, *, per_class: int = 8, captions: bool = False) -> Path:
    """Blobs of one colour a class, in three shapes; the first of each with a caption of its own."""
    generator = np.random.default_rng(0)
    rows = []
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            width, height = SIZES[number % 3]
            noise = generator.normal(0, 20, (height, width, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
            row: dict[str, Any] = {"file_name": f"{label}/{number}.png", "label": label}
            if number == 0:
                row["text"] = f"a very small {label}"
            rows.append({**row, "licence": "CC0-1.0"})
    if captions:
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def small(pipeline: Path, data: Path, **changes: Any) -> LoraConfig:
    """A training of a few steps that adapts nearly everything."""
    values: dict[str, Any] = {
        "resolution_px": 32,
        "bucket_step_px": 8,
        "rank": 4,
        "alpha": 4.0,
        "targets": ("attention", "feed-forward", "projections", "convolutions"),
        "steps": 6,
        "learning_rate": 5e-3,
        "warmup_steps": 2,
        "log_every": 2,
        "checkpoint_every": 2,
        "validate_every": 0,
        "validation_steps": 2,
    }
    return LoraConfig(pipeline=str(pipeline), data=str(data), **{**values, **changes})
