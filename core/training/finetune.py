"""Starting from an earlier run's model instead of from nothing.

The network must have the same shape; the pictures may have another size, and other classes: a class
is the earlier one of its name, or begins as "any class". What the network reads and writes is
scaled as it was there, also where the new pictures are distributed otherwise: its weights mean
nothing in other units.
"""

from pathlib import Path
from typing import Any

import torch

from core.data.encode import open_encoder
from core.data.pinned import PinnedDataset
from core.diffusion.denoiser import UNet
from core.diffusion.modelinfo import model_folder
from core.diffusion.patches import PatchStatistics
from core.diffusion.pipeline import ClassConditionalPipeline, open_pipeline
from core.errors import UserError
from core.files import read_json
from core.training.config import TrainConfig

_CLASSES = "class_embedding.weight"
_TOKENS = "encoder_hid_proj.weight"


def inherit(unet: UNet, config: TrainConfig, dataset: PinnedDataset) -> None:
    """Give the network the weights of --init-from; UserError when they do not fit."""
    assert config.init_from
    pipeline = open_pipeline(config.init_from)
    _require_same_network(config.init_from, pipeline, unet, config, dataset)
    if not _same_weights(pipeline.vae, open_encoder(dataset)):
        raise UserError(
            f"--init-from {config.init_from}: its model makes another autoencoder's latents than "
            f"{dataset.folder} holds: prepare with --encode {model_folder(config.init_from)}/vae"
        )
    found, wanted = pipeline.unet.state_dict(), unet.state_dict()
    found[_CLASSES] = _class_rows(found[_CLASSES], pipeline.label_names, dataset.label_names)
    if _TOKENS in found:
        found[_TOKENS] = _class_columns(found[_TOKENS], pipeline.label_names, dataset.label_names)
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


def _class_columns(
    columns: torch.Tensor, names: tuple[str, ...], wanted: tuple[str, ...]
) -> torch.Tensor:
    """The same for the classes' tokens, D×4·classes."""
    by_class = columns.view(len(columns), len(names) + 1, -1).transpose(0, 1)
    return _class_rows(by_class, names, wanted).transpose(0, 1).flatten(1)


def _require_same_network(
    parent: Path,
    pipeline: ClassConditionalPipeline,
    here: UNet,
    config: TrainConfig,
    dataset: PinnedDataset,
) -> None:
    index, there = pipeline.config, pipeline.unet
    pairs = {
        "space": (_space(pipeline.vae is not None), _space(dataset.latents is not None)),
        "whiten": (_whitens(inherited_statistics(parent)), config.whiten),
        "patch": (index.patch, config.patch),
        "prediction": (index.prediction, config.prediction),
        "block_channels": (tuple(there.config.block_out_channels), config.block_channels),
        "layers_per_block": (there.config.layers_per_block, config.layers_per_block),
        "attention_levels": (_attention_levels(there), _attention_levels(here)),
        "attention": (_attention(there), _attention(here)),
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


def _space(of_latents: bool) -> str:
    return "latents" if of_latents else "pictures"


def _whitens(statistics: PatchStatistics) -> bool:
    """Whether they were measured, not left at 0 and 1."""
    return any(statistics.mean) or any(scale != 1 for scale in statistics.scale)


def _same_weights(there: Any | None, here: Any | None) -> bool:
    if there is None or here is None:
        return there is here
    left, right = there.state_dict(), here.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def _attention(unet: UNet) -> str:
    if unet.config.get("encoder_hid_dim"):
        return "cross"
    return "self" if unet.config.add_attention else "none"


def _attention_levels(unet: UNet) -> tuple[int, ...]:
    kinds = unet.config.down_block_types
    return tuple(level for level, kind in enumerate(kinds) if "Attn" in kind)
