"""LoRAs as `--lora` names them: FILE[:weight], found, digested, and compared with the pipeline.

All of it by the headers of safetensors files, without torch: what cannot work is told before
anything is submitted.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_file
from core.pretrained.lora.names import COMPONENTS, kohya_name, text_layer
from core.pretrained.text_to_image.source import PipelineSource, read_header, tensor_shapes

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
"""What diffusers calls the file of a LoRA's folder."""
WEIGHT_MOST = 4.0
WANTED = "a LoRA's safetensors file, in diffusers' or kohya's format, or a folder with one"
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_ON_HUB = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+\.safetensors)?")
_MATRIX = re.compile(
    r"(?P<layer>.+?)(?:_lora|\.lora|\.lora_linear_layer)?"
    r"\.(?P<side>lora_A|lora_B|lora_down|lora_up|down|up)\.weight"
)
_OLD_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""What diffusers called a text encoder's layers in LoRAs of 2023."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraFile:
    """One of the LoRAs that are asked for."""

    name: str
    """As it was given, without the weight."""
    weight: float
    path: Path | None
    """Its safetensors file; None for a name on the hub."""

    @property
    def facts(self) -> dict[str, Any]:
        """What pictures depend on: the file by its digest, not by its place."""
        if self.path is None:
            return {"name": self.name, "weight": self.weight}
        return {"sha256": digest_of_file(self.path), "weight": self.weight}

    @property
    def parent(self) -> dict[str, Any]:
        """What it is traced back by: digest, and what its trainer wrote into its header."""
        if self.path is None:
            return {"name": self.name}
        return parent_of(self.path)


def parent_of(path: Path) -> dict[str, Any]:
    """Digest of a LoRA's file, and what our own trainer wrote into its header."""
    told = {
        name.removeprefix("menagerie:"): value
        for name, value in read_header(path).get("__metadata__", {}).items()
        if name.startswith("menagerie:")
    }
    return {**told, "sha256": digest_of_file(path)}


def digest_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file, read once for as long as it stays as it is."""
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


def read_loras(given: Sequence[str]) -> tuple[LoraFile, ...]:
    """LoRAs of FILE[:weight]; UserError for a weight out of range, or what is no LoRA's file."""
    return tuple(map(_read_lora, given))


def check_lora(lora: LoraFile, source: PipelineSource) -> int:
    """How many of a LoRA's layers have no place in the pipeline; UserError when it cannot fit.

    0, unasked, for one on the hub and for a pipeline without a U-Net.
    """
    if lora.path is None or not source.denoiser or "unet" not in source.numbers:
        return 0
    known, shapes = _known_layers(source), dict(_matrices(lora.path))
    other = "it is a LoRA of another base model" + _base_of(lora.path)
    left_out = set()
    for (layer, side), shape in shapes.items():
        if layer not in known:
            left_out.add(layer)
            continue
        place = 1 if side == "down" else 0
        here = known[layer][place] if len(known[layer]) > place else 0
        there = shape[place] if len(shape) > place else 0
        if here != there:
            raise UserError(
                f"{lora.name} does not fit {source.folder}: {layer} has {there} numbers there and "
                f"{here} here; {other}"
            )
    layers = {layer for layer, _ in shapes}
    if left_out == layers:
        raise UserError(
            f"{lora.name} does not fit {source.folder}, a {source.class_name}: none of its "
            f"{len(layers):,} layers is there; {other}"
        )
    return len(left_out)


def numbers_of(loras: Sequence[LoraFile]) -> int:
    """How many numbers the weights of those on this disk are."""
    paths = [lora.path for lora in loras if lora.path is not None]
    return sum(math.prod(shape) for path in paths for _, shape in _matrices(path))


@functools.lru_cache(maxsize=64)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    return digest_file(path)


def _read_lora(given: str) -> LoraFile:
    name, weight = _split(given)
    if not abs(weight) <= WEIGHT_MOST:  # not a number, either
        raise UserError(
            f"--lora {given}: the weight is {weight:g}; it must be from {-WEIGHT_MOST:g} to "
            f"{WEIGHT_MOST:g}, 1 = as it was trained"
        )
    path = _file_of(name)
    if path is not None:
        next(_matrices(path))
    return LoraFile(name=name, weight=weight, path=path)


def _split(given: str) -> tuple[str, float]:
    """Name and weight; a path with a colon that exists is a path."""
    name, colon, tail = given.rpartition(":")
    if not colon or Path(given).exists():
        return given, 1.0
    try:
        return name, float(tail)
    except ValueError:
        if not Path(name).exists():
            return given, 1.0
        raise UserError(
            f"--lora {given}: {tail!r} is no weight; give a number, such as {name}:0.8"
        ) from None


def _file_of(name: str) -> Path | None:
    """The file that a name means; None when it can only be one of the hub."""
    path = Path(name).expanduser()
    if path.suffix.lower() in _PICKLES:
        raise UserError(
            f"--lora {name}: a {path.suffix} file is a pickle, which can run code, and is never "
            "read; take the LoRA as .safetensors"
        )
    if path.is_dir():
        return _file_in(path)
    if path.is_file():
        return path
    if _ON_HUB.fullmatch(name) and not Path(name.split("/")[0]).exists():
        return None
    raise UserError(f"--lora {name}: there is no such file; wanted is {WANTED}")


def _file_in(folder: Path) -> Path:
    """A folder's LoRA: diffusers' name, that of a fine-tuning's run, or its only one."""
    for path in (folder / WEIGHTS_FILE, folder / "lora" / WEIGHTS_FILE):
        if path.is_file():
            return path
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    found = ", ".join(path.name for path in files[:3]) or "no safetensors at all"
    raise UserError(f"--lora {folder} has no {WEIGHTS_FILE} but {found}: name the file")


def _matrices(path: Path) -> Iterator[tuple[tuple[str, str], list[int]]]:
    """Layer, side ("down" to the rank, or "up") and shape of a LoRA's matrices.

    UserError when there are none, or ones that diffusers would leave out in silence.
    """
    header = read_header(path)
    header.pop("__metadata__", None)
    if any("dora_scale" in key for key in header):
        raise UserError(f"{path} is a DoRA of kohya's kind, which diffusers cannot apply whole")
    found = [(match, key) for key in sorted(header) if (match := _MATRIX.fullmatch(key))]
    if not any("lora" in key for _, key in found):
        raise UserError(f"{path} is no LoRA that can be read: wanted is {WANTED}")
    for match, key in found:
        side = "down" if match["side"] in ("lora_A", "lora_down", "down") else "up"
        yield (_as_named_now(match["layer"]), side), header[key]["shape"]


def _as_named_now(layer: str) -> str:
    """A layer by its name of today: diffusers' names of 2023 are read, too."""
    if layer.startswith("lora_"):
        return layer
    part, _, rest = layer.replace(".processor.", ".").partition(".")
    if part == "unet":
        return f"{part}.{rest}.0" if rest.endswith(".to_out") else f"{part}.{rest}"
    begin, _, last = rest.rpartition(".")
    return f"{part}.{text_layer(f'{begin}.{_OLD_TEXT.get(last, last)}' if begin else last)}"


def _known_layers(source: PipelineSource) -> dict[str, list[int]]:
    """Shapes of the pipeline's weights, by every name that a LoRA's file may give the layer."""
    known = {}
    for part in COMPONENTS:
        for name, shape in tensor_shapes(source.folder, part).items():
            layer, _, kind = name.rpartition(".")
            if kind != "weight":
                continue
            layer = layer if part == "unet" else text_layer(layer)
            for name_there in _names(part, layer, source.denoiser):
                known[name_there] = shape
    return known


def _names(part: str, layer: str, unet_config: Mapping[str, Any]) -> set[str]:
    plain = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}[part]
    return {
        f"{part}.{layer}",
        f"{plain}_{layer.replace('.', '_')}",
        kohya_name(part, layer, unet_config),
    }


def _base_of(path: Path) -> str:
    """What the header says of the base, for an error."""
    base = read_header(path).get("__metadata__", {}).get("ss_base_model_version")
    return f" ({base})" if base else ""
