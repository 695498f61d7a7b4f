"""Tiny real things that several tests build on: a dataset of starter animals and a quick config."""

from pathlib import Path

from core.data.pinned import SPLITS, PinnedDataset, PinnedItem, open_pinned, write_pinned
from core.data.starter import draw_animal
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
