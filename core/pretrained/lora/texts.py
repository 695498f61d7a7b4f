"""Captions as a pipeline's text encoders put them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Texts(NamedTuple):
    """Embeddings of N captions."""

    embeds: Tensor
    """N×tokens×D."""
    pooled: Tensor | None
    """N×D', of SDXL's second encoder; None where the network takes none."""

    def to(self, device: torch.device, dtype: torch.dtype) -> "Texts":
        """The same on a device, in its arithmetic."""
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        return Texts(self.embeds.to(device, dtype), pooled)

    def rows(self, places: Tensor) -> "Texts":
        """Those of some captions."""
        return Texts(self.embeds[places], None if self.pooled is None else self.pooled[places])


def embed(pipeline: Any, captions: Sequence[str], device: torch.device) -> Texts:
    """What the pipeline itself makes of prompts; gradients flow where they are wanted."""
    made = pipeline.encode_prompt(
        prompt=list(captions),
        device=device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )
    return Texts(made[0], made[2] if len(made) == 4 else None)


def embed_nothing(pipeline: Any, device: torch.device) -> Texts:
    """What the pipeline guides away from without a negative prompt: nothing said, 1×…"""
    nothing = embed(pipeline, [""], device)
    if nothing_is_zeros(pipeline):
        pooled = None if nothing.pooled is None else torch.zeros_like(nothing.pooled)
        return Texts(torch.zeros_like(nothing.embeds), pooled)
    return nothing


def nothing_is_zeros(pipeline: Any) -> bool:
    """Whether nothing said is zeros for the pipeline (SDXL), not the empty caption's embedding."""
    return bool(pipeline.config.get("force_zeros_for_empty_prompt", False))


def text_encoders(pipeline: Any) -> dict[str, Any]:
    """The pipeline's text encoders, by the names of their components."""
    names = ("text_encoder", "text_encoder_2")
    return {name: module for name in names if (module := getattr(pipeline, name, None)) is not None}
