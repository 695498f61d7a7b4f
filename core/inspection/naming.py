"""Names of a U-Net's layers, as people say them. Free of torch."""

import re

_KINDS = {
    "resnets": "residual",
    "attentions": "attention",
    "downsamplers": "halving",
    "upsamplers": "doubling",
    "resnet_down": "halving",
    "resnet_up": "doubling",
}
_WHOLE = {
    "conv_in": "first convolution",
    "conv_out": "last convolution",
    "conv_norm_out": "last norm",
    "time_embedding": "noise level embedding",
    "class_embedding": "class embedding",
}


def layer_of(parameter: str) -> str:
    """The layer that a parameter belongs to: `down_blocks.0.resnets.1` of `….conv1.weight`.

    Parameters outside the blocks belong to their module at the top.
    """
    parts = parameter.split(".")
    if parts[0] in ("down_blocks", "up_blocks"):
        return ".".join(parts[: 4 if parts[3].isdigit() else 3])
    return ".".join(parts[:3]) if parts[0] == "mid_block" else parts[0]


def words_of(layer: str) -> str:
    """`down_blocks.0.resnets.1` as "down 1, residual 2"; what is not known stays as it is."""
    if layer in _WHOLE:
        return _WHOLE[layer]
    block = r"(?:(down|up)_blocks\.(\d+)|mid_block)"
    found = re.fullmatch(rf"{block}\.(\w+?)(?:\.(\d+))?", layer)
    if not found or found[3] not in _KINDS:
        return layer
    where = f"{found[1]} {int(found[2]) + 1}" if found[1] else "middle"
    kind = _KINDS[found[3]]
    counted = found[3] in ("resnets", "attentions") and found[4] is not None
    return f"{where}, {kind} {int(found[4]) + 1}" if counted else f"{where}, {kind}"


def order_of(layer: str) -> tuple[int, int, int, int]:
    """Sorts layers as they compute: embeddings, the way down, the middle, the way up, the end."""
    if not layer.startswith(("down_blocks", "mid_block", "up_blocks")):
        ends = {"time_embedding": 0, "class_embedding": 1, "conv_in": 2, "conv_out": 7}
        return ends.get(layer, 6), 0, 0, 0
    numbers = [int(part) for part in layer.split(".") if part.isdigit()]
    block = 0 if layer.startswith("mid_block") else numbers.pop(0)
    stage = {"down": 3, "middle": 4, "up": 5}[side_of(layer)]
    if "resnets" not in layer and "attentions" not in layer:
        return stage, block, 10**6, 0
    return stage, block, numbers[0] if numbers else 0, int("attentions" in layer)


def side_of(layer: str) -> str:
    """`down`, `middle` or `up`: on which side of the U a layer is."""
    if layer.startswith(("down_blocks", "conv_in")):
        return "down"
    return "middle" if layer.startswith("mid_block") else "up"
