"""How a layer is called in the files that LoRAs are kept in; free of torch.

Our trainer, peft and diffusers name a layer by its path in the network:
`down_blocks.1.attentions.0.proj_in`. kohya's sd-scripts, and with them most programs that draw,
write the path with underscores, after the name of its component; of an SDXL's U-Net they take the
path that the layer has in Stability's own code (`input_blocks_4_1_proj_in`).
"""

import re
from collections.abc import Mapping
from typing import Any

COMPONENTS = ("unet", "text_encoder", "text_encoder_2")
"""Parts of a pipeline that a LoRA may change."""

_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_BLOCK = re.compile(r"(down_blocks|up_blocks)\.(\d+)\.(\w+)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def is_sdxl(unet_config: Mapping[str, Any]) -> bool:
    """Whether a U-Net is of SDXL's kind, by its config: it is told sizes beside the text."""
    return unet_config.get("addition_embed_type") == "text_time"


def kohya_name(component: str, layer: str, unet_config: Mapping[str, Any]) -> str:
    """The layer's name in a file of kohya's; unet_config: that of the pipeline's U-Net.

    ValueError for a component that cannot have one.
    """
    sdxl = is_sdxl(unet_config)
    if component == "unet":
        path = original_path(layer, _layers_per_block(unet_config)) if sdxl else layer
        return f"lora_unet_{path.replace('.', '_')}"
    if component not in COMPONENTS:
        raise ValueError(f"{component!r} is none of {COMPONENTS}")
    prefix = {"text_encoder": "lora_te1" if sdxl else "lora_te", "text_encoder_2": "lora_te2"}
    return f"{prefix[component]}_{text_layer(layer).replace('.', '_')}"


def text_layer(layer: str) -> str:
    """A text encoder's layer as all files name it: transformers 5 leaves out `text_model.`."""
    inside = layer.split(".")[0] in ("encoder", "embeddings", "final_layer_norm")
    return f"text_model.{layer}" if inside else layer


def original_path(layer: str, layers_per_block: int) -> str:
    """Path of an SDXL U-Net's layer in Stability's own code.

    There all blocks are counted through: an input block is a resnet (0) and its attention (1), and
    what halves the sides is a block of its own; an output block has what doubles them as its third.
    """
    if found := _MIDDLE.fullmatch(layer):
        kind, number, rest = found.groups()
        place = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{place}.{_inside(kind, rest)}"
    if not (found := _BLOCK.fullmatch(layer)):
        return _OUTSIDE.get(layer, layer)
    side, block, kind, number, rest = found.groups()
    first = int(block) * (layers_per_block + 1)
    if kind == "downsamplers":
        return f"input_blocks.{1 + first + layers_per_block}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{first + layers_per_block}.2.{rest}"
    place = first + int(number) + (1 if side == "down_blocks" else 0)
    name = "input_blocks" if side == "down_blocks" else "output_blocks"
    return f"{name}.{place}.{1 if kind == 'attentions' else 0}.{_inside(kind, rest)}"


def _layers_per_block(unet_config: Mapping[str, Any]) -> int:
    layers = unet_config["layers_per_block"]
    return int(layers if isinstance(layers, int) else layers[0])


def _inside(kind: str, rest: str) -> str:
    return _RESNET.get(rest, rest) if kind == "resnets" else rest
