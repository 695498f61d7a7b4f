"""From pictures anywhere to a pinned dataset: read, reject, transform, group, split, write.

The same pictures and the same config give the same bytes, whatever the number of workers.
"""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from core.collection import METADATA, collection_digest, read_collection
from core.config import config_to_dict, differing_fields, load_config, save_config
from core.data.decode import UnreadableError
from core.data.duplicates import Level, find_groups
from core.data.encode import encode_dataset, is_encoded_by, require_fitting
from core.data.pinned import (
    DONE,
    SPLITS,
    PinnedDataset,
    PinnedItem,
    SplitName,
    open_pinned,
    write_pinned,
)
from core.data.samples import SampleSetSource, is_sample_set
from core.data.scan import Scan, Scanned, ScanSettings, remove_scratch, scan
from core.data.sources import (
    Entry,
    FolderSource,
    Listing,
    Source,
    StarterSource,
    ZipSource,
    check_digest,
)
from core.data.split import assign_splits, check_fractions
from core.data.tables import ParquetSource, is_saved_to_disk, open_hugging_face, parquet_files
from core.data.transform import ColourSpace, Policy, Resample, SquareTransform, with_alpha
from core.errors import UserError
from core.files import atomic_folder, digest_bytes, digest_of
from core.images import Picture, over
from core.sampleset import open_sample_set

SIZES_PX = (8, 1024)
_STARTER_PX = (32, 512)
_CONFIG = "config.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """All that a pinned dataset depends on, besides the pictures themselves."""

    source: str = "starter"
    """Where the pictures are: `starter` (the built-in animals); a folder of class folders; a folder
    with metadata.jsonl; a .zip of either; a .parquet file, or a folder of them; a sample set; a
    folder written by Hugging Face's save_to_disk; or a data set on its hub, OWNER/NAME or
    hf:NAME."""
    size_px: int = 64
    """Side of the square pictures, in pixels."""
    policy: Policy = "crop"
    """How a picture becomes square. `crop`: its centred square, cutting off the longer side's ends.
    `pad`: the whole picture, with clear bars (or bars in the background colour). `cover`: the
    square that holds the subject — all that is not clear, with a 4 % margin; for a picture without
    transparency, that stretch of the longer side with most edges in it, a guess."""
    resample: Resample = "area"
    """How it is shrunk. `area`: the mean of the covered pixels; `lanczos`: sharper, may ring."""
    colour_space: ColourSpace = "linear"
    """What is averaged. `linear`: light, as an eye far away would; `srgb`: coded values, as most
    tools do, which darkens fine detail."""
    channels: Literal["auto", "3", "4"] = "auto"
    """3 (RGB), 4 (RGB and alpha), or `auto`: 4 when any picture has real transparency."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Red, green and blue (0 to 255) behind transparency and in bars when there are 3 channels."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, validation and test, summing to 1."""
    keep_split: bool = False
    """Keep the split that the source states; pictures without one are split by `split`."""
    seed: int = 0
    """Decides the split and, for `starter`, the first animal's seed."""
    duplicates: Level = "moved"
    """Which copies must share a split. `exact`: same bytes or same pixels; `near`: also re-encoded,
    resized, mirrored, brightened or slightly cropped ones; `moved`: also shifted, turned or zoomed
    ones of pictures without transparency, which takes about 1 ms longer per picture."""
    per_class: int = 500
    """Animals drawn per class (`starter` only)."""
    relabel: tuple[str, ...] = ()
    """Labels to rename or merge, each OLD=NEW, such as kitten=cat."""
    classes: tuple[str, ...] = ()
    """Labels to keep, after renaming; all of them when none is named."""
    licence: str = "unknown"
    """Licence of pictures that do not state one, such as CC0-1.0 (SPDX identifiers are best)."""
    image_column: str = "image"
    """Column with the pictures (Parquet and Hugging Face)."""
    label_column: str = "label"
    """Column with the labels (Parquet and Hugging Face)."""
    min_side_px: int = 8
    """Pictures with a shorter side below this are rejected."""
    max_aspect: float = 20.0
    """Pictures longer than this many times their width, or the reverse, are rejected."""
    max_megapixels: float = 100.0
    """Pictures with more pixels than this are rejected: they may be decompression bombs."""
    encode: str | None = None
    """Also write each picture as the latents of an autoencoder (diffusers' AutoencoderKL, -Tiny or
    -DC), which training then uses: for 256 px and more. Its folder, or on the hub OWNER/NAME or
    OWNER/NAME/FOLDER."""

    def __post_init__(self) -> None:
        if not SIZES_PX[0] <= self.size_px <= SIZES_PX[1]:
            raise UserError(f"size_px is {self.size_px}: give {SIZES_PX[0]} to {SIZES_PX[1]}")
        check_fractions(self.split)
        if any(not 0 <= value <= 255 for value in self.background):
            raise UserError(f"background is {self.background}: give three numbers from 0 to 255")
        if self.per_class < 1:
            raise UserError(f"per_class is {self.per_class}: give 1 or more")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}: give 0 or more")
        if self.min_side_px < 1 or self.max_aspect < 1 or not 0 < self.max_megapixels <= 1000:
            raise UserError(
                "min_side_px and max_aspect must be 1 or more, max_megapixels 0 to 1000; they are "
                f"{self.min_side_px}, {self.max_aspect} and {self.max_megapixels}"
            )
        if not self.licence.strip():
            raise UserError("licence is empty: name one, or leave it at unknown")
        for rule in self.relabel:
            if not re.fullmatch(r"[^=]+=[^=]+", rule):
                raise UserError(f"relabel is given {rule!r}: write OLD=NEW, such as kitten=cat")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `prepare` made or found."""

    dataset: PinnedDataset
    reused: bool
    """It was there already, made from the same pictures by the same config."""
    rejected: int
    ignored: int
    """Files of the source that do not look like pictures."""


def prepare(config: PrepareConfig, out: Path, *, workers: int = 1) -> Prepared:
    """Make the pinned dataset in `out`, or find it there already.

    Raises UserError when the source cannot be used, holds no good picture, or `out` holds something
    else.
    """
    finished = _finished(config, out)
    source = open_source(config)
    listing = _choose(source.listing(), config)
    if finished:
        _check_unchanged(finished, source, listing, config)
        _check_same_autoencoder(finished, config)
        return _prepared(finished, listing, reused=True)
    autoencoder = _autoencoder(config)
    with atomic_folder(out) as folder:
        scanned = scan(
            source, listing.entries, _scan_settings(config), folder=folder, workers=workers
        )
        _write(config, source, listing, scanned, folder, autoencoder)
        remove_scratch(folder)
        if autoencoder is not None:
            encode_dataset(folder, autoencoder)
        save_config(config, folder / _CONFIG)
    return _prepared(open_pinned(out), listing, reused=False)


def open_source(config: PrepareConfig) -> Source:
    """The source that the config names; UserError lists what would have been valid."""
    name = config.source
    columns = {"image_column": config.image_column, "label_column": config.label_column}
    if name == "starter":
        side = min(max(2 * config.size_px, _STARTER_PX[0]), _STARTER_PX[1])
        return StarterSource(config.per_class, config.seed, side)
    if name.startswith("hf:"):
        return open_hugging_face(name.removeprefix("hf:"), **columns)
    path = Path(name)
    if path.is_file():
        if path.suffix.lower() == ".zip":
            return ZipSource(path)
        if path.suffix.lower() == ".parquet":
            return ParquetSource(path, **columns)
        raise UserError(f"{path} is a file, but neither a .zip nor a .parquet")
    if path.is_dir():
        if is_sample_set(path):
            return SampleSetSource(open_sample_set(path, verify=True))
        if is_saved_to_disk(path):
            return open_hugging_face(name, **columns)
        return ParquetSource(path, **columns) if parquet_files(path) else FolderSource(path)
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        return open_hugging_face(name, **columns)
    raise UserError(
        f"there is no source {name!r}: give `starter`, a folder, a .zip, a .parquet, or a "
        "Hugging Face data set as OWNER/NAME or hf:NAME"
    )


def _autoencoder(config: PrepareConfig) -> Any:
    """The autoencoder that the config names, or None; opened early: what is wrong shows at once."""
    if config.encode is None:
        return None
    from core.diffusion.autoencoder import open_autoencoder

    autoencoder = open_autoencoder(config.encode)
    # Elsewhere `auto` is known only once the pictures are; all drawn animals have alpha.
    auto = 4 if config.source == "starter" else int(autoencoder.config.in_channels)
    channels = auto if config.channels == "auto" else int(config.channels)
    require_fitting(autoencoder, size_px=config.size_px, channels=channels)
    return autoencoder


def _choose(listing: Listing, config: PrepareConfig) -> Listing:
    """Rename and filter labels."""
    names = dict(rule.split("=") for rule in config.relabel)
    found = sorted({entry.label for entry in listing.entries})
    missing = sorted(set(names) - set(found))
    if missing:
        raise UserError(f"relabel names {missing}, but the source's labels are {found}")
    entries = [
        dataclasses.replace(entry, label=names.get(entry.label, entry.label))
        for entry in listing.entries
    ]
    found = sorted({entry.label for entry in entries})
    missing = sorted(set(config.classes) - set(found))
    if missing:
        raise UserError(f"classes names {missing}, but the labels are {found}")
    if config.classes:
        entries = [entry for entry in entries if entry.label in config.classes]
    if not entries:
        first = "".join(f"; {name}: {why}" for name, why in sorted(listing.rejected.items())[:1])
        raise UserError(f"{config.source} holds no picture that can be used{first}")
    return dataclasses.replace(listing, entries=entries)


def _scan_settings(config: PrepareConfig) -> ScanSettings:
    transform = SquareTransform(
        size_px=config.size_px,
        policy=config.policy,
        resample=config.resample,
        colour_space=config.colour_space,
        channels=3 if config.channels == "3" else None,
        background_rgb=config.background,
    )
    return ScanSettings(
        transform=transform,
        min_side_px=config.min_side_px,
        max_aspect=config.max_aspect,
        max_megapixels=config.max_megapixels,
    )


def _write(
    config: PrepareConfig,
    source: Source,
    listing: Listing,
    scanned: Scan,
    folder: Path,
    autoencoder: Any,
) -> None:
    results = scanned.results
    good = [row for row, result in enumerate(results) if result.reason is None]
    rejected = dict(listing.rejected)
    for entry, result in zip(listing.entries, results, strict=True):
        if result.reason is not None:
            rejected[entry.name] = result.reason
    if not good:
        name, reason = min(rejected.items())
        raise UserError(
            f"{config.source} holds no picture that can be used: all {len(rejected)} were "
            f"rejected, such as {name}: {reason}"
        )
    entries = [listing.entries[row] for row in good]
    kept = [results[row] for row in good]
    channels = _channels(config, kept)
    if autoencoder is not None:
        require_fitting(autoencoder, size_px=config.size_px, channels=channels)
    groups = _groups(config, kept, scanned.thumbs_nhwc[good])
    splits = _splits(config, entries, kept, groups)
    order = sorted(
        range(len(good)),
        key=lambda k: (SPLITS.index(splits[k]), entries[k].label, entries[k].name),
    )
    items = [_item(config, entries[k], kept[k], splits[k], groups[k]) for k in order]
    write_pinned(
        folder,
        images=_images(scanned, [good[k] for k in order], channels, config.background),
        items=items,
        label_names=sorted({item.label for item in items}),
        transform=_transform_facts(config, channels),
        source=_source_facts(config, source, listing, items),
        rejected=[{"file_name": n, "reason": why} for n, why in sorted(rejected.items())],
        duplicates=_duplicate_rows(items, kept, order),
    )


def _channels(config: PrepareConfig, kept: Sequence[Scanned]) -> int:
    if config.channels == "auto":
        return 4 if any(result.transparent for result in kept) else 3
    return int(config.channels)


def _groups(config: PrepareConfig, kept: Sequence[Scanned], thumbs: Any) -> list[int]:
    digests = [[r.sha256 for r in kept], [r.pixels_sha256 for r in kept]]
    return [int(group) for group in find_groups(digests, thumbs, level=config.duplicates)]


def _splits(
    config: PrepareConfig, entries: Sequence[Entry], kept: Sequence[Scanned], groups: Sequence[int]
) -> list[SplitName]:
    stated: list[SplitName | None] | None = None
    if config.keep_split:
        stated = [next((s for s in SPLITS if s == entry.split), None) for entry in entries]
        if not any(stated):
            raise UserError(
                f"{config.source} states no split: drop --keep-split, or give one in a `split` "
                "column, split folders (train/cat/1.png) or Parquet file names"
            )
    return assign_splits(
        [result.sha256 for result in kept],
        [entry.label for entry in entries],
        groups,
        fractions=config.split,
        seed=config.seed,
        stated=stated,
    )


def _item(
    config: PrepareConfig, entry: Entry, result: Scanned, split: SplitName, group: int
) -> PinnedItem:
    return PinnedItem(
        file_name=entry.name,
        sha256=result.sha256,
        label=entry.label,
        split=split,
        group=group,
        licence=entry.licence or config.licence,
        source=entry.source,
        score=entry.score,
    )


def _images(
    scanned: Scan, rows: Sequence[int], channels: int, background: tuple[int, int, int]
) -> Iterator[Picture]:
    for row in rows:
        image_hwc = scanned.image_hwc(row)
        # Where three are kept of four, alpha is 255, or 0 in the bars.
        yield with_alpha(image_hwc) if channels == 4 else over(image_hwc, background)


def _transform_facts(config: PrepareConfig, channels: int) -> dict[str, Any]:
    keys = ("size_px", "policy", "resample", "colour_space", "min_side_px", "max_aspect")
    values = config_to_dict(config)
    facts = {key: values[key] for key in (*keys, "max_megapixels", "background")}
    return facts | {"channels": channels}


def _source_facts(
    config: PrepareConfig, source: Source, listing: Listing, items: Sequence[PinnedItem]
) -> dict[str, Any]:
    values = config_to_dict(config)
    keys = ("split", "keep_split", "seed", "duplicates", "relabel", "classes")
    facts = {key: values[key] for key in keys} | {"kind": source.kind, "listing": _stated(listing)}
    if isinstance(source, StarterSource):
        facts["per_class"] = config.per_class
    if isinstance(source, FolderSource) and (source.root / METADATA).is_file():
        # Of a frozen revision, this is the digest by which people know it.
        facts["collection_digest"] = collection_digest(read_collection(source.root)[0])
    if isinstance(source, SampleSetSource):
        facts["sample_set_digest"] = source.sample_set.digest
    facts["stated_origins"] = sorted({item.source for item in items if item.source})[:100]
    return facts


def _stated(listing: Listing) -> str:
    """Digest of all that the source says about its pictures, besides their bytes."""
    return digest_of(
        [
            [e.name, e.label, e.split, e.licence, e.source, e.sha256, e.score]
            for e in listing.entries
        ]
    )


def _duplicate_rows(
    items: Sequence[PinnedItem], kept: Sequence[Scanned], order: Sequence[int]
) -> list[dict[str, Any]]:
    members: dict[int, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        members[item.group].append(place)
    rows = []
    for group, places in sorted(members.items()):
        if len(places) < 2:
            continue
        same = len({kept[order[place]].pixels_sha256 for place in places}) == 1
        labels = sorted({items[place].label for place in places})
        rows.append(
            {
                "group": group,
                "kind": "exact" if same else "near",
                "labels": labels,
                "file_names": sorted(items[place].file_name for place in places),
            }
        )
    return rows


def _finished(config: PrepareConfig, out: Path) -> PinnedDataset | None:
    """The dataset in `out`, when the same config made it."""
    if not (out / DONE).exists():
        return None
    dataset = open_pinned(out)
    before = load_config(PrepareConfig, out / _CONFIG)
    changed = [name for name in differing_fields(before, config) if name != "source"]
    if changed:
        was = ", ".join(f"{n} {getattr(before, n)!r}, now {getattr(config, n)!r}" for n in changed)
        raise UserError(f"{out} was made with other settings ({was}): name another --out")
    return dataset


def _check_unchanged(
    dataset: PinnedDataset, source: Source, listing: Listing, config: PrepareConfig
) -> None:
    """UserError unless the source still holds what the dataset was made from.

    All bytes are read again, without decoding. Of drawn animals only the first of each class is
    drawn again: drawing is all the work.
    """
    changed = UserError(
        f"{dataset.folder} was made from other pictures than {config.source} holds now: "
        "name another --out, or remove it first"
    )
    if dataset.facts["source"]["listing"] != _stated(listing):
        raise changed
    known = {item.file_name: item.sha256 for item in dataset.items()}
    seen: set[str] = set()
    for entry in listing.entries:
        if entry.name not in known or (source.kind == "starter" and entry.label in seen):
            continue
        seen.add(entry.label)
        try:
            found = source.read(entry)
            if isinstance(found, bytes):
                digest = check_digest(entry, found)
            else:
                digest = digest_bytes(found.tobytes())
        except UnreadableError:
            raise changed from None
        if digest != known[entry.name]:
            raise changed


def _check_same_autoencoder(dataset: PinnedDataset, config: PrepareConfig) -> None:
    """UserError unless the autoencoder's folder, while it is there, holds what it held."""
    if config.encode is None or not Path(config.encode).is_dir():
        return
    from core.diffusion.autoencoder import open_autoencoder

    if not is_encoded_by(dataset, open_autoencoder(config.encode)):
        raise UserError(
            f"{dataset.folder} was made from another autoencoder than {config.encode} holds now: "
            "name another --out, or remove it first"
        )


def _prepared(dataset: PinnedDataset, listing: Listing, *, reused: bool) -> Prepared:
    with (dataset.folder / "rejected.jsonl").open("rb") as file:
        rejected = sum(1 for _ in file)
    return Prepared(dataset=dataset, reused=reused, rejected=rejected, ignored=listing.ignored)
