"""The network and its preconditioning: from a noisy picture to the model's guess of the clean one.

Pictures are `batch_nchw`, float32 in [-1, 1], colour premultiplied by alpha.
"""

from typing import TypeAlias

import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from torch import Tensor, nn

from core.diffusion.kinds import Attention, Prediction
from core.diffusion.patches import PatchStatistics, PatchTransform

_TIME_SCALE = 250.0
"""The U-Net's sinusoidal embedding is made for times up to about 1000; ln(sigma) is below 5."""
_CLASS_TOKENS = 4
"""What a class is to cross-attention: over a single token it would be no choice at all."""
_TOKEN_DIM = 64
_HEAD_DIM = 32
UNet: TypeAlias = UNet2DModel | UNet2DConditionModel


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
    attention: Attention = "self",
) -> UNet:
    """A class-conditional U-Net of diffusers; embedding row `labels` stands for "no class".

    Size size_px/patch, channels·patch² in and out; attention at the listed levels (0 = full size)
    and in the middle. With `cross`, those layers also attend to learned tokens of the class.
    """
    depth = len(block_channels)
    if attention == "none":
        attention_levels = ()
    if attention == "cross":
        return _build_cross_unet(
            size_px=size_px,
            channels=channels,
            labels=labels,
            patch=patch,
            block_channels=block_channels,
            layers_per_block=layers_per_block,
            attention_levels=attention_levels,
            dropout=dropout,
        )
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
        attention_head_dim=_HEAD_DIM,
        norm_num_groups=8,
        dropout=dropout,
        add_attention=attention != "none",
    )


def _build_cross_unet(
    *,
    size_px: int,
    channels: int,
    labels: int,
    patch: int,
    block_channels: tuple[int, ...],
    layers_per_block: int,
    attention_levels: tuple[int, ...],
    dropout: float,
) -> UNet2DConditionModel:
    """The same levels, with transformer blocks: self-attention, then attention to the class.

    The class is added to the time too, as in `UNet2DModel`.
    """
    depth = len(block_channels)
    down = [
        "CrossAttnDownBlock2D" if level in attention_levels else "DownBlock2D"
        for level in range(depth)
    ]
    return UNet2DConditionModel(
        sample_size=size_px // patch,
        in_channels=channels * patch**2,
        out_channels=channels * patch**2,
        block_out_channels=block_channels,
        layers_per_block=layers_per_block,
        down_block_types=tuple(down),
        up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down)),
        num_class_embeds=labels + 1,
        cross_attention_dim=_TOKEN_DIM,
        encoder_hid_dim=(labels + 1) * _CLASS_TOKENS,
        encoder_hid_dim_type="text_proj",
        # diffusers calls the number of heads so in this class.
        attention_head_dim=tuple(width // _HEAD_DIM for width in block_channels),
        norm_num_groups=8,
        dropout=dropout,
    )


def class_tokens(unet: UNet, labels: Tensor) -> Tensor | None:
    """What cross-attention is given for class indices N: one-hot N×4×4·classes; None without it.

    The network's linear layer makes learned tokens of them: a table of four for each class.
    """
    width = unet.config.get("encoder_hid_dim")
    if width is None:
        return None
    places = labels[:, None] * _CLASS_TOKENS + torch.arange(_CLASS_TOKENS, device=labels.device)
    return nn.functional.one_hot(places, width).to(unet.dtype)


class Denoiser(nn.Module):
    """Preconditioning around a U-Net that reads and writes whitened block frequencies.

    With each frequency in units of its own spread, z = z₀ + ℓ·n, where z₀ and n have variance 1 and
    ℓ = sigma/spread. The U-Net always reads z/√(1 + ℓ²), of variance 1, and 250·ln(sigma) as the
    time. What it writes, F, decides how the guess D of z₀ is made of it:

    clean     F = z₀                       D = F
    noise     F = n                        D = z - ℓF                 (Ho et al. 2020, eq. 9)
    velocity  F = αn - βz₀                 D = αx - βF                (Salimans & Ho 2022, app. D)
              with α = 1/√(1 + ℓ²), β = αℓ and x = αz: the point on the circle
    flow      F = n - z₀                   D = (z - ℓF)/(1 + ℓ)       (Liu et al. 2022, eq. 1)
              since x = (1 - t)z₀ + tn and t = ℓ/(1 + ℓ) give z₀ = x - tF
    edm       c_skip·z + c_out·F           c_skip = 1/(1 + ℓ²), c_out = ℓ/√(1 + ℓ²)
                                           (Karras et al. 2022, table 1, with sigma_data = 1)

    So `edm` is `velocity` with the sign of F turned. A narrow network learns `clean` sooner: it
    need not carry the noise through. `noise` multiplies the network's errors by sigma.
    """

    def __init__(self, unet: UNet, statistics: PatchStatistics, prediction: Prediction) -> None:
        super().__init__()
        self.unet = unet
        self.patches = PatchTransform(statistics)
        self.prediction = prediction
        self.autocast_dtype: torch.dtype | None = None
        """Arithmetic of the U-Net (and of nothing else); None = that of its weights."""

    @property
    def no_label(self) -> int:
        """The class index that means "any class"."""
        return int(self.unet.config.num_class_embeds) - 1

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Clean pictures from noisy ones: x N×C×H×W, sigma N (noise std), labels N; N×C×H×W."""
        wide = sigma[:, None, None, None]
        y = self.patches.to_frequencies(x)
        deviation = (wide**2 + self.patches.scale**2).sqrt()
        inner = (y / deviation).contiguous(memory_format=torch.channels_last)
        time = sigma.log() * _TIME_SCALE
        dtype, tokens = self.autocast_dtype, class_tokens(self.unet, labels)
        told = {} if tokens is None else {"encoder_hidden_states": tokens}
        with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
            raw: Tensor = self.unet(inner, time, class_labels=labels, **told).sample
        return self.patches.to_pixels(self._guess(y, raw.float(), wide, deviation))

    def _guess(self, y: Tensor, raw: Tensor, wide: Tensor, deviation: Tensor) -> Tensor:
        """Guess of the clean frequencies from noisy ones y = spread·z and what the U-Net wrote."""
        scale = self.patches.scale
        if self.prediction == "clean":
            return scale * raw
        if self.prediction == "edm":
            return y * (scale / deviation) ** 2 + (scale * raw) * (wide / deviation)
        if self.prediction == "velocity":
            return torch.addcmul(
                y * (scale / deviation) ** 2, raw, scale * wide / deviation, value=-1
            )
        guess = torch.addcmul(y, raw, wide, value=-1)
        return guess if self.prediction == "noise" else guess * (scale / (scale + wide))
