"""What a trained model says of itself, read without torch: its classes and what made it."""

import dataclasses
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_file, read_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model folder's description."""

    folder: Path
    """The diffusers pipeline."""
    label_names: tuple[str, ...]
    """Classes, in the order of the network's class indices."""
    facts: dict[str, Any]
    """Digest and licence of the dataset."""
    size_px: int
    """Side of the pictures."""
    channels: int

    @property
    def picture_bytes(self) -> int:
        """Bytes of one picture, uncompressed."""
        return self.size_px**2 * self.channels


def describe_model(run: Path) -> ModelInfo:
    """The model of a run (its folder or `model` in it); UserError if there is none."""
    folder = model_folder(run)
    index = read_json(folder / "model_index.json")
    unet = read_json(folder / "unet" / "config.json")
    try:
        return ModelInfo(
            folder=folder,
            label_names=tuple(index["labels"]),
            facts=dict(index["facts"]),
            size_px=int(unet["sample_size"]) * int(index["patch"]),
            channels=int(unet["in_channels"]) // int(index["patch"]) ** 2,
        )
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder} is not a class-conditional model made by Menagerie") from None


def model_folder(run: Path) -> Path:
    """Where the finished pipeline of a run lies; UserError if there is none."""
    for candidate in (run / "model", run):
        if (candidate / "model_index.json").exists():
            return candidate
    if (run / "config.json").exists():
        raise UserError(f"{run} has no finished model yet: run its train command again")
    raise UserError(f"{run} is not a run: train one with `menagerie train`")


def model_digest(run: Path) -> str:
    """SHA-256 of the weights of a run's model."""
    weights = model_folder(run) / "unet" / "diffusion_pytorch_model.safetensors"
    if not weights.exists():
        raise UserError(f"{run} has no model weights in safetensors")
    return digest_file(weights)
