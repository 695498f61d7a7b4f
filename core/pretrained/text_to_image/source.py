"""What a pipeline's folder says of itself, read without torch: class, weights, sizes."""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import digest_file, digest_of, read_json

WANTED = (
    "a text-to-image pipeline of diffusers, such as stabilityai/stable-diffusion-xl-base-1.0, "
    "or the folder that one was saved in"
)
_VARIANT = re.compile(r"\.([A-Za-z0-9_]+?)(?:-\d{5}-of-\d{5})?\.safetensors$")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_DIGESTED = (".json", ".model", ".txt")
"""Beside the weights."""
_HEADER_MOST = 100_000_000
"""Bytes of a safetensors file's header, by its own definition."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PipelineSource:
    """A pipeline on this disk."""

    folder: Path
    class_name: str
    """Its class in diffusers."""
    scheduler_class: str
    variant: str | None
    """Which weights there are, such as `fp16`; None = the plain ones."""
    numbers: dict[str, int]
    """How many numbers each component's weights are."""
    denoiser: dict[str, Any]
    """Config of the network that takes the noise away; empty when there is none we know."""
    vae: dict[str, Any]
    """Config of the autoencoder; empty when there is none we know."""
    licence: str | None
    """What the model's card says."""

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over its files, as they are when it is first asked for."""
        return folder_digest(self.folder)

    @property
    def scale(self) -> int:
        """Pixels of a picture to one of its latents, along a side."""
        return int(2 ** (len(self.vae.get("block_out_channels", [1] * 4)) - 1))

    @property
    def size_px(self) -> int:
        """Side of the pictures that it was trained for."""
        size = self.denoiser.get("sample_size") or 64
        return int(size if isinstance(size, int) else max(size)) * self.scale


def describe_pipeline(folder: Path) -> PipelineSource:
    """Read a pipeline's folder; UserError when it is none, or has weights of another format."""
    if not (folder / "model_index.json").is_file():
        raise UserError(f"{folder} has no model_index.json; wanted is {WANTED}")
    index = read_json(folder / "model_index.json")
    class_name = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(class_name, str):
        raise UserError(f"{folder} runs code of its own, or is broken; wanted is {WANTED}")
    weights = {name: _weights(folder, name) for name in _components(folder)}
    variants = {variant for variant, files in weights.values() if files}
    named = {variant for variant in variants if variant}
    denoiser = _config(folder, "unet") or _config(folder, "transformer")
    return PipelineSource(
        folder=folder,
        class_name=class_name,
        scheduler_class=str(_config(folder, "scheduler").get("_class_name", "its own scheduler")),
        variant=min(named) if named else None,
        numbers={name: sum(map(_count, files)) for name, (_, files) in weights.items() if files},
        denoiser=denoiser,
        vae=_config(folder, "vae"),
        licence=_licence(folder),
    )


def cached_folder(name: str, revision: str = "") -> Path | None:
    """A pipeline's folder, if it is one or the hub's cache holds it; nothing is fetched."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(name, revision=revision or None, local_files_only=True)
    except Exception:  # the hub's client has a dozen kinds, also for what is no name
        return None
    return Path(found) if (Path(found) / "model_index.json").is_file() else None


def folder_digest(folder: Path) -> str:
    """SHA-256 over the files of a pipeline that are opened: configs, tokenizers and weights.

    What lies beside them, such as weights of another variant, changes nothing.
    """
    files = [folder / "model_index.json"]
    for name in _components(folder):
        known = sorted(p for p in (folder / name).rglob("*") if p.suffix in _DIGESTED)
        files += [path for path in known if not path.name.endswith(".index.json")]
        files += _weights(folder, name)[1]
    kept = [path for path in files if path.is_file() and ".cache" not in path.parts]
    return digest_of({path.relative_to(folder).as_posix(): digest_file(path) for path in kept})


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file; UserError when it is none, or its tensors are cut off."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _HEADER_MOST:
                raise ValueError("its header has no length")
            header = dict(json.loads(file.read(length)))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name[:2] != "__"]
        if 8 + length + max(ends, default=0) != path.stat().st_size:
            raise ValueError("it is not as long as its header says")
        return header
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from None


def check_safetensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file by name; UserError when it is none."""
    header = read_header(path)
    header.pop("__metadata__", None)
    return header


def tensor_shapes(folder: Path, component: str) -> dict[str, list[int]]:
    """Shapes of a component's weights by name, in a pipeline's folder; none without weights."""
    _, files = _weights(folder, component)
    return {
        name: tensor["shape"] for path in files for name, tensor in check_safetensors(path).items()
    }


def _components(folder: Path) -> list[str]:
    """The parts of a pipeline that are there, as its index names them."""
    index = read_json(folder / "model_index.json")
    return [name for name, of in index.items() if isinstance(of, list) and of and of[0]]


def _count(path: Path) -> int:
    return sum(math.prod(tensor["shape"]) for tensor in check_safetensors(path).values())


def _weights(folder: Path, component: str) -> tuple[str | None, list[Path]]:
    """Variant and files of a component's weights; none for one without weights."""
    files = sorted((folder / component).glob("*.safetensors"))
    if not files:
        others = list(_pickles(folder / component))
        if others:
            raise UserError(
                f"{others[0]} is a pickle, which can run code, and there are no safetensors beside "
                "it: take a pipeline saved as safetensors (save_pretrained does so by default)"
            )
        return None, []
    by_variant: dict[str | None, list[Path]] = {}
    for path in files:
        found = _VARIANT.search(path.name)
        by_variant.setdefault(found[1] if found else None, []).append(path)
    variant = None if None in by_variant else min(name for name in by_variant if name)
    chosen = by_variant[variant]
    whole = [path for path in chosen if not _SHARD.search(path.name)]
    return variant, whole[:1] or chosen


def _pickles(folder: Path) -> Iterator[Path]:
    for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt"):
        yield from sorted(folder.glob(pattern))


def _config(folder: Path, component: str) -> dict[str, Any]:
    name = "scheduler_config.json" if component == "scheduler" else "config.json"
    path = folder / component / name
    return dict(read_json(path)) if path.is_file() else {}


def _licence(folder: Path) -> str | None:
    """The licence in the YAML head of the model's card."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([^'\"\n]+)", head[1], re.MULTILINE) if head else None
    return found[1].strip() if found else None
