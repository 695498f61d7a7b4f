"""Pictures and captions as a pipeline sees them, made once and pinned.

    latents-WxH.f16     float16 N×2×C×h×w: each picture of that shape, and its mirror image
    texts.safetensors   embeddings of the captions, the last row that of nothing said
    items.jsonl         one row a picture: name, sha256, label, caption, shape, place, sizes, …
    rejected.jsonl      what could not be read, and why
    dataset.json        what made it, counts, digests; written last

The digest covers everything and depends on no path. The last bits of latents and embeddings may
differ between kinds of processors.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.pinned import redistributable
from core.errors import UserError
from core.files import digest_file, digest_of, read_json

FORMAT = "menagerie-encoded-1"
DONE = "dataset.json"
TEXTS = "texts.safetensors"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedItem:
    """One training picture: a row of items.jsonl."""

    name: str
    sha256: str
    label: str
    caption: int
    """Place of its caption's embedding."""
    size_wh: tuple[int, int]
    """Shape that it was brought to, in pixels."""
    row: int
    """Place among the latents of that shape."""
    original_wh: tuple[int, int]
    """Before."""
    crop_xy: tuple[int, int]
    """Where the shape begins in the picture that was scaled to cover it."""
    licence: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoded:
    """An opened encoded dataset."""

    folder: Path
    items: tuple[EncodedItem, ...]
    captions: tuple[str, ...]
    """Each once, in order."""
    latents: Mapping[tuple[int, int], NDArray[np.float16]]
    """By shape: read-only memory maps, N×2×C×h×w."""
    digest: str
    facts: dict[str, Any]
    """All of dataset.json."""

    @property
    def licence(self) -> str:
        """The pictures' licences, joined."""
        return " AND ".join(sorted({item.licence for item in self.items}))

    @property
    def redistributable(self) -> bool | None:
        """May what was learnt from these be passed on? None when a licence is unknown."""
        return redistributable({item.licence for item in self.items})


def latents_name(size_wh: tuple[int, int]) -> str:
    """File of the latents of a shape."""
    return f"latents-{size_wh[0]}x{size_wh[1]}.f16"


def facts_of(
    folder: Path,
    made_by: dict[str, Any],
    items: list[EncodedItem],
    captions: list[str],
    latent_chw: dict[str, list[int]],
) -> dict[str, Any]:
    """What dataset.json says of files that were written."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".json")
    facts = {
        "format": FORMAT,
        "made_by": made_by,
        "count": len(items),
        "labels": dict(sorted(Counter(item.label for item in items).items())),
        "shapes": latent_chw,
        "captions": captions,
        "files": {name: digest_file(folder / name) for name in names},
    }
    return facts | {"digest": digest_of(facts)}


def read_items(path: Path) -> list[EncodedItem]:
    """The rows of an items.jsonl."""
    return [_item(json.loads(row)) for row in path.read_text(encoding="utf-8").splitlines()]


def open_encoded(folder: Path, *, verify: bool = False) -> Encoded:
    """Open an encoded dataset; with `verify`, the digests of its files are checked.

    UserError when it is missing or altered.
    """
    if not (folder / DONE).is_file():
        raise UserError(f"{folder} holds no encoded pictures (it has no {DONE})")
    facts = read_json(folder / DONE)
    stated = {key: value for key, value in facts.items() if key != "digest"}
    if facts.get("format") != FORMAT or facts.get("digest") != digest_of(stated):
        raise UserError(f"{folder / DONE} was altered, or is of another version: remove {folder}")
    for name, digest in facts["files"].items():
        path = folder / name
        if not path.is_file() or (verify and digest_file(path) != digest):
            raise UserError(f"{path} is missing or was altered: remove {folder} and run again")
    items = tuple(read_items(folder / "items.jsonl"))
    counts = Counter(item.size_wh for item in items)
    latents = {}
    for size, count in sorted(counts.items()):
        shape = (count, 2, *facts["shapes"][f"{size[0]}x{size[1]}"])
        latents[size] = np.memmap(folder / latents_name(size), np.float16, "r", shape=shape)
    return Encoded(
        folder=folder,
        items=items,
        captions=tuple(facts["captions"]),
        latents=latents,
        digest=facts["digest"],
        facts=facts,
    )


def _item(row: dict[str, Any]) -> EncodedItem:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return EncodedItem(**values)
