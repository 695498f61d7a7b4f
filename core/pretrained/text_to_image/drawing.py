"""Pictures of prompts and seeds by an opened pipeline: one generator for each picture."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from core.images import Picture
from core.pretrained.text_to_image.config import TextToImageConfig

REFUSED = "blacked out by the pipeline's own safety checker"


def draw(
    pipeline: Any, config: TextToImageConfig, prompts: Sequence[str], seeds: Sequence[int]
) -> list[Picture]:
    """One H×W×3 uint8 picture for each prompt and seed, computed together: those of `draw_marked`.

    Black when the pipeline's own safety checker refuses it.
    """
    return [picture for picture, _ in draw_marked(pipeline, config, prompts, seeds)]


@torch.inference_mode()
def draw_marked(
    pipeline: Any, config: TextToImageConfig, prompts: Sequence[str], seeds: Sequence[int]
) -> list[tuple[Picture, str]]:
    """One H×W×3 uint8 picture for each prompt and seed, computed together; each with its trouble.

    The noise of a picture, and of a sampler's steps, comes from a generator on the CPU with its
    seed: the same picture as diffusers' own for `torch.Generator().manual_seed(seed)`. Its last
    bits are those of the batch's size. Its trouble is "", or that the pipeline's own safety checker
    made it black.
    """
    wanted = {
        "prompt": list(prompts),
        "negative_prompt": [config.negative_prompt] * len(prompts),
        "num_inference_steps": config.steps,
        "guidance_scale": config.guidance,
        "width": config.width,
        "height": config.height,
        "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
        "output_type": "pil",
    }
    if not config.negative_prompt:
        del wanted["negative_prompt"]
    accepted = inspect.signature(pipeline.__call__).parameters
    made = pipeline(**{name: value for name, value in wanted.items() if name in accepted})
    refused = getattr(made, "nsfw_content_detected", None) or [False] * len(made.images)
    return [
        (np.array(image.convert("RGB")), REFUSED if black else "")
        for image, black in zip(made.images, refused, strict=True)
    ]
