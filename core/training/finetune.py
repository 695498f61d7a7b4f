"""Starting from an earlier run's model instead of from nothing.

The network must have the same shape; the pictures may have another size, and other classes: a class
is the earlier one of its name, or begins as "any class". What the network reads and writes is
scaled as it was there, also where the new pictures are distributed otherwise: its weights mean
nothing in other units.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel

from core.data.pinned import PinnedDataset
from core.diffusion.modelinfo import model_folder
from core.diffusion.patches import PatchStatistics
from core.diffusion.pipeline import open_pipeline
from core.errors import UserError
from core.files import read_json
from core.training.config import TrainConfig

_CLASSES = "class_embedding.weight"


def inherit(unet: UNet2DModel, config: TrainConfig, dataset: PinnedDataset) -> None:
    """Give the network the weights of --init-from; UserError when they do not fit."""
    assert config.init_from
    pipeline = open_pipeline(config.init_from)
    _require_same_network(config.init_from, pipeline.config, pipeline.unet, unet, config)
    found, wanted = pipeline.unet.state_dict(), unet.state_dict()
    found[_CLASSES] = _class_rows(found[_CLASSES], pipeline.label_names, dataset.label_names)
    for name, tensor in wanted.items():
        # What the earlier network does not have (being told of changes) begins as it is.
        if name in found:
            tensor.copy_(found[name])


def inherited_statistics(parent: Path) -> PatchStatistics:
    """The units in which the model of a run reads and writes."""
    index = read_json(model_folder(parent) / "model_index.json")
    return PatchStatistics(
        patch=int(index["patch"]),
        mean=tuple(index["frequency_mean"]),
        scale=tuple(index["frequency_scale"]),
    )


def _class_rows(
    rows: torch.Tensor, names: tuple[str, ...], wanted: tuple[str, ...]
) -> torch.Tensor:
    """An embedding of other classes, from one whose last row is "any class"."""
    any_class = len(rows) - 1
    places = [names.index(name) if name in names else any_class for name in wanted]
    return rows[[*places, any_class]]


def _require_same_network(
    parent: Path, index: Any, there: UNet2DModel, here: UNet2DModel, config: TrainConfig
) -> None:
    pairs = {
        "patch": (index.patch, config.patch),
        "prediction": (index.prediction, config.prediction),
        "block_channels": (tuple(there.config.block_out_channels), config.block_channels),
        "layers_per_block": (there.config.layers_per_block, config.layers_per_block),
        "attention_levels": (_attention_levels(there), _attention_levels(here)),
        "channels of the pictures": (
            there.config.in_channels // index.patch**2,
            here.config.in_channels // config.patch**2,
        ),
    }
    differing = [f"{name} {a} (here {b})" for name, (a, b) in pairs.items() if a != b]
    if differing:
        raise UserError(
            f"--init-from {parent}: its model has another network: {', '.join(differing)}: give "
            "the same"
        )


def _attention_levels(unet: UNet2DModel) -> tuple[int, ...]:
    kinds = unet.config.down_block_types
    return tuple(level for level, kind in enumerate(kinds) if "Attn" in kind)
