"""The network and its preconditioning: from a noisy picture to the model's guess of the clean one.

Pictures are `batch_nchw`, float32 in [-1, 1], colour premultiplied by alpha.
"""

from typing import Literal

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from core.diffusion.patches import PatchStatistics, PatchTransform

Prediction = Literal["edm", "clean"]

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
    """Preconditioning around a U-Net that reads and writes whitened block frequencies.

    `edm` follows Karras et al. 2022, table 1, with each frequency's own sigma_data; `clean` has the
    network write the clean picture itself, which a narrow network learns sooner, because it need
    not carry the noise through.
    """

    def __init__(
        self, unet: UNet2DModel, statistics: PatchStatistics, prediction: Prediction
    ) -> None:
        super().__init__()
        self.unet = unet
        self.patches = PatchTransform(statistics)
        self.prediction = prediction
        self.bf16 = False
        """Run the U-Net (and nothing else) in bfloat16."""

    @property
    def no_label(self) -> int:
        """The class index that means "any class"."""
        return int(self.unet.config.num_class_embeds) - 1

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Clean pictures from noisy ones: x N×C×H×W, sigma N (noise std), labels N; N×C×H×W."""
        wide, scale = sigma[:, None, None, None], self.patches.scale
        y = self.patches.to_frequencies(x)
        deviation = (wide**2 + scale**2).sqrt()
        inner = (y / deviation).contiguous(memory_format=torch.channels_last)
        time = sigma.log() * _TIME_SCALE
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            raw: Tensor = self.unet(inner, time, class_labels=labels).sample
        guess = scale * raw.float()
        if self.prediction == "edm":
            guess = y * (scale / deviation) ** 2 + guess * (wide / deviation)
        return self.patches.to_pixels(guess)
