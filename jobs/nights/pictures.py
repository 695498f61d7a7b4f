"""A night's new pictures, small enough to stand in its digest."""

import base64
import contextlib
import dataclasses
import io
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

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


def new_pictures(night: Night, packs: Sequence[str]) -> list[Shown]:
    """Stickers of the night, classes in turn; samples where no pack was made."""
    stickers = (_stickers(Path(pack)) for pack in packs)
    once = {(s.label, s.seed): s for s in itertools.chain.from_iterable(stickers)}
    shown = list(itertools.islice(_in_turn(once.values()), AT_MOST))
    return shown or list(itertools.islice(_in_turn(_samples(night)), AT_MOST))


def _stickers(pack: Path) -> Iterable[Shown]:
    with contextlib.suppress(UserError, OSError):
        for item in read_json(pack / "pack.json")["stickers"]:
            png = _small((pack / item["png_small"]).read_bytes())
            yield Shown(label=item["label"], seed=item["seed"], png=png)


def _samples(night: Night) -> Iterable[Shown]:
    """Samples of shards spread over what is there."""
    shards = sorted((night.samples / "data").glob("part-*.parquet"))
    for shard in shards[:: max(1, len(shards) // _SHARDS)]:
        with contextlib.suppress(UserError):
            for sample in read_shard(shard):
                png = _small(png_bytes(sample.image_hwc))
                yield Shown(label=sample.label, seed=sample.seed, png=png)


def _small(png: bytes) -> bytes:
    """The picture, at most 128 px wide, without its texts."""
    with Image.open(io.BytesIO(png)) as image:
        if image.width <= _SIDE_PX:
            return png
        picture: Picture = np.array(
            image.resize((_SIDE_PX, _SIDE_PX * image.height // image.width))
        )
    return png_bytes(picture)


def _in_turn(pictures: Iterable[Shown]) -> Iterable[Shown]:
    """One of each class, then the next of each."""
    groups: dict[str, list[Shown]] = {}
    for picture in pictures:
        group = groups.setdefault(picture.label, [])
        if len(group) < AT_MOST:
            group.append(picture)
    rounds = itertools.zip_longest(*groups.values())
    return (picture for row in rounds for picture in row if picture is not None)
