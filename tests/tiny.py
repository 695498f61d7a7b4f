"""Tiny real things that several tests build on: a dataset of starter animals and a quick config."""

from pathlib import Path

import torch
import torch.nn.functional as functional

from core.data.pinned import SPLITS, PinnedDataset, PinnedItem, open_pinned, write_pinned
from core.data.starter import draw_animal
from core.diffusion.denoiser import Denoiser, build_unet
from core.diffusion.kinds import Prediction
from core.diffusion.patches import measure_patches
from core.images import premultiply
from core.training.config import TrainConfig

LABELS = ("cat", "fish")


def tiny_dataset(folder: Path, *, channels: int = 4, per_split: int = 4) -> PinnedDataset:
    """Cats and fish, 32 px; `per_split` of each in every split."""
    items, images = [], []
    for part, split in enumerate(SPLITS):
        for label in LABELS:
            for k in range(per_split):
                name = f"{label}/{split}_{k}"
                items.append(
                    PinnedItem(
                        file_name=name, sha256="", label=label, split=split, group=len(items)
                    )
                )
                images.append(premultiply(draw_animal(label, 100 * part + k, 32))[..., :channels])
    folder.mkdir(parents=True)
    write_pinned(
        folder,
        images=images,
        items=items,
        label_names=LABELS,
        transform={"size_px": 32, "channels": channels},
        source={"kind": "test"},
    )
    return open_pinned(folder)


def tiny_config(**changes: object) -> TrainConfig:
    """A network of 0.2 M parameters and a run of a second."""
    values: dict[str, object] = {
        "steps": 8,
        "batch_size": 4,
        "block_channels": (32, 64),
        "attention_levels": (1,),
        "patch": 4,
        "dropout": 0.1,
        "warmup_steps": 2,
        "log_every": 2,
        "evaluate_every": 4,
        "sample_every": 8,
        "checkpoint_every": 2,
        "precision": "fp32",
    }
    return TrainConfig(**{**values, **changes})  # type: ignore[arg-type]


def smooth_pictures(count: int = 8) -> torch.Tensor:
    """Four-channel pictures of 16 px whose block frequencies differ in spread, N×4×16×16."""
    rough = torch.randn(count, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(rough, (16, 16), mode="bicubic").clamp(-1, 1)


def tiny_denoiser(prediction: Prediction = "edm", *, whiten: bool = True) -> Denoiser:
    """An untrained network for three classes of smooth pictures."""
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
    )
    statistics = measure_patches(smooth_pictures(), 2, whiten=whiten)
    return Denoiser(unet, statistics, prediction).eval()
