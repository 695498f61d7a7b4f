"""Which layers training would still move: gradient norms by layer and noise level."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.diffusion.objective import denoising_loss
from core.inspection.naming import order_of, words_of
from core.inspection.norms import LOGGED, norms_by_layer
from core.inspection.specimens import Specimens
from core.inspection.subject import Subject


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientNorms:
    """Norms by layer, layers × noise levels."""

    layers: tuple[str, ...]
    """For people, in the order in which they compute."""
    sigmas: tuple[float, ...]
    norm: NDArray[np.float64]
    """Of the mean loss of the pictures."""
    relative: NDArray[np.float64]
    """The same by the norm of the layer's weights."""


def gradient_norms(
    subject: Subject, specimens: Specimens, sigmas: Sequence[float], *, seed: int = 0
) -> GradientNorms:
    """Norms on these pictures, each level by itself; the network stays as it was."""
    named = [(name, weight) for name, weight in subject.unet.named_parameters()]
    weights = norms_by_layer((name, weight.detach()) for name, weight in named)
    noise = specimens.noise(seed)
    columns = []
    for sigma in sigmas:
        gradients = _gradients(subject, specimens, sigma, noise, [w for _, w in named])
        found = norms_by_layer(zip((name for name, _ in named), gradients, strict=True))
        columns.append([float(norm) for norm in found.values()])
    layers = list(weights)
    order = sorted(range(len(layers)), key=lambda place: order_of(layers[place]))
    norm = np.array(columns).T[order]
    size = np.array([max(float(weights[layers[place]]), 1e-12) for place in order])
    return GradientNorms(
        layers=tuple(words_of(layers[place]) for place in order),
        sigmas=tuple(sigmas),
        norm=norm,
        relative=norm / size[:, None],
    )


def _gradients(
    subject: Subject, specimens: Specimens, sigma: float, noise: Tensor, weights: list[Tensor]
) -> list[Tensor]:
    """Gradients of the mean loss at one level; zeros where a weight has no part in it."""
    level = torch.full((len(noise),), sigma, device=noise.device)
    frozen = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        loss = denoising_loss(
            subject.guess, specimens.clean, level, noise, specimens.labels, subject.weighting
        ).mean()
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    finally:
        for weight, before in zip(weights, frozen, strict=True):
            weight.requires_grad_(before)
    return [
        torch.zeros_like(weight) if gradient is None else gradient
        for gradient, weight in zip(gradients, weights, strict=True)
    ]


def logged_norms(rows: Iterable[Mapping[str, float]]) -> dict[str, list[tuple[float, float]]]:
    """(step, norm) by layer, for people, of a training that logged them; empty otherwise."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith(LOGGED):
                layer = words_of(name.removeprefix(LOGGED))
                found.setdefault(layer, []).append((row["step"], value))
    return found
