"""Read, check and transform every picture of a source once, in several processes.

Each worker writes its pictures at their own rows of shared memory maps, so that the result does
not depend on which worker did what, and no pixel travels between processes.
"""

import dataclasses
import errno
import hashlib
import math
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.decode import UnreadableError, decode
from core.data.duplicates import THUMB_PX, thumbnail
from core.data.sources import Entry, Source, check_digest
from core.data.transform import SquareTransform, use_one_thread
from core.errors import UserError
from core.files import digest_bytes
from core.images import Picture
from core.progress import progress

_CHUNK = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """What a scan does to each picture."""

    transform: SquareTransform
    min_side_px: int
    max_aspect: float
    max_megapixels: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """What a scan learned about one picture."""

    sha256: str = ""
    """Of the source's bytes."""
    pixels_sha256: str = ""
    """Of the decoded pixels."""
    channels: int = 3
    """Of the transformed picture."""
    transparent: bool = False
    """Whether the decoded picture has real transparency."""
    reason: str | None = None
    """Why it cannot be used, or None."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """A scanned source; the arrays have one row per entry, zeros for rejected ones."""

    results: list[Scanned]
    thumbs_nhwc: NDArray[np.uint8]
    _pixels: NDArray[np.uint8]
    _size_px: int

    def image_hwc(self, row: int) -> Picture:
        """One transformed picture, with as many channels as it needs."""
        size, channels = self._size_px, self.results[row].channels
        return self._pixels[row, : size * size * channels].reshape(size, size, channels)


@dataclasses.dataclass(frozen=True)
class _Worker:
    """What a worker process needs; sent once."""

    source: Source
    settings: ScanSettings
    folder: Path

    def scan_chunk(self, first: int, entries: Sequence[Entry]) -> list[Scanned]:
        with (
            (self.folder / _PIXELS).open("r+b", buffering=0) as pixels,
            (self.folder / _THUMBS).open("r+b", buffering=0) as thumbs,
        ):
            rows = range(first, first + len(entries))
            return [
                self._scan_entry(entry, row, pixels.fileno(), thumbs.fileno())
                for row, entry in zip(rows, entries, strict=True)
            ]

    def _scan_entry(self, entry: Entry, row: int, pixels: int, thumbs: int) -> Scanned:
        transform = self.settings.transform
        try:
            image_hwc, sha256 = self._read(entry)
            made = transform(image_hwc)
            small = thumbnail(image_hwc)
        except UnreadableError as error:
            return Scanned(reason=str(error))
        except MemoryError:
            return Scanned(reason="too large for this machine's memory")
        # Not through a map: each of its pages would be fetched first, and a full disk would kill.
        _put(made, pixels, row * transform.size_px**2 * 4)
        _put(small, thumbs, row * small.size)
        return Scanned(
            sha256=sha256,
            pixels_sha256=_digest_of_pixels(image_hwc),
            channels=made.shape[-1],
            transparent=image_hwc.shape[-1] == 4,
        )

    def _read(self, entry: Entry) -> tuple[Picture, str]:
        found = self.source.read(entry)
        if isinstance(found, bytes):
            sha256 = check_digest(entry, found)
            # What JPEG's own scaling leaves to average: with it, hires photographs come out within
            # 38 dB and more of a full decode. It works on coded values, hence more for light, and
            # averages as `area` does: where nothing is left to do, that is the result (43 dB).
            transform, least_px = self.settings.transform, self.settings.min_side_px
            srgb = transform.colour_space == "srgb"
            exact = srgb and transform.resample == "area" and transform.size_px >= least_px
            found = decode(
                found,
                # Never below the least side: what is shorter then is so in the file itself.
                enough_px=max((2 if srgb else 4) * transform.size_px, least_px),
                exact_px=transform.size_px if exact else None,
                max_megapixels=self.settings.max_megapixels,
            )
        else:
            sha256 = digest_bytes(found.tobytes())
        short, long = sorted(found.shape[:2])
        if short < self.settings.min_side_px:
            raise UnreadableError(
                f"its shorter side is {short} px, below the least of {self.settings.min_side_px}"
            )
        if long > self.settings.max_aspect * short:
            raise UnreadableError(
                f"it is {long / short:.3g} times as long as wide, above the "
                f"most of {self.settings.max_aspect:g}"
            )
        return found, sha256


_PIXELS, _THUMBS = "scan-pixels", "scan-thumbs"
_worker: _Worker | None = None
"""In a worker process: its task."""


def scan(
    source: Source, entries: Sequence[Entry], settings: ScanSettings, *, folder: Path, workers: int
) -> Scan:
    """Scan all entries with a progress bar; scratch files in `folder` hold the pixels."""
    size = settings.transform.size_px
    shapes = ((len(entries), size * size * 4), (len(entries), THUMB_PX, THUMB_PX, 4))
    for name, shape in zip((_PIXELS, _THUMBS), shapes, strict=True):
        with (folder / name).open("wb") as scratch:
            scratch.truncate(math.prod(shape))
    worker = _Worker(source, settings, folder)
    results: list[Scanned] = []
    with progress(title="preparing", total=len(entries), unit="picture") as bar:
        for chunk in _scan_chunks(worker, entries, workers):
            results += chunk
            bar.update(len(chunk))
    pixels, thumbs = (
        np.asarray(np.memmap(folder / name, np.uint8, "r", shape=shape))
        for name, shape in zip((_PIXELS, _THUMBS), shapes, strict=True)
    )
    return Scan(results=results, thumbs_nhwc=thumbs, _pixels=pixels, _size_px=size)


def _put(image_hwc: Picture, handle: int, place: int) -> None:
    if os.pwrite(handle, image_hwc.data, place) != image_hwc.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _digest_of_pixels(image_hwc: Picture) -> str:
    sha256 = hashlib.sha256(repr(image_hwc.shape).encode())
    sha256.update(np.ascontiguousarray(image_hwc).data)
    return sha256.hexdigest()


def remove_scratch(folder: Path) -> None:
    """Delete the scan's scratch files."""
    for name in (_PIXELS, _THUMBS):
        (folder / name).unlink()


def _scan_chunks(
    worker: _Worker, entries: Sequence[Entry], workers: int
) -> Iterator[list[Scanned]]:
    starts = range(0, len(entries), _CHUNK)
    chunks = [entries[start : start + _CHUNK] for start in starts]
    if workers <= 1 or len(chunks) <= 1:
        use_one_thread()
        yield from map(worker.scan_chunk, starts, chunks)
        return
    # Forked children would inherit the locks of our threads (OpenCV's, Arrow's) in any state.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(chunks)), mp_context=context, initializer=_begin, initargs=(worker,)
    )
    try:
        yield from pool.map(_scan_chunk, starts, chunks)
    except BrokenProcessPool:
        raise UserError(
            "a worker process died, most likely of too little memory: "
            "try --workers 1, or a smaller --max-megapixels"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(worker: _Worker) -> None:
    global _worker
    _worker = worker
    use_one_thread()


def _scan_chunk(first: int, entries: Sequence[Entry]) -> list[Scanned]:
    if _worker is None:
        raise RuntimeError("the worker was not begun")
    return _worker.scan_chunk(first, entries)
