"""A pinned dataset: pictures transformed ahead of time, in one memory-mapped array. Free of torch.

    images.npy       uint8 N×H×W×C, C-order; colour premultiplied by alpha when C = 4
    labels.npy       int64 N, indices into dataset.json's `labels`
    scores.npy       float64 N, what curators gave, NaN for pictures without; only if any has one
    latents.npy      float16 N×2×C×h×w with `encoder/`, when asked for: see core.data.encode
    items.jsonl      one row per picture, in order: file_name, sha256, label, split, group, …
    rejected.jsonl   what could not be read, and why
    duplicates.jsonl groups of pictures that show the same thing
    config.json      the command's config, for people; not part of the digest
    dataset.json     format, transform, labels, split, counts, licences, digests; written last

Rows are sorted by split, so that each split is one contiguous range. `digest` covers everything
but config.json and depends on no path, machine, worker count or time.
"""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.files import canonical_json, digest_file, digest_of, read_json, write_bytes, write_json
from core.images import Picture

FORMAT = "menagerie-pinned-1"
DONE = "dataset.json"
LATENTS = "latents.npy"
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

_OPEN_LICENCES = re.compile(
    r"(cc-?0|cc-zero|cc-by(-nc)?(-sa)?|pddl|odc-by|odbl|public-domain(-mark)?|unlicense|mit(-0)?|isc|"
    r"apache|bsd(-\d-clause)?|ofl|[al]?gpl|mpl)(-licen[sc]e)?(-version)?(-?v?\d+(\.\d+)*\+?)?"
    r"(-(only|or-later|international|universal|unported|igo|licen[sc]e|deed|[a-z]{2}))*"
)
_CLOSED_LICENCES = re.compile(
    r"(^|-)nd(-|$)|no-?deriv|all-rights-reserved|proprietary|no-redistribution|not-redistribut"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PinnedItem:
    """What is known about one picture of a pinned dataset: a row of items.jsonl."""

    file_name: str
    """Name inside the source, with forward slashes."""
    sha256: str
    """SHA-256 (hex) of the source's bytes."""
    label: str
    split: SplitName
    group: int
    """Pictures of one group show the same thing and share a split."""
    licence: str = "unknown"
    source: str | None = None
    """Where the picture came from, when the source says."""
    score: float | None = None
    """How well curators like it; higher is better."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PinnedDataset:
    """An opened pinned dataset."""

    folder: Path
    images_nhwc: NDArray[np.uint8]
    """Read-only memory map, N×H×W×C; colour premultiplied by alpha when C = 4."""
    labels: NDArray[np.int64]
    """N indices into `label_names`."""
    scores: NDArray[np.float64] | None
    """N scores that curators gave, higher is better, NaN for none; None when no picture has one."""
    label_names: tuple[str, ...]
    latents: NDArray[np.float16] | None
    """Read-only memory map, N×2×C×h×w: each picture's latents, then its mirror image's, scaled as
    the autoencoder's config says; None without them."""
    split: dict[SplitName, range]
    """Row ranges of train, validation and test; a range may be empty."""
    size_px: int
    channels: int
    digest: str
    licence: str
    """The pictures' licences, joined by " AND "; "unknown" when nothing is stated."""
    redistributable: bool | None
    """May pictures made from these be passed on? None when a licence is unknown."""
    facts: dict[str, Any]
    """All of dataset.json."""

    @property
    def network_shape_chw(self) -> tuple[int, int, int]:
        """Channels, height and width of what a network is trained on: latents where there are."""
        if self.latents is not None:
            channels, height, width = self.latents.shape[2:]
            return channels, height, width
        return self.channels, self.size_px, self.size_px

    def part(self, name: SplitName) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """One split's pictures (a view of the memory map) and labels."""
        rows = self.split[name]
        return self.images_nhwc[rows.start : rows.stop], self.labels[rows.start : rows.stop]

    def items(self) -> Iterator[PinnedItem]:
        """The rows of items.jsonl, in the pictures' order."""
        with (self.folder / "items.jsonl").open(encoding="utf-8") as file:
            for line in file:
                yield PinnedItem(**json.loads(line))


def write_pinned(
    folder: Path,
    *,
    images: Iterable[Picture],
    items: Sequence[PinnedItem],
    label_names: Sequence[str],
    transform: Mapping[str, Any],
    source: Mapping[str, Any],
    rejected: Sequence[Mapping[str, Any]] = (),
    duplicates: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Write a pinned dataset's files into an existing folder and return its digest.

    `images` yields one H×W×C picture (premultiplied) per item, in the items' order, which must be
    train, validation, test. Call inside `core.files.atomic_folder`. `transform` holds `size_px`
    and `channels`.
    """
    order = [SPLITS.index(item.split) for item in items]
    if order != sorted(order):
        raise ValueError("items must be ordered train, validation, test")
    index = {name: position for position, name in enumerate(label_names)}
    labels = np.array([index[item.label] for item in items], dtype=np.int64)
    size_px, channels = transform["size_px"], transform["channels"]
    files = {"images.npy": _write_images(folder, images, (len(items), size_px, size_px, channels))}
    arrays = {"labels.npy": labels}
    if any(item.score is not None for item in items):
        arrays["scores.npy"] = np.array([item.score for item in items], dtype=np.float64)
    for name, array in arrays.items():
        np.save(folder / name, array)
    tables: dict[str, Iterable[Mapping[str, Any]]] = {
        "items.jsonl": (_row(item) for item in items),
        "rejected.jsonl": rejected,
        "duplicates.jsonl": duplicates,
    }
    for name, rows in tables.items():
        write_bytes(folder / name, "".join(canonical_json(row) + "\n" for row in rows).encode())
    for name in (*arrays, *tables):
        files[name] = digest_file(folder / name)
    licences = dict(sorted(Counter(item.licence for item in items).items()))
    counts = Counter((item.label, item.split) for item in items)
    facts = {
        "format": FORMAT,
        "count": len(items),
        "transform": {**transform, "alpha": "premultiplied" if channels == 4 else "none"},
        "labels": list(label_names),
        "split": _ranges(order),
        "counts": {name: {part: counts[name, part] for part in SPLITS} for name in label_names},
        "licences": licences,
        "licence": " AND ".join(licences) or "unknown",
        "redistributable": redistributable(licences),
        "source": dict(source),
        "files": files,
    }
    digest = digest_of(facts)
    write_json(folder / DONE, facts | {"digest": digest})
    return digest


def amend_pinned(folder: Path, *, files: Sequence[str], facts: Mapping[str, Any]) -> str:
    """Add files and facts to a pinned dataset that is not yet in use; returns its new digest."""
    known = read_json(folder / DONE)
    del known["digest"]
    known["files"] |= {name: digest_file(folder / name) for name in files}
    known |= facts
    digest = digest_of(known)
    write_json(folder / DONE, known | {"digest": digest})
    return digest


def open_pinned(folder: Path, *, verify: bool = False) -> PinnedDataset:
    """Open a pinned dataset; with `verify`, every file's digest is checked (reads all of it).

    Raises UserError when it is missing, altered, or of another format.
    """
    if not (folder / DONE).exists():
        hint = f"make it with `python jobs/prepare.py --source PICTURES --out {folder}`"
        raise UserError(f"{folder} is not a pinned dataset (it has no {DONE}): {hint}")
    facts = read_json(folder / DONE)
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
        raise UserError(f"{folder / DONE} has format {found!r}, not {FORMAT!r}: prepare again")
    digest = facts["digest"]
    if digest != digest_of({key: value for key, value in facts.items() if key != "digest"}):
        raise UserError(f"{folder / DONE} was altered: its digest does not match; prepare again")
    for name, expected in facts["files"].items() if verify else ():
        if not (folder / name).is_file() or digest_file(folder / name) != expected:
            raise UserError(f"{folder / name} was altered: its digest does not match")
    size_px, channels = facts["transform"]["size_px"], facts["transform"]["channels"]
    shape = (facts["count"], size_px, size_px, channels)
    return PinnedDataset(
        folder=folder,
        images_nhwc=_load(folder / "images.npy", shape, np.dtype(np.uint8), mapped=True),
        labels=_load(folder / "labels.npy", shape[:1], np.dtype(np.int64), mapped=False),
        scores=_load(folder / "scores.npy", shape[:1], np.dtype(np.float64), mapped=False)
        if "scores.npy" in facts["files"]
        else None,
        latents=_load(folder / LATENTS, _latents_shape(facts), np.dtype(np.float16), mapped=True)
        if LATENTS in facts["files"]
        else None,
        label_names=tuple(facts["labels"]),
        split={name: range(*facts["split"][name]) for name in SPLITS},
        size_px=size_px,
        channels=channels,
        digest=digest,
        licence=facts["licence"],
        redistributable=facts["redistributable"],
        facts=facts,
    )


def redistributable(licences: Iterable[str]) -> bool | None:
    """May works derived from pictures under these licences be passed on, with their conditions?

    True when every licence is a known open one, False when one forbids it, None when unknown.
    """
    verdicts = [_verdict(licence) for licence in licences]
    if False in verdicts:
        return False
    return True if verdicts and None not in verdicts else None


def _verdict(licence: str) -> bool | None:
    """Of licences that all hold, and of each the best of those that may be chosen."""
    verdicts = [
        [_verdict_of_one(one) for one in re.split(r"\s+or\s+(?!later)", every, flags=re.IGNORECASE)]
        for every in re.split(r"\s+and\s+", licence, flags=re.IGNORECASE)
    ]
    best = [True if True in each else None if None in each else False for each in verdicts]
    return False if False in best else None if None in best else True


def _verdict_of_one(licence: str) -> bool | None:
    """False where anything in it forbids passing on; True only where all of it is known."""
    bare = re.sub(r"\(?https?://\S+", "", licence.lower())
    name = re.sub(r"[\s_,]+", "-", bare.strip())
    if _CLOSED_LICENCES.search(name):
        return False
    return True if _OPEN_LICENCES.fullmatch(name) else None


def _ranges(order: Sequence[int]) -> dict[str, list[int]]:
    ends = np.searchsorted(np.array(order, dtype=np.int64), range(len(SPLITS) + 1)).tolist()
    return {name: [ends[k], ends[k + 1]] for k, name in enumerate(SPLITS)}


def _row(item: PinnedItem) -> dict[str, Any]:
    return {key: value for key, value in vars(item).items() if value is not None}


def _write_images(folder: Path, images: Iterable[Picture], shape: tuple[int, ...]) -> str:
    """Stream pictures into images.npy; its SHA-256. Hashing while writing saves a second read."""
    sha256 = hashlib.sha256()
    written = 0
    with (folder / "images.npy").open("w+b", buffering=2**20) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.seek(0)
        sha256.update(file.read())
        for image_hwc in images:
            if image_hwc.shape != shape[1:] or image_hwc.dtype != np.uint8:
                raise ValueError(f"picture {written} is {image_hwc.shape}, not {shape[1:]}")
            data = np.ascontiguousarray(image_hwc).data
            sha256.update(data)
            file.write(data)
            written += 1
    if written != shape[0]:
        raise ValueError(f"{written} pictures for {shape[0]} items")
    return sha256.hexdigest()


def _latents_shape(facts: Mapping[str, Any]) -> tuple[int, ...]:
    return (facts["count"], 2, *facts["encoder"]["latent_chw"])


def _load(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, mapped: bool) -> Any:
    # A map of zero bytes cannot be made: an empty dataset is read instead.
    mode: Literal["r"] | None = "r" if mapped and shape[0] else None
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: prepare the dataset again") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error}): prepare the dataset again") from None
    if array.shape != shape or array.dtype != dtype:
        raise UserError(f"{path} holds {array.dtype} {array.shape}, not {dtype} {shape}")
    return array
