"""Training pictures and what is said of them, from a pinned dataset or any source of `prepare`."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from core.data.decode import UnreadableError, decode
from core.data.pinned import DONE, PinnedDataset, open_pinned
from core.data.prepare import PrepareConfig, open_source
from core.data.sources import Entry, FolderSource, Source, ZipSource, check_digest
from core.data.tables import HuggingFaceSource, ParquetSource
from core.errors import UserError
from core.files import digest_bytes
from core.images import Picture, over, unpremultiply
from core.pretrained.lora.captions import caption_of
from core.pretrained.lora.config import LoraConfig

_LEAST_PX = 8
_NO_CLASS = "picture"
_BACKGROUND = (255, 255, 255)
"""Behind transparency: an autoencoder takes opaque pictures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """One training picture, not yet read."""

    name: str
    label: str
    caption: str
    licence: str
    read: Callable[[], tuple[Picture, str]]
    """H×W×3, and SHA-256 of what it was read from; UnreadableError when it cannot be."""
    digest: Callable[[], str]
    """That SHA-256 alone, without decoding; UnreadableError, too."""


def training_pictures(config: LoraConfig) -> list[Shown]:
    """All pictures that may be trained on, in a fixed order; UserError when there are none.

    Those that a dataset or a source keeps for validation or test are left out.
    """
    folder = Path(config.data)
    if (folder / DONE).is_file():
        found = list(_of_pinned(open_pinned(folder), config))
    else:
        found = list(_of_source(_opened(config), config))
    if not found:
        raise UserError(f"{config.data} holds no picture to train on: give another --data")
    return found


def _of_pinned(dataset: PinnedDataset, config: LoraConfig) -> Iterator[Shown]:
    rows = dataset.split["train"]
    for row, item in enumerate(dataset.items()):
        if row not in rows:
            continue

        def read(row: int = row, sha256: str = item.sha256) -> tuple[Picture, str]:
            stored = unpremultiply(dataset.images_nhwc[row])
            return over(stored, _BACKGROUND), sha256

        yield Shown(
            name=item.file_name,
            label=item.label,
            caption=caption_of(item.label, None, config.caption),
            licence=item.licence,
            read=read,
            digest=functools.partial(str, item.sha256),
        )


def _opened(config: LoraConfig) -> Source:
    """The source, in which pictures need no class: what is said of them does."""
    source = open_source(PrepareConfig(source=config.data, size_px=512))
    if isinstance(source, FolderSource | ZipSource):
        return dataclasses.replace(source, default_label=_NO_CLASS)
    if isinstance(source, ParquetSource | HuggingFaceSource):
        return dataclasses.replace(
            source, default_label=_NO_CLASS, caption_column=config.caption_column
        )
    return source


def _of_source(source: Source, config: LoraConfig) -> Iterator[Shown]:
    for entry in source.listing().entries:
        if entry.split in ("validation", "test"):
            continue

        def read(entry: Entry = entry) -> tuple[Picture, str]:
            return _read(source, entry)

        def digest(entry: Entry = entry) -> str:
            return _digest(entry, source.read(entry))

        own = (entry.extra or {}).get(config.caption_column)
        yield Shown(
            name=entry.name,
            label=entry.label,
            caption=caption_of(entry.label, own, config.caption),
            licence=entry.licence or "unknown",
            read=read,
            digest=digest,
        )


def _read(source: Source, entry: Entry) -> tuple[Picture, str]:
    found = source.read(entry)
    sha256 = _digest(entry, found)
    if isinstance(found, bytes):
        found = decode(found)
    if min(found.shape[:2]) < _LEAST_PX:
        raise UnreadableError(f"its shorter side is below {_LEAST_PX} px")
    return over(found, _BACKGROUND), sha256


def _digest(entry: Entry, found: bytes | Picture) -> str:
    if isinstance(found, bytes):
        return check_digest(entry, found)
    return digest_bytes(found.tobytes())
