"""An encoded dataset in the making: finished parts in a folder beside it, so that whatever ends the
work early, what is made stays made.

    .NAME-parts/pictures-DIGEST/    latents-WxH.f16, items.jsonl, rejected.jsonl
    .NAME-parts/texts-DIGEST/       texts.safetensors

A part is named after all that it depends on; who makes it does not matter.
"""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from core.data.decode import UnreadableError
from core.diffusion.autoencoder import to_latents
from core.diffusion.pixels import as_network_input
from core.errors import UserError
from core.files import atomic_folder, canonical_json, digest_of, write_bytes, write_json
from core.images import Picture
from core.pretrained.lora.buckets import Size, brought_to, nearest_size
from core.pretrained.lora.encoded import (
    DONE,
    TEXTS,
    EncodedItem,
    facts_of,
    latents_name,
    read_items,
)
from core.pretrained.lora.pictures import Shown
from core.pretrained.lora.texts import embed, embed_nothing, text_encoders

_PIXELS_IN_PART = 16 * 512 * 512
_PICTURES_IN_PART = (4, 64)
"""Fewest and most: a part takes a GPU seconds, a CPU minutes."""
_TEXTS_IN_PART = 256
_PIXELS_AT_ONCE = 512 * 512
_TEXTS_AT_ONCE = 16
_ITEMS, _REJECTED = "items.jsonl", "rejected.jsonl"
_Thing = TypeVar("_Thing")
Look = Callable[[], None]
"""Asked before each picture and each batch of captions; may raise, to leave the part unmade."""


class Part(NamedTuple):
    """One part: its number and its folder's name."""

    number: int
    name: str


class EncodingParts:
    """All parts of an encoded dataset: pictures first, then captions."""

    def __init__(self, folder: Path, shown: Sequence[Shown], sizes: Sequence[Size]) -> None:
        """folder: of the dataset. sizes: the shapes that pictures are brought to, square first."""
        self.folder = folder.with_name(f".{folder.name}-parts")
        self.captions = sorted({picture.caption for picture in shown})
        self._caption_of = {picture.name: picture.caption for picture in shown}
        self._sizes = list(sizes)
        least, most = _PICTURES_IN_PART
        fitting = _PIXELS_IN_PART // (sizes[0][0] * sizes[0][1])
        self._pictures = _chunks(shown, min(most, max(least, fitting)))
        self._texts = _chunks(self.captions, _TEXTS_IN_PART)

    def parts(self, pipeline_digest: str) -> list[Part]:
        """All of them, in order; reads every picture, to name its part after what is in it."""
        named = []
        for chunk in self._pictures:
            rows = [[one.name, one.label, one.licence, _digest(one)] for one in chunk]
            named.append(f"pictures-{digest_of([pipeline_digest, self._sizes, rows])[:32]}")
        for number, captions in enumerate(self._texts):
            last = number == len(self._texts) - 1
            named.append(f"texts-{digest_of([pipeline_digest, captions, last])[:32]}")
        return [Part(number, name) for number, name in enumerate(named)]

    def missing(self, parts: Sequence[Part]) -> list[Part]:
        """Those that are not made yet; what a killed process left half made goes."""
        for path in self.folder.glob(".*.tmp"):
            shutil.rmtree(path, ignore_errors=True)
        return [part for part in parts if not (self.folder / part.name).exists()]

    def pictures_in(self, part: Part) -> int:
        """How many pictures it is made of."""
        return len(self._pictures[part.number]) if part.number < len(self._pictures) else 0

    def make(self, part: Part, pipeline: Any, device: torch.device, look: Look) -> None:
        """Make a part. The pipeline's autoencoder is on the device; its text encoders come there
        for as long as they are needed."""
        with atomic_folder(self.folder / part.name) as folder:
            if part.number < len(self._pictures):
                self._write_pictures(folder, self._pictures[part.number], pipeline.vae, look)
                return
            number = part.number - len(self._pictures)
            nothing = number == len(self._texts) - 1
            _write_texts(folder, pipeline, self._texts[number], device, look, nothing=nothing)

    def join(self, parts: Sequence[Part], folder: Path, made_by: dict[str, Any]) -> None:
        """Put the dataset together, once every part is made, and remove them.

        UserError when no picture could be read.
        """
        made = [self.folder / part.name for part in parts]
        pictures, texts = made[: len(self._pictures)], made[len(self._pictures) :]
        with atomic_folder(folder) as temporary:
            items, chw = self._join_pictures(pictures, temporary)
            tables = [load_file(path / TEXTS) for path in texts]
            joined = {name: torch.cat([table[name] for table in tables]) for name in tables[0]}
            # As bytes: a full disk is then an OSError, not one of the library's own.
            write_bytes(temporary / TEXTS, save(joined))
            write_json(temporary / DONE, facts_of(temporary, made_by, items, self.captions, chw))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_pictures(
        self, folder: Path, pictures: Sequence[Shown], vae: Any, look: Look
    ) -> None:
        shapes: dict[Size, _Shape] = {}
        items, rejected = list[EncodedItem](), list[dict[str, str]]()
        for picture in pictures:
            look()
            try:
                image_hwc, sha256 = picture.read()
            except UnreadableError as error:
                rejected.append({"name": picture.name, "reason": str(error)})
                continue
            height, width = image_hwc.shape[:2]
            size = self._sizes[nearest_size(self._sizes, width, height)]
            piece, crop_xy = brought_to(image_hwc, size)
            if size not in shapes:
                shapes[size] = _Shape(size, vae)
            items.append(
                EncodedItem(
                    name=picture.name,
                    sha256=sha256,
                    label=picture.label,
                    caption=0,  # known where the parts are joined, as is the row
                    size_wh=size,
                    row=shapes[size].add(piece),
                    original_wh=(width, height),
                    crop_xy=crop_xy,
                    licence=picture.licence,
                )
            )
        for size, shape in shapes.items():
            np.save(folder / _latents_of(size), shape.latents())
        _write_rows(folder / _ITEMS, [dataclasses.asdict(item) for item in items])
        _write_rows(folder / _REJECTED, rejected)

    def _join_pictures(
        self, parts: Sequence[Path], folder: Path
    ) -> tuple[list[EncodedItem], dict[str, list[int]]]:
        """Their latents, one file a shape, and their rows, renumbered; C×h×w of each shape."""
        place = {caption: row for row, caption in enumerate(self.captions)}
        items, rejected = list[EncodedItem](), list[str]()
        before, chw = Counter[Size](), dict[str, list[int]]()
        for part in parts:
            found = read_items(part / _ITEMS)
            for item in found:
                caption = place[self._caption_of[item.name]]
                row = before[item.size_wh] + item.row
                items.append(dataclasses.replace(item, caption=caption, row=row))
            for size, count in Counter(item.size_wh for item in found).items():
                latents = np.load(part / _latents_of(size))
                with (folder / latents_name(size)).open("ab") as file:
                    file.write(latents.tobytes())
                before[size] += count
                chw[f"{size[0]}x{size[1]}"] = list(latents.shape[2:])
            rejected += (part / _REJECTED).read_text(encoding="utf-8").splitlines()
        if not items:
            first = json.loads(rejected[0])
            raise UserError(
                f"none of the {len(rejected)} pictures of --data can be read, such as "
                f"{first['name']}: {first['reason']}"
            )
        _write_rows(folder / _ITEMS, [dataclasses.asdict(item) for item in items])
        _write_rows(folder / _REJECTED, [json.loads(row) for row in rejected])
        return items, dict(sorted(chw.items()))


class _Shape:
    """Pictures of one shape on their way to latents."""

    def __init__(self, size_wh: Size, vae: Any) -> None:
        self._vae, self._waiting = vae, list[Picture]()
        self._most = max(1, _PIXELS_AT_ONCE // (size_wh[0] * size_wh[1]))
        self._count, self._made = 0, list[NDArray[np.float16]]()

    def add(self, image_hwc: Picture) -> int:
        """Take a picture; its place."""
        self._waiting.append(image_hwc)
        self._count += 1
        if len(self._waiting) == self._most:
            self._encode()
        return self._count - 1

    def latents(self) -> NDArray[np.float16]:
        """N×2×C×h×w: of each picture, and of its mirror image."""
        if self._waiting:
            self._encode()
        return np.concatenate(self._made)

    def _encode(self) -> None:
        batch = torch.from_numpy(np.stack(self._waiting)).to(self._vae.device)
        pictures = as_network_input(batch)
        pair = [to_latents(self._vae, part).cpu() for part in (pictures, pictures.flip(3))]
        latents = torch.stack(pair, dim=1).to(torch.float16)
        if not latents.isfinite().all():
            raise UserError("the pipeline's autoencoder makes latents that float16 cannot hold")
        self._made.append(latents.numpy())
        self._waiting.clear()


@torch.no_grad()
def _write_texts(
    folder: Path,
    pipeline: Any,
    captions: Sequence[str],
    device: torch.device,
    look: Look,
    *,
    nothing: bool,
) -> None:
    """Embeddings of captions and, after the last ones, of nothing said."""
    encoders = [encoder.to(device) for encoder in text_encoders(pipeline).values()]
    made = []
    for some in _chunks(captions, _TEXTS_AT_ONCE):
        look()
        made.append(embed(pipeline, some, device))
    if nothing:
        made.append(embed_nothing(pipeline, device))
    for encoder in encoders:
        encoder.to("cpu")
    named = {"embeds": [one.embeds for one in made]}
    if pooled := [one.pooled for one in made if one.pooled is not None]:
        named["pooled"] = pooled
    halves = {
        name: torch.cat([one.to("cpu", torch.float16) for one in some])
        for name, some in named.items()
    }
    if not all(half.isfinite().all() for half in halves.values()):
        raise UserError("the pipeline's text encoders make numbers that float16 cannot hold")
    write_bytes(folder / TEXTS, save(halves))


def _digest(picture: Shown) -> str:
    try:
        return picture.digest()
    except UnreadableError as error:
        return str(error)


def _latents_of(size: Size) -> str:
    return f"latents-{size[0]}x{size[1]}.npy"


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_bytes(path, "".join(canonical_json(row) + "\n" for row in rows).encode())


def _chunks(things: Sequence[_Thing], size: int) -> list[list[_Thing]]:
    return [list(things[first : first + size]) for first in range(0, len(things), size)]
