"""How well a network enlarges held-out pictures, beside plain interpolation."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

from core.images import Picture
from exporters.training.config import SCALE
from exporters.training.patches import shrink
from exporters.training.restoration import psnr_db, ssim


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measures:
    """Means over held-out pictures, of all channels, colour premultiplied."""

    psnr_db: float
    ssim: float
    bicubic_psnr_db: float
    """What bicubic interpolation reaches on the same pictures."""

    def row(self) -> dict[str, float]:
        """As figures of metrics.jsonl."""
        return {f"held_out_{name}": value for name, value in dataclasses.asdict(self).items()}


def measure_network(network: nn.Module, pictures: Sequence[Picture], shrinking: str) -> Measures:
    """Enlarge unspoilt small versions of the pictures (premultiplied, H×W×C) and compare."""
    rows = []
    for picture in pictures:
        small = shrink(picture, shrinking=shrinking)
        height, width = small.shape[:2]
        large = picture[: height * SCALE, : width * SCALE]
        guess = enlarge_plainly(network, small)
        plain = _bicubic(small)
        rows.append((psnr_db(guess, large), ssim(guess, large), psnr_db(plain, large)))
    psnr, similarity, bicubic = np.mean(rows, axis=0).tolist()
    return Measures(psnr_db=psnr, ssim=similarity, bicubic_psnr_db=bicubic)


def enlarge_plainly(network: nn.Module, small_hwc: Picture) -> Picture:
    """One picture through the network, in fp32 and in one piece."""
    weight = next(network.parameters())
    batch = torch.from_numpy(small_hwc.transpose(2, 0, 1).astype(np.float32))[None] / 255
    with torch.inference_mode():
        output = network(batch.to(weight.device))[0].cpu().numpy().transpose(1, 2, 0)
    large: Picture = np.rint(output * 255).clip(0, 255).astype(np.uint8)
    return large


def _bicubic(small_hwc: Picture) -> Picture:
    height, width = small_hwc.shape[:2]
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(small_hwc[..., channel])).resize(
            (width * SCALE, height * SCALE), Image.Resampling.BICUBIC
        ))
        for channel in range(small_hwc.shape[2])
    ]  # fmt: skip
    return np.stack(planes, axis=2)
