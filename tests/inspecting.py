"""Small networks to look into: ours in every kind, somebody else's, and planted ones."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from core.diffusion.denoiser import Denoiser, build_unet
from core.diffusion.kinds import Attention, Prediction
from core.diffusion.objective import Weighting
from core.diffusion.patches import measure_patches
from core.inspection.specimens import Specimens
from core.inspection.subject import Subject
from tests.tiny import smooth_pictures


def small_subject(prediction: Prediction = "clean", attention: Attention = "self") -> Subject:
    """An untrained network of two levels for three classes of smooth pictures, 4×16×16."""
    torch.manual_seed(0)
    unet = build_unet(
        size_px=16,
        channels=4,
        labels=3,
        patch=2,
        block_channels=(32, 32),
        layers_per_block=1,
        attention_levels=(1,),
        dropout=0.0,
        attention=attention,
    )
    unet.eval().requires_grad_(False)
    denoiser = Denoiser(unet, measure_patches(smooth_pictures(), 2), prediction).eval()
    return Subject(
        name="small",
        unet=unet,
        guess=denoiser,
        shape_chw=(4, 16, 16),
        label_names=("cat", "dog", "fish"),
        no_label=3,
        sigma_min=0.01,
        sigma_max=20.0,
        weighting=Weighting(sigma_data=0.5),
        decode=lambda x: x,
        facts={"kind": "a test"},
    )


def smooth_specimens() -> Specimens:
    """Six smooth pictures, of all classes."""
    clean = smooth_pictures(6)
    labels = torch.arange(6) % 3
    return Specimens(
        clean=clean,
        labels=labels,
        pair=clean[:2],
        pair_labels=labels[:2],
        pair_names=("one", "two"),
        words="6 smooth pictures",
    )


def foreign_folder(folder: Path, *, prediction: str = "epsilon", **changes: Any) -> Path:
    """A pipeline's folder with somebody else's UNet2DModel and DDPM scheduler; grey, 16 px."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "sample_size": 16,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 8,
    }
    UNet2DModel(**{**settings, **changes}).save_pretrained(folder / "unet")
    DDPMScheduler(100, prediction_type=prediction).save_pretrained(folder / "scheduler")
    return folder


def noisy(specimens: Specimens, sigma: float) -> Tensor:
    """The first picture under noise, 1×C×H×W."""
    return specimens.clean[:1] + sigma * specimens.noise(0)[:1]
