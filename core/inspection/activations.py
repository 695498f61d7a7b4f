"""What layers put out: maps of their most active channels, and their statistics by noise level."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.inspection.recording import Layer, as_maps, layers_of, recorded
from core.inspection.specimens import Specimens
from core.inspection.subject import Subject

_DEAD = 1e-4
"""A channel that varies by less than this share of the layer's whole output is dead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureMaps:
    """A layer's output for one picture."""

    layer: Layer
    shape_chw: tuple[int, int, int]
    maps: NDArray[np.float64]
    """Of the most active channels, the most active first: K×H×W."""
    channels: tuple[int, ...]
    """Which those are."""
    active_share: float
    """How many channels it would take, as a share, to vary as much if all varied alike: 1 when all
    do, near 0 when a few vary and the rest rest (the inverse participation ratio)."""


@torch.no_grad()
def feature_maps(
    subject: Subject, x: Tensor, sigma: float, label: Tensor, *, most: int = 10
) -> list[FeatureMaps]:
    """Every layer's output for one noisy picture, 1×C×H×W; a channel is as active as it varies
    over the picture.
    """
    layers = layers_of(subject)
    with recorded({layer.path: layer.module for layer in layers}) as found:
        subject.guess(x, torch.full((1,), sigma, device=x.device), label)
    return [_most_active(layer, as_maps(found[layer.path])[0], most) for layer in layers]


def _most_active(layer: Layer, output_chw: Tensor, most: int) -> FeatureMaps:
    spread = output_chw.double().std((1, 2), correction=0)
    order = spread.argsort(descending=True, stable=True)[:most]
    power = spread.square()
    total = float(power.square().sum())
    share = float(power.sum() ** 2) / total / len(power) if total else 0.0
    return FeatureMaps(
        layer=layer,
        shape_chw=(output_chw.shape[0], output_chw.shape[1], output_chw.shape[2]),
        maps=output_chw[order].double().cpu().numpy(),
        channels=tuple(order.tolist()),
        active_share=share,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Activations:
    """Statistics of what each layer adds, layers × noise levels."""

    layers: tuple[Layer, ...]
    sigmas: tuple[float, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    dead: NDArray[np.float64]
    """Share of channels that are the same everywhere, in all pictures."""

    def dead_layers(self) -> list[str]:
        """Names of layers that add nothing that varies, at no level."""
        return [
            layer.name for layer, row in zip(self.layers, self.dead, strict=True) if row.min() == 1
        ]


@torch.no_grad()
def activations(subject: Subject, specimens: Specimens, sigmas: Sequence[float], *,
                seed: int = 0) -> Activations:  # fmt: skip
    """Mean, spread and dead channels by layer and level, over all pictures and places.

    Of residual and attention layers it is what they add to the stream (`Layer.writes`).
    """
    layers = layers_of(subject)
    noise = specimens.noise(seed)
    figures = np.zeros((3, len(layers), len(sigmas)))
    modules = {f"{layer.path}+": layer.writes for layer in layers}
    whole = {layer.path: layer.module for layer in layers}
    for column, sigma in enumerate(sigmas):
        with recorded({**modules, **whole}) as found:
            level = torch.full((len(noise),), sigma, device=noise.device)
            subject.guess(specimens.clean + sigma * noise, level, specimens.labels)
        for row, layer in enumerate(layers):
            figures[:, row, column] = _figures(found[f"{layer.path}+"], found[layer.path])
    return Activations(
        layers=tuple(layers),
        sigmas=tuple(sigmas),
        mean=figures[0],
        std=figures[1],
        dead=figures[2],
    )


def _figures(added: Tensor, whole: Tensor) -> tuple[float, float, float]:
    maps = as_maps(added).double()
    reference = float(whole.double().std())
    spread = maps.std((0, 2, 3), correction=0)
    dead = float((spread <= _DEAD * reference).double().mean())
    return float(maps.mean()), float(maps.std()), dead
