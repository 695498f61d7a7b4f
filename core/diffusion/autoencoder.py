"""Pictures to latents and back, by diffusers' autoencoders, in the space that their configs state.

That space has roughly unit variance: Rombach et al., "High-Resolution Image Synthesis with Latent
Diffusion Models" (2022), section 4.3.2 and appendix D.1.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

import diffusers
import huggingface_hub
import torch
from torch import Tensor

from core.errors import UserError

CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC")
_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
Autoencoder = Any
"""One of CLASSES; diffusers has no types."""


def open_autoencoder(name: str) -> Autoencoder:
    """An autoencoder for use, in fp32: of a folder, or OWNER/NAME or OWNER/NAME/FOLDER of the hub.

    Raises UserError when it cannot be opened or is of another class.
    """
    hub = re.fullmatch(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:/([\w./-]+))?", name)
    if not Path(name).is_dir() and not hub:
        raise UserError(
            f"there is no autoencoder {name!r}: give a folder, or OWNER/NAME of the hub"
        )
    try:
        folder = Path(name) if Path(name).is_dir() or not hub else _fetched(hub[1], hub[2] or "")
        kind = diffusers.AutoencoderKL.load_config(folder, local_files_only=True)["_class_name"]
        if kind not in CLASSES:
            raise UserError(f"{name} is of class {kind!r}; known are {', '.join(CLASSES)}")
        opened = getattr(diffusers, kind).from_pretrained(
            folder, use_safetensors=True, torch_dtype=torch.float32, local_files_only=True
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        origin = "" if Path(name).is_dir() else " from the Hugging Face hub"
        raise UserError(f"the autoencoder {name} cannot be opened{origin}: {reason}") from None
    return opened.eval().requires_grad_(False)


def _fetched(repository: str, folder: str) -> Path:
    """A local copy of what is needed of a repository of the hub."""
    files = [str(PurePosixPath(folder) / name) for name in _FILES]
    return Path(huggingface_hub.snapshot_download(repository, allow_patterns=files)) / folder


def compression(autoencoder: Autoencoder) -> int:
    """Pixels per latent, along a side."""
    config = autoencoder.config
    levels = config.get("encoder_block_out_channels") or config.block_out_channels
    return int(2 ** (len(levels) - 1))


@torch.no_grad()
def to_latents(autoencoder: Autoencoder, pictures_nchw: Tensor) -> Tensor:
    """Latents, N×C×h×w, of pictures in [-1, 1]; always the same ones: the posterior's mode."""
    encoded = autoencoder.encode(pictures_nchw)
    if hasattr(encoded, "latent_dist"):
        latents = encoded.latent_dist.mode()
    else:
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent
    shift, scale = _shift_and_scale(autoencoder, latents)
    scaled: Tensor = (latents - shift) * scale
    return scaled


@torch.no_grad()
def from_latents(autoencoder: Autoencoder, latents_nchw: Tensor) -> Tensor:
    """Pictures in about [-1, 1], N×C×H×W, from what `to_latents` gave or a network made."""
    shift, scale = _shift_and_scale(autoencoder, latents_nchw)
    pictures: Tensor = autoencoder.decode(latents_nchw / scale + shift).sample
    return pictures


def _shift_and_scale(autoencoder: Autoencoder, like: Tensor) -> tuple[Tensor, Tensor]:
    """What the config says, per channel or for all, to be broadcast over N×C×h×w."""
    config = autoencoder.config
    scale = like.new_tensor(config.scaling_factor)
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is not None and std is not None:
        per_channel = (1, -1, 1, 1)
        return like.new_tensor(mean).view(per_channel), scale / like.new_tensor(std).view(
            per_channel
        )
    return like.new_tensor(config.get("shift_factor") or 0.0), scale
