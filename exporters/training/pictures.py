"""The large pictures that an upscaler learns from: drawn, from folders, or from pinned datasets."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from core.data.decode import UnreadableError, decode
from core.data.pinned import open_pinned
from core.data.sources import FolderSource
from core.data.starter import LABELS, draw_animal
from core.data.transform import resize, with_alpha
from core.errors import UserError
from core.images import Picture, over, premultiply, unpremultiply
from core.progress import progress
from core.seeds import mixed_seed
from exporters.training.config import SCALE, UpscalerConfig

STARTER_SIZES_PX = (128, 256, 512)
"""Sides at which the starter animals are drawn in turn: samples of 32, 64 and 128 px, enlarged."""
_WHITE = (255, 255, 255)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """Large pictures: uint8, H×W×C, colour premultiplied where C = 4."""

    train: list[Picture]
    held_out: list[Picture]
    digest: str
    """SHA-256 (hex) over the pixels of all."""


def load_pictures(config: UpscalerConfig) -> Pictures:
    """All pictures of a config; UserError when there are too few that are large enough."""
    least_px = config.patch_px * SCALE
    found, small = [], 0
    for picture in _all(config):
        ready = _ready(picture, config)
        if min(ready.shape[:2]) >= least_px:
            found.append(ready)
        else:
            small += 1
    if len(found) <= config.held_out:
        where = ", ".join(str(folder) for folder in config.data) or "the starter animals"
        raise UserError(
            f"{where}: {len(found)} pictures are at least {least_px} px high and wide and {small} "
            f"are not; {config.held_out + 1} or more are needed: give more pictures, or a smaller "
            "--patch-px, --shrink-first or --held-out"
        )
    digest = hashlib.sha256()
    for picture in found:
        digest.update(repr(picture.shape).encode() + picture.tobytes())
    order = np.random.default_rng(mixed_seed(config.seed, 1)).permutation(len(found))
    aside = set(order[: config.held_out].tolist())
    return Pictures(
        train=[picture for place, picture in enumerate(found) if place not in aside],
        held_out=[found[place] for place in sorted(aside)],
        digest=digest.hexdigest(),
    )


def _all(config: UpscalerConfig) -> Iterator[Picture]:
    """Straight RGBA or RGB pictures."""
    if not config.data:
        yield from _starter(config)
    for folder in config.data:
        if not folder.is_dir():
            raise UserError(
                f"{folder} is no folder: give --data a folder of pictures or a pinned dataset, or "
                "leave it out to train on the starter animals"
            )
        if (folder / "dataset.json").exists():
            images, _ = open_pinned(folder).part("train")
            yield from (unpremultiply(image) for image in images)
        else:
            yield from _folder(folder)


def _starter(config: UpscalerConfig) -> Iterator[Picture]:
    jobs = [(label, seed) for seed in range(config.per_class) for label in LABELS]
    for place, (label, seed) in enumerate(progress(jobs, title="drawing", unit="animal")):
        size_px = STARTER_SIZES_PX[(place // len(LABELS) + place) % len(STARTER_SIZES_PX)]
        yield draw_animal(label, mixed_seed(config.seed, seed) >> 20, size_px)


def _folder(folder: Path) -> Iterator[Picture]:
    source = FolderSource(folder, default_label="any")
    entries: Iterable[object] = source.listing().entries
    for entry in progress(entries, title=f"reading {folder.name}", unit="picture"):
        try:
            yield decode(source.read(entry))
        except UnreadableError:
            continue  # one bad file among thousands is no reason to stop


def _ready(picture: Picture, config: UpscalerConfig) -> Picture:
    """Shrunk beforehand, with the channels that the network takes."""
    rgba = config.channels == 4
    picture = premultiply(with_alpha(picture)) if rgba else over(picture, _WHITE)
    if config.shrink_first == 1:
        return picture
    height, width = picture.shape[:2]
    size_wh = (round(width / config.shrink_first), round(height / config.shrink_first))
    if min(size_wh) < 1:
        return picture[:0]
    return resize(picture, size_wh, premultiplied=True)
