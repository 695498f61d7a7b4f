"""What a trained model says of itself, read without torch: its classes and what made it."""

import dataclasses
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_file, digest_of, read_json
from core.rundir import RunFolder


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
    has_guide: bool = False
    levels: int = 1000
    """Noise levels that ddpm and ddim can walk along."""
    """Whether an early snapshot lies beside the network, to be guided by."""
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The model's own defaults of sampling (`core.diffusion.defaults`)."""

    @property
    def picture_bytes(self) -> int:
        """Bytes of one picture, uncompressed."""
        return self.size_px**2 * self.channels

    @property
    def has_averages(self) -> bool:
        """Whether there are snapshots; not beside a model that was moved away from its run."""
        return any(self.averages.glob("step_*.safetensors"))

    @property
    def averages(self) -> Path:
        """Where the snapshots of the run lie from which other averages are made."""
        return RunFolder(self.folder.parent).averages


def describe_model(run: Path) -> ModelInfo:
    """The model of a run (its folder or `model` in it); UserError if there is none."""
    folder = model_folder(run)
    index = read_json(folder / "model_index.json")
    unet = read_json(folder / "unet" / "config.json")
    try:
        size_px = int(unet["sample_size"]) * int(index["patch"])
        channels = int(unet["out_channels"]) // int(index["patch"]) ** 2
        if _has(index, "vae"):
            size_px, channels = _decoded(size_px, read_json(folder / "vae" / "config.json"))
        discrete = index.get("noise_schedule") in ("linear", "cosine")
        return ModelInfo(
            folder=folder,
            label_names=tuple(index["labels"]),
            facts=dict(index["facts"]),
            size_px=size_px,
            channels=channels,
            has_guide=_has(index, "guide"),
            levels=int(index["timesteps"]) if discrete else 1000,
            defaults=dict(index.get("defaults", {})),
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
    return _weights_digest(run, "unet")


def helpers_digests(run: Path, *, guide: bool, averages: bool) -> dict[str, str]:
    """SHA-256 of the other weights that pictures depend on: `vae`, `guide`, `averages`.

    guide, averages: whether they are used. UserError when they are and are missing.
    """
    model = describe_model(run)
    wanted = {"vae": (model.folder / "vae").is_dir(), "guide": guide}
    digests = {name: _weights_digest(run, name) for name, used in wanted.items() if used}
    if averages:
        paths = sorted(model.averages.glob("step_*.safetensors"))
        if not paths:
            raise UserError(
                f"{model.averages} holds no snapshots of averaged weights to make another average "
                "of: give --ema-width 0, which takes the model as it was saved"
            )
        digests["averages"] = digest_of([digest_file(path) for path in paths])
    return digests


def _weights_digest(run: Path, component: str) -> str:
    weights = model_folder(run) / component / "diffusion_pytorch_model.safetensors"
    if not weights.exists():
        what = "model weights" if component == "unet" else f"weights of its {component}"
        raise UserError(f"{run} has no {what} in safetensors")
    return digest_file(weights)


def _has(index: dict[str, Any], component: str) -> bool:
    """Whether diffusers' index names the component: [library, class], or nulls."""
    return bool(index.get(component, [None])[0])


def _decoded(size: int, vae: dict[str, Any]) -> tuple[int, int]:
    """Side and channels of the pictures that diffusers' autoencoder makes of latents."""
    levels = vae.get("block_out_channels") or vae["decoder_block_out_channels"]
    channels = vae.get("out_channels") or vae["in_channels"]
    return size * 2 ** (len(levels) - 1), int(channels)
