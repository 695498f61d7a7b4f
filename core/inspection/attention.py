"""Where a U-Net's attention layers look."""

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.diffusion.denoiser import UNet
from core.inspection.naming import words_of
from core.inspection.subject import Subject

_TOGETHER = 256
"""Queries whose weights are in memory at a time: all of a large map's would fill it."""
Place = tuple[float, float]
"""Row and column, as shares of height and width."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionMaps:
    """One layer's attention over one picture, the mean of its heads."""

    name: str
    heads: int
    received: NDArray[np.float64]
    """H×W: what a place receives, mean over all queries; 1 = as much as any other. Of attention to
    the class, what the token receives that a place looks at most."""
    queries: NDArray[np.float64]
    """Q×H×W: where the marked places look, in the same unit. Of attention to the class, one map
    per token: from where it is looked at."""
    to_class: bool
    """Whether it attends to tokens of the class, not to places."""
    breadth: float
    """On how large a share of the places a query looks: the mean over queries of the exponential
    of the entropy, by their number; 1 = everywhere alike, near 0 = at one place."""


@torch.no_grad()
def attention_maps(
    subject: Subject, x: Tensor, sigma: float, label: Tensor, places: Sequence[Place]
) -> list[AttentionMaps]:
    """Every attention layer's maps for one noisy picture, 1×C×H×W, in the order of computing."""
    with looking(subject.unet, places, side_ratio=x.shape[-2] / x.shape[-1]) as found:
        subject.guess(x, torch.full((1,), sigma, device=x.device), label)
    return [*found.values()]


@contextlib.contextmanager
def looking(
    unet: UNet, places: Sequence[Place], *, side_ratio: float = 1.0
) -> Iterator[dict[str, AttentionMaps]]:
    """Record attention in forwards within; outputs stay as they are, to the bit.

    Each layer's processor is kept inside the recording one, and put back in the end. side_ratio:
    the pictures' height by their width.
    """
    found: dict[str, AttentionMaps] = {}
    layers = {path: module for path, module in unet.named_modules() if hasattr(module, "to_q")}
    before: dict[str, Any] = {path: layer.processor for path, layer in layers.items()}
    try:
        for path, layer in layers.items():
            layer.processor = _Looking(before[path], path, places, side_ratio, found)
        yield found
    finally:
        for path, layer in layers.items():
            layer.processor = before[path]


class _Looking:
    """An attention processor that notes the weights, and has another one compute the output."""

    def __init__(
        self,
        inner: Any,
        path: str,
        places: Sequence[Place],
        side_ratio: float,
        found: dict[str, AttentionMaps],
    ) -> None:
        self._inner, self._path, self._found = inner, path, found
        self._places, self._side_ratio = places, side_ratio

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **named: Any,
    ) -> Any:
        """What the other processor gives; diffusers passes on only arguments that are named."""
        self._note(attn, hidden_states[:1], encoder_hidden_states)
        return self._inner(
            attn, hidden_states, encoder_hidden_states, attention_mask, temb, **named
        )

    def _note(self, attn: Any, hidden: Tensor, told: Tensor | None) -> None:
        flat = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
        count = flat.shape[1]
        height = hidden.shape[2] if hidden.ndim == 4 else round(math.sqrt(count * self._side_ratio))
        if attn.group_norm is not None:
            flat = attn.group_norm(flat.transpose(1, 2)).transpose(1, 2)
        query = _by_head(attn.to_q(flat)[0], attn)
        key = _by_head(attn.to_k(flat if told is None else told[:1])[0], attn)
        if getattr(attn, "norm_q", None) is not None:
            query, key = attn.norm_q(query), attn.norm_k(key)
        made = _to_places if told is None else _to_tokens
        name = words_of(re.sub(r"\.transformer_blocks\.\d+\.attn\d$", "", self._path))
        self._found.pop(self._path, None)
        self._found[self._path] = made(name, query, key, (height, count // height), self._places)


def _to_places(
    name: str, query: Tensor, key: Tensor, shape_hw: tuple[int, int], places: Sequence[Place]
) -> AttentionMaps:
    """Weights softmax(q·k/√d) of h×L×d queries and keys, a part of the queries at a time."""
    count = query.shape[1]
    received, breadth = torch.zeros(count), 0.0
    wanted = [_cell(place, *shape_hw) for place in places]
    rows: dict[int, Tensor] = {}
    for begin in range(0, count, _TOGETHER):
        weights = _weights(query[:, begin : begin + _TOGETHER], key)
        breadth += float(_breadths(weights).sum())
        mean = weights.mean(0).cpu()
        received += mean.sum(0)
        rows |= {q: mean[q - begin] for q in wanted if begin <= q < begin + len(mean)}
    looks = torch.stack([rows[q] * count for q in wanted]) if wanted else torch.zeros((0, count))
    return AttentionMaps(
        name=name,
        heads=len(key),
        received=received.view(shape_hw).double().numpy(),
        queries=looks.view(-1, *shape_hw).double().numpy(),
        to_class=False,
        breadth=breadth / count**2,
    )


def _to_tokens(
    name: str, query: Tensor, key: Tensor, shape_hw: tuple[int, int], _: Sequence[Place]
) -> AttentionMaps:
    """Weights over the tokens of a class, from each place."""
    weights, tokens = _weights(query, key), key.shape[1]
    mean = (weights.mean(0) * tokens).cpu().double()
    return AttentionMaps(
        name=f"{name}, to the class",
        heads=len(key),
        received=mean.max(1).values.view(shape_hw).numpy(),
        queries=mean.T.reshape(tokens, *shape_hw).numpy(),
        to_class=True,
        breadth=float(_breadths(weights).mean()) / tokens,
    )


def _weights(query: Tensor, key: Tensor) -> Tensor:
    scores = query @ key.transpose(1, 2) / math.sqrt(key.shape[-1])
    return scores.float().softmax(-1)


def _breadths(weights: Tensor) -> Tensor:
    """On how many keys each query looks, mean over heads: exp of the entropy."""
    return (-(weights * weights.clamp(min=1e-12).log()).sum(-1)).exp().mean(0)


def _by_head(values: Tensor, attn: Any) -> Tensor:
    """L×(h·d) as h×L×d."""
    return values.view(len(values), attn.heads, -1).transpose(0, 1)


def _cell(place: Place, height: int, width: int) -> int:
    row, column = int(place[0] * height), int(place[1] * width)
    return min(row, height - 1) * width + min(column, width - 1)
