"""Opening a text-to-image pipeline of a folder or the hub: safetensors alone, as memory allows."""

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from core.errors import UserError
from core.pretrained.text_to_image.adapters import first_line, hub_reason, put_on
from core.pretrained.text_to_image.memory import Switches
from core.pretrained.text_to_image.schedulers import scheduler_named
from core.pretrained.text_to_image.source import WANTED, PipelineSource

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_TROUBLE = (OSError, ValueError, TypeError, AttributeError, KeyError, RuntimeError, ImportError)
_ASKED = ("prompt", "num_inference_steps", "generator")
"""Arguments without which a pipeline makes no picture of a prompt and a seed."""


def fetch_pipeline(name: str, revision: str = "") -> tuple[Path, str | None]:
    """A pipeline's folder, and its commit when it came from the hub (None for a local folder).

    What the hub's cache holds is not fetched again. UserError when it cannot be had.
    """
    if Path(name).is_dir():
        if revision:
            raise UserError(f"--revision goes with a name on the hub, and {name} is a folder")
        return Path(name), None
    from diffusers import DiffusionPipeline

    try:
        folder = Path(
            DiffusionPipeline.download(name, revision=revision or None, use_safetensors=True)
        )
    except Exception as error:  # the hub's client has a dozen kinds, of two HTTP libraries
        raise UserError(
            f"{name} is no folder, and could not be fetched from the hub ({hub_reason(error)}): "
            "check the name and the network, or download it elsewhere and give its folder"
        ) from None
    return folder, folder.name


def open_pipeline(
    source: PipelineSource,
    *,
    switches: Switches,
    device: str = "cpu",
    scheduler: str = "",
    loras: Sequence[tuple[Path, float]] = (),
) -> Any:
    """The pipeline of a folder, ready to draw; UserError when it makes no pictures of prompts.

    loras: files to put on it, each with its weight.
    """
    pipeline = _loaded(source, DTYPES[switches.precision])
    accepted = inspect.signature(pipeline.__call__).parameters
    if any(name not in accepted for name in _ASKED):
        raise UserError(f"{source.folder} is a {type(pipeline).__name__}; wanted is {WANTED}")
    pipeline.scheduler = scheduler_named(scheduler, pipeline.scheduler)
    if getattr(pipeline, "watermark", None) is not None:
        pipeline.watermark = None  # there only where a package is: pictures must not depend on it
    pipeline.set_progress_bar_config(disable=True)
    save_memory(pipeline, tile_px=switches.tile_px)
    put_on(pipeline, loras)  # before anything waits in main memory: hooks then find all layers
    return _placed(pipeline, switches, device)


def save_memory(pipeline: Any, *, tile_px: int = 0, slicing: bool = True) -> None:
    """Decode the pictures of a batch one by one (slicing), and each in tiles of this side.

    Attention is left whole: torch computes it in blocks, and slices of it hold three times as much
    (729 against 219 MiB in a network of 160 channels at 64×64 latents, on the CPU).
    """
    vae = getattr(pipeline, "vae", None)
    if vae is None:
        return
    if slicing and hasattr(vae, "enable_slicing"):
        vae.enable_slicing()
    if tile_px and hasattr(vae, "enable_tiling"):
        vae.enable_tiling()
        if hasattr(vae, "tile_latent_min_size"):
            scale = 2 ** (len(vae.config.block_out_channels) - 1)
            vae.tile_sample_min_size, vae.tile_latent_min_size = tile_px, tile_px // scale


def _loaded(source: PipelineSource, dtype: torch.dtype) -> Any:
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline

    options = {
        "torch_dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "variant": source.variant,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            try:
                return AutoPipelineForText2Image.from_pretrained(source.folder, **options)
            except ValueError as error:  # of a kind that diffusers has not listed
                if "AutoPipeline" not in str(error):
                    raise
                return DiffusionPipeline.from_pretrained(source.folder, **options)
        except _TROUBLE as error:
            raise UserError(
                f"{source.folder} cannot be opened ({first_line(error)}); wanted is {WANTED}"
            ) from None


def _placed(pipeline: Any, switches: Switches, device: str) -> Any:
    if switches.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif switches.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline
