"""A night's new pictures, small enough to stand in its digest."""

import base64
import contextlib
import dataclasses
import functools
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

from core.errors import UserError
from core.files import read_json
from core.images import Picture, png_bytes
from core.sampleset import read_shard
from jobs.nights.folder import Night

AT_MOST = 48
_SIDE_PX = 128
_SHARDS = 4
"""Shards that samples are taken from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """One picture in the page."""

    label: str
    seed: int
    png: bytes

    @property
    def url(self) -> str:
        """The picture itself, as text."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A picture that may be shown."""

    label: str
    seed: int
    png: Callable[[], bytes]


def new_pictures(night: Night, packs: Sequence[str]) -> list[Shown]:
    """Stickers of the night, classes in turn; samples where no pack was made."""
    stickers = {(c.label, c.seed): c for pack in packs for c in _stickers(Path(pack))}
    return _shown(stickers.values()) or _shown(_samples(night))


def _stickers(pack: Path) -> Iterator[_Candidate]:
    with contextlib.suppress(UserError):
        for item in read_json(pack / "pack.json")["stickers"]:
            png = (pack / item["png_small"]).read_bytes
            yield _Candidate(label=item["label"], seed=item["seed"], png=png)


def _samples(night: Night) -> Iterator[_Candidate]:
    """Samples of shards spread over what is there."""
    shards = sorted((night.samples / "data").glob("part-*.parquet"))
    for shard in shards[:: max(1, len(shards) // _SHARDS)]:
        with contextlib.suppress(UserError):
            for sample in itertools.islice(_in_turn(read_shard(shard)), AT_MOST // _SHARDS):
                # As PNG at once: a shard of large pictures must not stay in memory.
                png = functools.partial(bytes, png_bytes(sample.image_hwc))
                yield _Candidate(label=sample.label, seed=sample.seed, png=png)


def _shown(candidates: Iterable[_Candidate]) -> list[Shown]:
    """Some of each class, small."""
    shown = []
    for one in itertools.islice(_in_turn(candidates), AT_MOST):
        with contextlib.suppress(OSError):
            shown.append(Shown(label=one.label, seed=one.seed, png=_small(one.png())))
    return shown


class _Labelled(Protocol):
    @property
    def label(self) -> str: ...


T = TypeVar("T", bound=_Labelled)


def _in_turn(pictures: Iterable[T]) -> Iterator[T]:
    """One of each class, then the next of each."""
    groups: dict[str, list[T]] = {}
    for picture in pictures:
        groups.setdefault(picture.label, []).append(picture)
    rounds = itertools.zip_longest(*groups.values())
    return (one for row in rounds for one in row if one is not None)


def _small(png: bytes) -> bytes:
    """The picture, at most 128 px wide."""
    with Image.open(io.BytesIO(png)) as image:
        if image.width <= _SIDE_PX:
            return png
        picture: Picture = np.array(
            image.resize((_SIDE_PX, _SIDE_PX * image.height // image.width))
        )
    return png_bytes(picture)
