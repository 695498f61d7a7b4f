"""Small real autoencoders for tests."""

from pathlib import Path
from typing import Any

import diffusers
import torch


def save_autoencoder(folder: Path, **changes: Any) -> Path:
    """An untrained AutoencoderKL that halves the side, with 4 latent channels."""
    torch.manual_seed(0)
    settings = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "latent_channels": 4,
        "norm_num_groups": 4,
        **changes,
    }
    diffusers.AutoencoderKL(**settings).save_pretrained(folder)
    return folder
