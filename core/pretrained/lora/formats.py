"""LoRAs written in the two formats that the world reads: diffusers', and that of kohya's scripts.

    pytorch_lora_weights.safetensors    diffusers: `pipeline.load_lora_weights(folder)`
    kohya.safetensors                   ComfyUI, AUTOMATIC1111, sd-scripts; diffusers, too

Only the names differ, and where alpha is told: once in the header, or beside each layer.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from core.files import canonical_json, write_bytes
from core.pretrained.lora.names import COMPONENTS, is_sdxl, kohya_name, text_layer

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
KOHYA_FILE = "kohya.safetensors"

Layers = Mapping[str, tuple[Tensor, Tensor]]
"""Of one component: each layer's two matrices, first the one that leads down to the rank."""


def save_adapters(
    folder: Path,
    adapters: Mapping[str, Mapping[str, Tensor]],
    *,
    rank: int,
    alpha: float,
    facts: Mapping[str, str],
    unet_config: Mapping[str, Any],
) -> None:
    """Write both files of a LoRA; the same weights and facts give the same bytes.

    adapters: for each component ("unet", "text_encoder", "text_encoder_2") its weights as peft's
    `get_peft_model_state_dict` names them: `….to_q.lora_A.weight` of rank×in, `….lora_B.weight` of
    out×rank (convolutions: with their kernel). facts: go into both headers, as `menagerie:NAME`.
    unet_config: the U-Net's own, which tells its family and how kohya's files number its blocks.
    ValueError for weights that are no such pairs of this rank.
    """
    layers = {part: _layers(part, adapters[part], rank) for part in COMPONENTS if part in adapters}
    if not any(layers.values()) or set(adapters) - set(COMPONENTS):
        raise ValueError(f"adapters of {sorted(adapters)}; wanted are some of {COMPONENTS}")
    told = {f"menagerie:{name}": value for name, value in facts.items()}
    config = {
        f"{part}.{name}": value
        for part, of in layers.items()
        for name, value in _peft_config(part, of, rank, alpha).items()
    }
    header = {"format": "pt", "lora_adapter_metadata": json.dumps(config, indent=2, sort_keys=True)}
    write_bytes(folder / DIFFUSERS_FILE, _safetensors(_for_diffusers(layers), told | header))
    names = _for_kohya(layers, alpha, unet_config)
    write_bytes(folder / KOHYA_FILE, _safetensors(names, told | _ss(rank, alpha, unet_config)))


def _layers(part: str, weights: Mapping[str, Tensor], rank: int) -> Layers:
    """Pairs of matrices by layer, sorted."""
    names = sorted({key.rsplit(".lora_", 1)[0] for key in weights})
    wanted = {f"{name}.lora_{side}.weight" for name in names for side in "AB"}
    if wanted != set(weights):
        odd = sorted(wanted ^ set(weights))[0]
        raise ValueError(f"{part}: {odd} has no pair of lora_A.weight and lora_B.weight")
    found = {}
    for name in names:
        down, up = (weights[f"{name}.lora_{side}.weight"] for side in "AB")
        if down.shape[0] != rank or up.shape[1] != rank:
            raise ValueError(f"{part}: {name} has rank {down.shape[0]}, not {rank}")
        found[name if part == "unet" else text_layer(name)] = (down, up)
    return found


def _for_diffusers(layers: Mapping[str, Layers]) -> dict[str, Tensor]:
    return {
        f"{part}.{name}.lora_{side}.weight": matrix
        for part, of in layers.items()
        for name, pair in of.items()
        for side, matrix in zip("AB", pair, strict=True)
    }


def _for_kohya(
    layers: Mapping[str, Layers], alpha: float, unet_config: Mapping[str, Any]
) -> dict[str, Tensor]:
    tensors = {}
    for part, of in layers.items():
        for name, (down, up) in of.items():
            known = kohya_name(part, name, unet_config)
            tensors[f"{known}.lora_down.weight"] = down
            tensors[f"{known}.lora_up.weight"] = up
            tensors[f"{known}.alpha"] = torch.tensor(float(alpha))
    return tensors


def _peft_config(part: str, layers: Layers, rank: int, alpha: float) -> dict[str, Any]:
    """What differs from peft's defaults: older and newer versions then read it alike.

    peft finds layers by the end of their path, hence a text encoder's without `text_model.`.
    """
    targets = [name if part == "unet" else name.removeprefix("text_model.") for name in layers]
    return {"r": rank, "lora_alpha": alpha, "target_modules": sorted(targets)}


def _ss(rank: int, alpha: float, unet_config: Mapping[str, Any]) -> dict[str, str]:
    """What sd-scripts writes of a network, as far as other programs look at it."""
    sdxl, second = is_sdxl(unet_config), unet_config.get("cross_attention_dim") == 1024
    family = "stable-diffusion-xl-v1-base" if sdxl else f"stable-diffusion-v{2 if second else 1}"
    return {
        "modelspec.architecture": f"{family}/lora",
        "ss_base_model_version": "sdxl_base_v1-0" if sdxl else "sd_v2" if second else "sd_v1",
        "ss_network_alpha": str(float(alpha)),
        "ss_network_dim": str(rank),
        "ss_network_module": "networks.lora",
        "ss_v2": str(second and not sdxl),
    }


def _safetensors(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> bytes:
    """A safetensors file; its header is sorted, which the library leaves to chance."""
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save(ready, metadata=dict(header))
    begin = 8 + int.from_bytes(data[:8], "little")
    text = canonical_json(json.loads(data[8:begin])).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[begin:]
