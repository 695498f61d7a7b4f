"""The network and its preconditioning: from a noisy picture to the model's guess of the clean one.

Pictures are `batch_nchw`, float32 in [-1, 1], colour premultiplied by alpha. The U-Net sees them
pixel-unshuffled by `patch`, so that a 64 px picture can cost what a 16 px one does.
"""

import torch
import torch.nn.functional as functional
from diffusers import UNet2DModel
from torch import Tensor, nn

_TIME_SCALE = 250.0
"""The U-Net's sinusoidal embedding is made for times up to about 1000; ln(sigma) is below 5."""


def build_unet(
    *,
    size_px: int,
    channels: int,
    labels: int,
    patch: int,
    block_channels: tuple[int, ...],
    layers_per_block: int,
    attention_levels: tuple[int, ...],
    dropout: float,
) -> UNet2DModel:
    """A class-conditional `UNet2DModel`; embedding row `labels` stands for "no class".

    Size size_px/patch, channels·patch² in and out; attention at the listed levels (0 = full size).
    """
    depth = len(block_channels)
    down = ["AttnDownBlock2D" if i in attention_levels else "DownBlock2D" for i in range(depth)]
    up = [name.replace("Down", "Up") for name in reversed(down)]
    return UNet2DModel(
        sample_size=size_px // patch,
        in_channels=channels * patch**2,
        out_channels=channels * patch**2,
        block_out_channels=block_channels,
        layers_per_block=layers_per_block,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        num_class_embeds=labels + 1,
        attention_head_dim=32,
        norm_num_groups=8,
        dropout=dropout,
    )


class Denoiser(nn.Module):
    """EDM preconditioning around a U-Net (Karras et al. 2022, table 1)."""

    def __init__(self, unet: UNet2DModel, *, patch: int, sigma_data: float) -> None:
        super().__init__()
        self.unet = unet
        self.patch = patch
        self.sigma_data = sigma_data

    @property
    def no_label(self) -> int:
        """The class index that means "any class"."""
        return int(self.unet.config.num_class_embeds) - 1

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Clean pictures from noisy ones: x N×C×H×W, sigma N (noise std), labels N; N×C×H×W."""
        variance = sigma**2 + self.sigma_data**2
        c_skip = self.sigma_data**2 / variance
        c_out = sigma * self.sigma_data / variance.sqrt()
        c_in = 1 / variance.sqrt()
        inner = functional.pixel_unshuffle(x * _wide(c_in), self.patch)
        inner = inner.contiguous(memory_format=torch.channels_last)
        time = sigma.log() * _TIME_SCALE
        raw: Tensor = self.unet(inner, time, class_labels=labels).sample
        raw = functional.pixel_shuffle(raw.float(), self.patch)
        return _wide(c_skip) * x + _wide(c_out) * raw


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
