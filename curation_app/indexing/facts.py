"""One look at a picture's bytes: all that the app wants to know, from a single decode."""

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.data.decode import MAX_BYTES, UnreadableError, decode
from core.data.duplicates import thumbnail
from core.data.jpeg import everyday_header
from core.data.transform import use_one_thread
from core.files import digest_bytes
from core.images import Picture
from curation_app import thumbnails
from curation_app.indexing.hashing import dhash
from curation_app.indexing.pool import ordered_map
from curation_app.indexing.quality import Quality, flags, measure

MAX_MEGAPIXELS = 100.0
"""Larger pictures are refused by default: decoded, they would take over 400 MB."""
_CHUNK = 32


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of a picture."""

    sha256: str
    """Of its bytes."""
    pixels_sha256: str
    """Of its decoded pixels: the same for a PNG, a WebP without loss and a BMP of one picture."""
    size_bytes: int
    format: str
    """As Pillow names it: JPEG, PNG, …"""
    alpha: bool
    """Whether it has real transparency."""
    dhash: int
    """64 bits, signed."""
    thumbnail: bytes
    """32×32×4, premultiplied: what the search for copies compares."""
    preview: bytes
    """What browsers are shown: JPEG, PNG or WebP. Empty once it was written to its folder."""
    quality: Quality

    @property
    def width_px(self) -> int:
        """Of the upright picture."""
        return self.quality.width_px

    @property
    def height_px(self) -> int:
        """Of the upright picture."""
        return self.quality.height_px

    def measures(self) -> dict[str, Any]:
        """The small ones, for JSON; `quality_of` takes the quality back from it."""
        return {
            "format": self.format,
            "alpha": self.alpha,
            "pixels_sha256": self.pixels_sha256,
            **dataclasses.asdict(self.quality),
        }


def look(data: bytes, *, max_megapixels: float = MAX_MEGAPIXELS) -> Facts:
    """Look at a picture; UnreadableError, with the reason, for what is none."""
    try:
        image_hwc = decode(data, enough_px=thumbnails.SIDE_PX, max_megapixels=max_megapixels)
        kind, size_wh = _kind_and_size(data, image_hwc)
        shown = thumbnails.fit(image_hwc, thumbnails.SIDE_PX)
        small = thumbnail(image_hwc)
        return Facts(
            sha256=digest_bytes(data),
            pixels_sha256=_digest_of_pixels(image_hwc),
            size_bytes=len(data),
            format=kind,
            alpha=image_hwc.shape[-1] == 4,
            dhash=dhash(small),
            thumbnail=small.tobytes(),
            preview=thumbnails.encode_thumbnail(shown, data),
            quality=measure(shown, size_wh),
        )
    except MemoryError:
        raise UnreadableError("too large for this machine's memory") from None


def flags_of(facts: Facts) -> tuple[str, ...]:
    """What a curator should look at: some of `quality.FLAGS`."""
    return flags(facts.quality)


def look_many(
    paths: Iterable[Path],
    previews: Path,
    *,
    workers: int = 2,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterator[Facts | UnreadableError]:
    """Look at files in several processes: for each path, in order, its facts or why there are none.

    Previews go to the folder `previews` (see `thumbnails.thumbnail_path`). Only a few hundred
    pictures are ahead of the caller at any time. Close the iterator to end the processes early.
    """
    looker = _Looker(previews, max_megapixels)
    dead = UnreadableError("reading it ended the process, most likely for want of memory")
    return ordered_map(looker, paths, workers=workers, chunk=_CHUNK, dead=dead)


@dataclasses.dataclass(frozen=True)
class _Looker:
    """Sent to each process once with each chunk."""

    previews: Path
    max_megapixels: float

    def __call__(self, path: Path) -> Facts | UnreadableError:
        use_one_thread()
        try:
            facts = look(_read(path), max_megapixels=self.max_megapixels)
        except UnreadableError as error:
            return error
        place = thumbnails.thumbnail_path(self.previews, facts.sha256)
        if not place.exists():
            thumbnails.keep_thumbnail(place, facts.preview)
        return dataclasses.replace(facts, preview=b"")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise UnreadableError(f"the file is larger than {MAX_BYTES // 2**20} MiB")
            return file.read()
    except OSError as error:
        raise UnreadableError((error.strerror or "it cannot be read").lower()) from None


def _kind_and_size(data: bytes, image_hwc: Picture) -> tuple[str, tuple[int, int]]:
    """The format, and width and height before any scaling inside the decoder."""
    height, width = image_hwc.shape[:2]
    header = everyday_header(data)
    if header is not None:
        kind, size_wh = "JPEG", header.size_wh
    else:
        with Image.open(io.BytesIO(data)) as image:
            kind, size_wh = image.format or "", image.size
    if kind not in ("JPEG", "MPO"):
        return kind, (width, height)
    # Which way is up is known by now: it is told by the shape that came out.
    turned = (size_wh[0] > size_wh[1]) != (width > height)
    return "JPEG", (size_wh[1], size_wh[0]) if turned else size_wh


def _digest_of_pixels(image_hwc: Picture) -> str:
    sha256 = hashlib.sha256(repr(image_hwc.shape).encode())
    sha256.update(np.ascontiguousarray(image_hwc).data)
    return sha256.hexdigest()
