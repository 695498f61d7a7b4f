"""Norms of gradients by layer: for looks into networks, and cheap enough for their training."""

from collections.abc import Iterable

import torch
from torch import Tensor

from core.inspection.naming import layer_of

LOGGED = "gradient_norm/"
"""Rows of metrics carry norms under this and the layer's path."""


def norms_by_layer(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Norms of tensors put together by the layer that their names belong to, on their device."""
    groups: dict[str, list[Tensor]] = {}
    for name, tensor in named:
        groups.setdefault(layer_of(name), []).append(tensor)
    return {layer: torch.nn.utils.get_total_norm(group) for layer, group in groups.items()}
