"""What a set of a pretrained pipeline's pictures depends on. Free of torch: `--help` is quick."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from core.config import UNSAID, config_to_dict
from core.errors import UserError
from core.pretrained.prompts import Order, Prompts, read_prompts, read_seeds, read_wild
from core.pretrained.text_to_image.lorafiles import read_loras
from core.pretrained.text_to_image.schedulers import NAMES

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Switch = Literal["auto", "on", "off"]
_PLACES = ("pipeline", "prompt", "prompts", "wild", "order", "label", "lora")
"""Fields for which a set records what they stand for instead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextToImageConfig:
    """All that the pictures depend on."""

    pipeline: str
    """A diffusers text-to-image pipeline (Stable Diffusion, SDXL, Playground, …): the folder that
    it was saved in, or its name on the hub. Only safetensors are read."""
    revision: str = ""
    """Of a pipeline on the hub: branch, tag or commit; the commit is recorded. Default: its newest.
    """
    prompt: tuple[str, ...] = ()
    """Prompts, each a template: "a {colour} {animal} sticker, plain background"."""
    prompts: Path | None = None
    """Text file of prompts, one a line; # begins a comment line."""
    wild: tuple[str, ...] = ()
    """Values of wildcards, each NAME=ONE,OTHER or NAME=@FILE (one value a line)."""
    order: Order = "turn"
    """Which prompt a seed takes, of several: `turn`, one after another; `random`, any of them."""
    label: str = ""
    """Class of the pictures, wildcards allowed. Default: the wildcard {animal}, else the animal
    that the prompt names, else `picture`."""
    negative_prompt: str = ""
    """What the pictures are to keep away from."""
    seeds: str = "0-15"
    """Seeds, one picture each: ranges such as 0-63 or 7,100-131."""
    steps: int = 30
    """Sampler steps: more is finer and slower."""
    guidance: float = 6.0
    """How strongly the prompt is followed; 1 = plainly, at half the time."""
    scheduler: str = ""
    """Sampler by name: euler, dpmpp-2m-karras, unipc, …; default: the pipeline's own."""
    width: int | None = None
    """Width of the pictures, in pixels, a multiple of 8; default: the pipeline's own."""
    height: int | None = None
    """Height of the pictures, likewise."""
    precision: Precision = "auto"
    """Arithmetic. auto = on a GPU bf16, or fp16 where that is not native; on a CPU fp32, or bf16
    when memory is short. The first process to draw decides for the whole set."""
    tiling: Switch = "auto"
    """Decode pictures in tiles, which saves memory and moves colours by a few levels; auto = when
    memory is short. Decided once for the whole set, too."""
    shard_size: int = 64
    """Pictures per Parquet file: what an array's task makes at a time."""
    lora: tuple[str, ...] = dataclasses.field(default=(), metadata=UNSAID)
    """LoRAs to draw with, each FILE[:weight]: a safetensors file of diffusers' or kohya's format, a
    folder with one (a run of finetune, too), or a name on the hub. They add up; weight 1 = as it
    was trained, 0 = not at all, down to -4 and up to 4."""

    def __post_init__(self) -> None:
        if not self.pipeline.strip():
            raise UserError("--pipeline is empty: name a folder, or a pipeline on the hub")
        self._require("steps", self.steps, 1, 1000)
        self._require("guidance", self.guidance, 0, 100)
        self._require("shard-size", self.shard_size, 1, 1_000_000)
        for name, size in (("width", self.width), ("height", self.height)):
            if size is not None and (size % 8 or not 8 <= size <= 8192):
                raise UserError(f"--{name} is {size}; it must be a multiple of 8 from 8 to 8192")
        if self.scheduler and self.scheduler not in NAMES:
            raise UserError(f"no scheduler {self.scheduler!r}; known are {', '.join(NAMES)}")
        read_seeds(self.seeds)

    def _require(self, name: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:
            raise UserError(f"--{name} is {value:g}; it must be from {low:g} to {high:g}")


def planned_prompts(config: TextToImageConfig) -> Prompts:
    """The prompts of the flags and the file; UserError when there are none or they do not fit."""
    lines = read_prompts(config.prompts) if config.prompts is not None else ()
    return Prompts(
        templates=(*config.prompt, *lines),
        wild=read_wild(config.wild),
        order=config.order,
        label=config.label,
    )


def settings_of(config: TextToImageConfig, prompts: Prompts) -> dict[str, Any]:
    """The config as a set records it: prompts instead of files, no path of this machine."""
    kept = {name: v for name, v in config_to_dict(config).items() if name not in _PLACES}
    return {**kept, "prompts": prompts.facts(), **lora_settings(config)}


def lora_settings(config: TextToImageConfig) -> dict[str, Any]:
    """The LoRAs' digests and weights; nothing without any, as before there were LoRAs."""
    return {"lora": [lora.facts for lora in read_loras(config.lora)]} if config.lora else {}
