"""The frozen pipeline that is adapted: opened, and held against what can be trained."""

import inspect
from pathlib import Path
from typing import Any, Literal

import torch

from core.errors import UserError
from core.pretrained.text_to_image.memory import Switches
from core.pretrained.text_to_image.opening import open_pipeline
from core.pretrained.text_to_image.source import PipelineSource, describe_pipeline

WANTED = "a Stable Diffusion (1.x, 2.x) or SDXL-class pipeline, such as SDXL or Playground v2"
_TIME_IDS = 6
"""Numbers by which SDXL is told of sizes; its refiner takes five."""


def describe_base(folder: Path) -> PipelineSource:
    """Read a pipeline's folder without torch; UserError when no LoRA can be trained for it."""
    source = describe_pipeline(folder)
    network = source.denoiser
    kind = network.get("_class_name")
    if kind != "UNet2DConditionModel":
        raise UserError(
            f"{folder} has a {kind or 'network of another kind'}; finetune adapts {WANTED}"
        )
    if network.get("in_channels", 4) != source.vae.get("latent_channels", 4):
        raise UserError(
            f"{folder} takes more than noise (it fills gaps, or follows pictures): give {WANTED}"
        )
    if network.get("addition_embed_type") not in (None, "text_time"):
        raise UserError(f"{folder} is told of more than text and sizes: give {WANTED}")
    if source.scheduler_class.startswith("EDM"):
        raise UserError(
            f"{folder} is trained by EDM's preconditioning (Playground v2.5 is), which finetune "
            f"does not know: give {WANTED}"
        )
    return source


def open_base(source: PipelineSource, precision: Literal["fp32", "bf16", "fp16"]) -> Any:
    """The pipeline on the CPU, all of it frozen; UserError when it cannot be trained."""
    pipeline = open_pipeline(source, switches=Switches(precision=precision))
    if "do_classifier_free_guidance" not in inspect.signature(pipeline.encode_prompt).parameters:
        raise UserError(f"{source.folder} encodes prompts in its own way: give {WANTED}")
    prediction = pipeline.scheduler.config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise UserError(f"{source.folder} predicts {prediction!r}; known: epsilon, v_prediction")
    if needs_sizes(pipeline.unet) and getattr(pipeline, "text_encoder_2", None) is None:
        raise UserError(
            f"{source.folder} has no second text encoder, as SDXL's have: give {WANTED}"
        )
    if needs_sizes(pipeline.unet) and _time_ids(pipeline) != _TIME_IDS:
        raise UserError(f"{source.folder} is a refiner: give the base pipeline")
    for module in pipeline.components.values():
        if isinstance(module, torch.nn.Module):
            module.requires_grad_(False)
    return pipeline


def needs_sizes(unet: Any) -> bool:
    """Whether the network is told of sizes and of the pooled text, as SDXL's is."""
    return bool(unet.config.get("addition_embed_type") == "text_time")


def _time_ids(pipeline: Any) -> int:
    """How many numbers about sizes the network takes."""
    config = pipeline.unet.config
    width = int(config.projection_class_embeddings_input_dim)
    width -= int(pipeline.text_encoder_2.config.projection_dim)
    return width // int(config.addition_time_embed_dim)
