"""Pictures as whitened frequencies of small blocks: what the U-Net reads and writes.

A block of patch×patch pixels becomes as many channels by an orthonormal cosine transform, so that a
64 px picture costs what a 16 px one does. Unlike raw pixels, the channels differ greatly in spread:
a sticker's fine detail is far rarer than its colour. Scaling each by its own spread in the data
keeps the network's errors in fine detail, which one sees as noise, as small as that detail.
"""

import dataclasses
import math

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

_LEAST_SCALE = 0.01
"""Channels that hardly vary (alpha of opaque pictures) are not blown up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchStatistics:
    """Mean and spread of each block frequency in the data, colour channel by colour channel."""

    patch: int
    """Side of the blocks, in pixels; 1 = none."""
    mean: tuple[float, ...]
    """channels·patch² values."""
    scale: tuple[float, ...]
    """Standard deviations, channels·patch² values."""


class PatchTransform(nn.Module):
    """Pictures to whitened block frequencies and back, in fp32."""

    def __init__(self, statistics: PatchStatistics) -> None:
        super().__init__()
        self.patch = statistics.patch
        shape = (1, -1, 1, 1)
        self.register_buffer("mean", torch.tensor(statistics.mean).view(shape), persistent=False)
        self.register_buffer("scale", torch.tensor(statistics.scale).view(shape), persistent=False)
        self.register_buffer("basis", _cosine_basis(statistics.patch), persistent=False)
        self.mean: Tensor
        self.scale: Tensor
        self.basis: Tensor

    def to_frequencies(self, x: Tensor) -> Tensor:
        """N×C×H×W to N×(C·p²)×(H/p)×(W/p), the mean taken off, not yet divided by the scale."""
        return _block_frequencies(x, self.basis) - self.mean

    def to_pixels(self, y: Tensor) -> Tensor:
        """The inverse of `to_frequencies`."""
        channels = y.shape[1] // self.patch**2
        return functional.conv_transpose2d(
            y + self.mean, self.basis.repeat(channels, 1, 1, 1), stride=self.patch, groups=channels
        )


def measure_patches(pictures: Tensor, patch: int, *, whiten: bool = True) -> PatchStatistics:
    """Statistics of pictures, N×C×H×W in [-1, 1]; mean 0 and scale 1 for all without `whiten`."""
    frequencies = _block_frequencies(pictures, _cosine_basis(patch)).double()
    if not whiten:
        count = frequencies.shape[1]
        return PatchStatistics(patch=patch, mean=(0.0,) * count, scale=(1.0,) * count)
    scale = frequencies.std((0, 2, 3)).clamp(min=_LEAST_SCALE)
    return PatchStatistics(
        patch=patch,
        mean=tuple(round(value, 6) for value in frequencies.mean((0, 2, 3)).tolist()),
        scale=tuple(round(value, 6) for value in scale.tolist()),
    )


def _block_frequencies(x: Tensor, basis: Tensor) -> Tensor:
    channels, patch = x.shape[1], basis.shape[-1]
    return functional.conv2d(x, basis.repeat(channels, 1, 1, 1), stride=patch, groups=channels)


def _cosine_basis(patch: int) -> Tensor:
    """Orthonormal DCT-II of patch×patch blocks, p²×1×p×p."""
    k = torch.arange(patch, dtype=torch.float64)[:, None]
    i = torch.arange(patch, dtype=torch.float64)[None]
    rows = torch.cos(math.pi * (i + 0.5) * k / patch) * math.sqrt(2 / patch)
    rows[0] /= math.sqrt(2)
    return torch.kron(rows, rows).view(patch**2, 1, patch, patch).float()
