"""The nearest training picture of each sample: is it new, or a copy?

Thumbnails are compared at 16 px, each channel less its mean and all together of length 1, mirrored
too, so that neither brightness nor tint hides a copy. What is told is how much nearer the nearest
training picture is than the next 49 on average (Carlini et al. 2023, "Extracting training data from
diffusion models", section 4.2.2); a copy is nearer than all but 1 in 100 held-out pictures. It is
almost the measure of `core.evaluation.novelty`, but without torch, in blocks of bounded memory, and
from the thumbnails that the app has anyway.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from core.data.duplicates import THUMB_PX
from core.data.pinned import PinnedDataset, open_pinned
from core.data.transform import resize, with_alpha
from core.errors import UserError
from curation_app.opening import Report
from curation_app.records import Collection
from curation_app.store import samples as store
from curation_app.store.engine import writing
from curation_app.store.samples import Near

Floats = NDArray[np.float32]
Pictures = NDArray[np.uint8]
Tell = Callable[[float], None]
"""Told which share of the work (0…1) is done."""

_SIDE_PX = THUMB_PX // 2
_NEIGHBOURS = 50
_LEAST_CONTRAST = 5.0
"""Standard deviation in grey levels below which a picture is plain, and alike to none."""
_QUANTILE = 0.01
_LARGEST_THRESHOLD = 0.7
"""What is less near is no copy for people either, whatever few held-out pictures say."""
_MOST_HELD_OUT = 1000
_GROUP = 8192
"""Samples that are searched for in one pass over the dataset: 8 MiB of thumbnails."""
_QUERIES, _BLOCK = 512, 2048
"""Compared at once: 4 MiB of likenesses, and 8 MiB of training pictures."""
_DECODED = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest training pictures of N pictures."""

    places: NDArray[np.int64]
    """Rows of the pinned dataset, N."""
    distances: Floats
    """Relative ones, N: 0 = the same, 1 = no nearer than the next 49."""
    mirrored: NDArray[np.bool_]


def open_data(folder: Path) -> PinnedDataset:
    """The pinned dataset to search; UserError when there are no training pictures in it."""
    dataset = open_pinned(folder)
    if not dataset.split["train"]:
        raise UserError(f"{folder} has no training pictures: prepare it with some")
    return dataset


def search(engine: Engine, collection: Collection, dataset: PinnedDataset, report: Report) -> None:
    """Find the nearest training picture of each sample that has none on record yet.

    What is found goes on record group by group, so that an interrupted search goes on.
    """
    with engine.connect() as connection:
        total = store.count_unsearched(connection, collection.id, dataset.digest)
    report(0, total)
    threshold = copy_threshold(dataset) if total else 0.0
    done = 0
    while done < total:
        with engine.connect() as connection:
            rows = store.unsearched(connection, collection.id, dataset.digest, _GROUP)
        if not rows:  # others searched them
            break
        tell = _teller(report, done, len(rows), total)
        near = _search_group(rows, dataset, threshold, tell)
        with writing(engine) as connection:
            store.record_nearest(connection, dataset.digest, near)
        done += len(rows)
    report(total, total)


def find_nearest(
    small_nhwc: Pictures, dataset: PinnedDataset, tell: Tell = lambda _: None
) -> Neighbours:
    """The nearest training pictures of N pictures as `shrunk` gives them.

    `tell` hears which share of the work (0…1) is done. Memory holds one block at a time.
    """
    train, count = dataset.split["train"], len(small_nhwc)
    kept = min(_NEIGHBOURS, len(train))
    likest = np.full((count, kept), -np.inf, np.float32)
    top = np.full(count, -np.inf, np.float32)
    places, mirrored = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    for start in range(train.start, train.stop, _BLOCK):
        stop = min(start + _BLOCK, train.stop)
        block = _units(shrunk(dataset.images_nhwc[start:stop]), dataset.channels)
        for at in range(0, count, _QUERIES):
            some = slice(at, at + _QUERIES)
            plain, turned = _likeness(small_nhwc[some], block, dataset.channels)
            likeness = np.maximum(plain, turned)
            columns = likeness.argmax(axis=1)
            rows = np.arange(len(columns))
            better = likeness[rows, columns] > top[some]
            top[some] = np.where(better, likeness[rows, columns], top[some])
            places[some] = np.where(better, start + columns, places[some])
            reflected = turned[rows, columns] > plain[rows, columns]
            mirrored[some] = np.where(better, reflected, mirrored[some])
            both = np.concatenate([likest[some], likeness], axis=1)
            likest[some] = np.partition(both, -kept, axis=1)[:, -kept:]
        tell((stop - train.start) / len(train))
    return Neighbours(places=places, distances=_relative(likest), mirrored=mirrored)


def copy_threshold(dataset: PinnedDataset) -> float:
    """What 1 in 100 held-out pictures is nearer than; the largest when there are none."""
    rows = [*dataset.split["validation"], *dataset.split["test"]]
    chosen = rows[:: max(1, -(-len(rows) // _MOST_HELD_OUT))]
    if not chosen:
        return _LARGEST_THRESHOLD
    found = find_nearest(shrunk(dataset.images_nhwc[chosen]), dataset)
    return min(_LARGEST_THRESHOLD, float(np.quantile(found.distances, _QUANTILE)))


def shrunk(images_nhwc: Pictures) -> Pictures:
    """N pictures (premultiplied) at 16×16×4; memory for a few at a time."""
    small = np.empty((len(images_nhwc), _SIDE_PX, _SIDE_PX, 4), np.uint8)
    small[..., 3] = 255
    for start in range(0, len(small), _DECODED):
        some = images_nhwc[start : start + _DECODED]
        small[start : start + _DECODED, ..., : some.shape[-1]] = _averaged(some)
    return small


def _averaged(images_nhwc: Pictures) -> Pictures:
    count, side, _, channels = images_nhwc.shape
    if side % _SIDE_PX:  # by way of the thumbnails' size, as the samples were
        thumbs = [
            with_alpha(resize(one, (THUMB_PX, THUMB_PX), colour_space="srgb", premultiplied=True))
            for one in images_nhwc
        ]
        return _averaged(np.stack(thumbs)[..., :channels])
    factor = side // _SIDE_PX
    parts = images_nhwc.reshape(count, _SIDE_PX, factor, _SIDE_PX, factor, channels)
    averaged: Pictures = np.rint(parts.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
    return averaged


def _likeness(small_nhwc: Pictures, block: Floats, channels: int) -> tuple[Floats, Floats]:
    """Correlations of pictures, and of their mirror images, with a block of training pictures."""
    turned = small_nhwc[:, :, ::-1]
    return _units(small_nhwc, channels) @ block.T, _units(turned, channels) @ block.T


def _units(small_nhwc: Pictures, channels: int) -> Floats:
    """N unit vectors; those of plain pictures are shorter."""
    wide = small_nhwc[..., :channels].astype(np.float32)
    wide -= wide.mean(axis=(1, 2), keepdims=True)
    flat = wide.reshape(len(wide), -1)
    least = np.float32(_LEAST_CONTRAST * flat.shape[1] ** 0.5)
    units: Floats = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), least)
    return units


def _relative(likest: Floats) -> Floats:
    """Distance to the nearest by the mean distance to the next ones, N×K likenesses to N."""
    distances = np.sqrt(np.maximum(2 - 2 * np.sort(likest, axis=1)[:, ::-1], 0))
    if distances.shape[1] == 1:
        # Unit vectors that have nothing in common are √2 apart: beside a single training picture.
        others = np.full(len(distances), np.sqrt(2), np.float32)
    else:
        others = np.maximum(distances[:, 1:].mean(axis=1), 1e-6)
    relative: Floats = (distances[:, 0] / others).astype(np.float32)
    return relative


def _search_group(
    rows: Sequence[tuple[int, bytes]], dataset: PinnedDataset, threshold: float, tell: Tell
) -> list[Near]:
    thumbs = np.frombuffer(b"".join(data for _, data in rows), np.uint8)
    small = shrunk(thumbs.reshape(-1, THUMB_PX, THUMB_PX, 4))
    found = find_nearest(small, dataset, tell)
    return [
        Near(
            picture_id=key,
            place=int(found.places[index]),
            distance=float(found.distances[index]),
            mirrored=bool(found.mirrored[index]),
            copied=bool(found.distances[index] < threshold),
        )
        for index, (key, _) in enumerate(rows)
    ]


def _teller(report: Report, done: int, count: int, total: int) -> Tell:
    """Tells of a share of `count` pictures, after `done` others."""
    return lambda share: report(done + int(share * count), total)
