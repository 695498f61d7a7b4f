"""Making an encoded dataset: every picture to latents, every caption to embeddings, once."""

import contextlib
import dataclasses
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from core.config import config_to_dict
from core.data.decode import UnreadableError
from core.data.transform import resize
from core.diffusion.autoencoder import to_latents
from core.diffusion.pixels import as_network_input
from core.errors import BusyError, UserError
from core.files import atomic_folder, canonical_json, exclusive, write_bytes, write_json
from core.images import Picture
from core.pretrained.lora.buckets import Size, bucket_sizes, nearest_size
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoded import (
    DONE,
    TEXTS,
    Encoded,
    EncodedItem,
    facts_of,
    latents_name,
    open_encoded,
)
from core.pretrained.lora.pictures import Shown, training_pictures
from core.pretrained.lora.texts import Texts, embed, embed_nothing
from core.pretrained.text_to_image.source import PipelineSource, folder_digest
from core.progress import progress
from core.threads import fixed_threads
from core.training.stopping import Stopped, signal_of

_SETTINGS = ("resolution_px", "buckets", "bucket_step_px", "caption", "caption_column")
_PIXELS_AT_ONCE = 512 * 512
_TEXTS_AT_ONCE = 16
_SIZES_PX = (8, 4096)
_PAUSE_S = 0.5
"""Between looks at a lock that another process holds."""


def encoded_dataset(
    config: LoraConfig,
    source: PipelineSource,
    opened: Callable[[], Any],
    folder: Path,
    *,
    device: torch.device,
    asked: Callable[[], int] = lambda: 0,
) -> Encoded:
    """The config's pictures as the pipeline sees them, made in `folder` unless they are there.

    opened: gives the pipeline, on the CPU, where it is needed. asked: how urgently a stop is wished
    for (`core.training.stopping`).

    UserError when the folder holds others, or there is nothing to train on; Stopped when asked.
    """
    made_by = {
        "pipeline": folder_digest(source.folder),
        **{name: config_to_dict(config)[name] for name in _SETTINGS},
    }
    sizes = sizes_of(config, source)
    shown = training_pictures(config)
    if (folder / DONE).exists():
        return _checked(open_encoded(folder, verify=True), made_by, shown)
    with _alone(folder, asked):
        if not (folder / DONE).exists():
            pipeline = opened()
            with (
                atomic_folder(folder) as temporary,
                fixed_threads(),
                _whole_autoencoder(pipeline, device),
            ):
                _write(temporary, pipeline, shown, sizes, made_by, device, asked)
            return open_encoded(folder)
    return _checked(open_encoded(folder, verify=True), made_by, shown)  # another made it meanwhile


@contextlib.contextmanager
def _alone(folder: Path, asked: Callable[[], int]) -> Iterator[None]:
    """One process at a time makes an encoded dataset; what a killed one left behind is removed."""
    lock, told = folder.parent / f".{folder.name}-lock", False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(exclusive(lock))
                break
            except BusyError:
                if not told:
                    print(f"waiting for another process, which encodes pictures in {folder}")
                told = True
                _stop_if(asked)
                time.sleep(_PAUSE_S)
        leftover = re.compile(rf"\.{re.escape(folder.name[:100])}\.\w{{8}}\.tmp")
        for path in folder.parent.iterdir():
            if leftover.fullmatch(path.name) and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        yield


def _stop_if(asked: Callable[[], int]) -> None:
    if urgency := asked():
        raise Stopped(signal_of(urgency), 0)


def sizes_of(config: LoraConfig, source: PipelineSource) -> list[Size]:
    """Shapes that pictures are brought to, the square first; UserError when none fits."""
    side = config.resolution_px or source.size_px
    step = min(config.bucket_step_px, side)
    if not _SIZES_PX[0] <= side <= _SIZES_PX[1]:
        raise UserError(f"--resolution-px is {side}; it must be from 8 to 4096")
    if side % source.scale or step % source.scale:
        raise UserError(
            f"--resolution-px {side} and --bucket-step-px {step} must be multiples of "
            f"{source.scale}, the pixels of one of the pipeline's latents"
        )
    return bucket_sizes(side, step) if config.buckets else [(side, side)]


def brought_to(image_hwc: Picture, size_wh: Size) -> tuple[Picture, tuple[int, int]]:
    """A picture scaled until it covers a shape, and its middle; where that begins (x, y)."""
    height, width = image_hwc.shape[:2]
    scale = max(size_wh[0] / width, size_wh[1] / height)
    large = (max(size_wh[0], round(width * scale)), max(size_wh[1], round(height * scale)))
    x, y = (large[0] - size_wh[0]) // 2, (large[1] - size_wh[1]) // 2
    scaled = resize(image_hwc, large)
    return np.ascontiguousarray(scaled[y : y + size_wh[1], x : x + size_wh[0]]), (x, y)


class _whole_autoencoder:  # noqa: N801 - a context, read as a verb
    """The autoencoder in float32 on the device within: SDXL's overflows in float16."""

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        self._pipeline, self._device, self._dtype = pipeline, device, pipeline.vae.dtype

    def __enter__(self) -> None:
        self._cast(torch.float32)
        self._pipeline.vae.to(self._device)

    def __exit__(self, *_: object) -> None:
        self._pipeline.vae.to("cpu")
        self._cast(self._dtype)

    def _cast(self, dtype: torch.dtype) -> None:
        if self._pipeline.vae.dtype != dtype:
            torch.nn.Module.to(self._pipeline.vae, dtype)


class _Shape:
    """Pictures of one shape on their way to latents."""

    def __init__(self, folder: Path, size_wh: Size, vae: Any) -> None:
        self.count, self.chw = 0, [0, 0, 0]
        self._vae, self._waiting = vae, list[Picture]()
        self._most = max(1, _PIXELS_AT_ONCE // (size_wh[0] * size_wh[1]))
        self._path = folder / latents_name(size_wh)

    def add(self, image_hwc: Picture) -> int:
        """Take a picture; its place."""
        self._waiting.append(image_hwc)
        self.count += 1
        if len(self._waiting) == self._most:
            self._encode()
        return self.count - 1

    def close(self) -> None:
        """Encode what waits."""
        if self._waiting:
            self._encode()

    def _encode(self) -> None:
        batch = torch.from_numpy(np.stack(self._waiting)).to(self._vae.device)
        pictures = as_network_input(batch)
        pair = [to_latents(self._vae, part).cpu() for part in (pictures, pictures.flip(3))]
        latents = torch.stack(pair, dim=1).to(torch.float16)
        if not latents.isfinite().all():
            raise UserError("the pipeline's autoencoder makes latents that float16 cannot hold")
        self.chw = list(latents.shape[2:])
        with self._path.open("ab") as file:  # never left open: a stop removes the folder
            file.write(latents.numpy().tobytes())
        self._waiting.clear()


def _write(
    folder: Path,
    pipeline: Any,
    shown: list[Shown],
    sizes: list[Size],
    made_by: dict[str, Any],
    device: torch.device,
    asked: Callable[[], int],
) -> None:
    captions = sorted({picture.caption for picture in shown})
    place = {caption: row for row, caption in enumerate(captions)}
    shapes: dict[Size, _Shape] = {}
    items, rejected = list[EncodedItem](), list[dict[str, str]]()
    with progress(title="encoding", total=len(shown), unit="picture") as bar:
        for picture in shown:
            bar.update()
            _stop_if(asked)
            try:
                image_hwc, sha256 = picture.read()
            except UnreadableError as error:
                rejected.append({"name": picture.name, "reason": str(error)})
                continue
            height, width = image_hwc.shape[:2]
            size = sizes[nearest_size(sizes, width, height)]
            piece, crop_xy = brought_to(image_hwc, size)
            if size not in shapes:
                shapes[size] = _Shape(folder, size, pipeline.vae)
            items.append(
                EncodedItem(
                    name=picture.name,
                    sha256=sha256,
                    label=picture.label,
                    caption=place[picture.caption],
                    size_wh=size,
                    row=shapes[size].add(piece),
                    original_wh=(width, height),
                    crop_xy=crop_xy,
                    licence=picture.licence,
                )
            )
    if not items:
        first = rejected[0]
        raise UserError(
            f"none of the {len(shown)} pictures of --data can be read, such as {first['name']}: "
            f"{first['reason']}"
        )
    for shape in shapes.values():
        shape.close()
    _write_texts(folder / TEXTS, pipeline, captions, device)
    _write_rows(folder / "items.jsonl", [dataclasses.asdict(item) for item in items])
    _write_rows(folder / "rejected.jsonl", rejected)
    chw = {f"{w}x{h}": shapes[w, h].chw for w, h in sorted(shapes)}
    write_json(folder / DONE, facts_of(folder, made_by, items, captions, chw))


@torch.no_grad()
def _write_texts(path: Path, pipeline: Any, captions: list[str], device: torch.device) -> None:
    encoders = [getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2")]
    moved = [encoder.to(device) for encoder in encoders if encoder is not None]
    parts = [
        embed(pipeline, captions[first : first + _TEXTS_AT_ONCE], device)
        for first in range(0, len(captions), _TEXTS_AT_ONCE)
    ]
    parts.append(embed_nothing(pipeline, device))
    texts = Texts(
        torch.cat([part.embeds for part in parts]),
        None
        if parts[0].pooled is None
        else torch.cat([p.pooled for p in parts if p.pooled is not None]),
    )
    for encoder in moved:
        encoder.to("cpu")
    named = {"embeds": texts.embeds, "pooled": texts.pooled}
    halves = {
        n: part.to("cpu", torch.float16).contiguous()
        for n, part in named.items()
        if part is not None
    }
    if not all(part.isfinite().all() for part in halves.values()):
        raise UserError("the pipeline's text encoders make numbers that float16 cannot hold")
    write_bytes(path, save(halves))  # a full disk is then an OSError, not one of the library's own


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    write_bytes(path, "".join(canonical_json(row) + "\n" for row in rows).encode())


def _checked(found: Encoded, made_by: dict[str, Any], shown: list[Shown]) -> Encoded:
    """What is there already, if it was made of the same."""
    there = found.facts["made_by"]
    if differing := [name for name in made_by if there.get(name) != made_by[name]]:
        raise UserError(
            f"{found.folder} was encoded with other {', '.join(differing)}: name another folder"
        )
    names = {item.name: found.captions[item.caption] for item in found.items}
    now = {picture.name: picture.caption for picture in shown}
    refused = set(now) - set(names)
    rejected = (found.folder / "rejected.jsonl").read_text(encoding="utf-8")
    if any(now.get(name) != caption for name, caption in names.items()) or any(
        canonical_json(name) not in rejected for name in refused
    ):
        raise UserError(
            f"{found.folder} was encoded from other pictures or captions: name another folder"
        )
    _check_contents(found, shown)
    return found


def _check_contents(found: Encoded, shown: list[Shown]) -> None:
    """UserError when a picture is another under the same name."""
    digests = {item.name: item.sha256 for item in found.items}
    for picture in shown:
        try:
            changed = picture.name in digests and picture.digest() != digests[picture.name]
        except UnreadableError:
            changed = True
        if changed:
            raise UserError(
                f"{picture.name} changed since {found.folder} was encoded: name another folder"
            )
