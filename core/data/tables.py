"""Pictures in tables: Parquet files and Hugging Face data sets (the only importer of datasets)."""

import dataclasses
import functools
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.data.decode import MAX_BYTES, UnreadableError
from core.data.sources import SPLIT_NAMES, Entry, Listing
from core.errors import UserError

_EXTRA_COLUMNS = ("split", "licence", "license", "source", "sha256", "score", "tags")


@dataclasses.dataclass(frozen=True)
class ParquetSource:
    """One Parquet file, or a folder of them; pictures as bytes or as {bytes, path}."""

    path: Path
    image_column: str
    label_column: str
    kind: str = "parquet"
    default_label: str | None = None
    """The class of rows that state none (a missing column, too); else they are rejected."""
    caption_column: str | None = None
    """A column whose text is kept in each entry's `extra`."""

    def listing(self) -> Listing:
        """Read every column but the pictures; a shard that cannot be read is rejected by name."""
        entries: list[Entry] = []
        rejected: dict[str, str] = {}
        files = parquet_files(self.path)
        for file in files:
            name = file.name if file == self.path else file.relative_to(self.path).as_posix()
            try:
                entries += list(self._rows(file, name))
            except (pa.ArrowException, OSError) as error:
                if len(files) == 1:
                    reason = _first_line(error)
                    raise UserError(f"{file} cannot be read as Parquet: {reason}") from None
                rejected[name] = f"damaged Parquet file: {_first_line(error)}"
        entries = _labelled(entries, rejected, self.default_label)
        return Listing(entries=sorted(entries, key=lambda entry: entry.name), rejected=rejected)

    def read(self, entry: Entry) -> bytes:
        """One row's encoded picture; rows are read a row group at a time."""
        path, group, row = entry.locator
        try:
            stamp = os.stat(path).st_mtime_ns
            value = _row_group(path, stamp, group, self.image_column)[row].as_py()
        except (pa.ArrowException, OSError) as error:
            raise UnreadableError(f"damaged row group: {_first_line(error)}") from None
        return _bytes_of(value)

    def _rows(self, file: Path, name: str) -> Iterator[Entry]:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            unneeded = self.label_column if self.default_label is not None else None
            for column in (self.image_column, self.label_column):
                if column not in schema.names and column != unneeded:
                    raise UserError(
                        f"{file} has no column {column!r}; it has {', '.join(schema.names)} "
                        "(choose with --image-column and --label-column)"
                    )
            names = _class_names(schema, self.label_column)
            wanted = (self.label_column, *_EXTRA_COLUMNS, self.caption_column)
            columns = [key for key in wanted if key and key in schema.names]
            shard_split = _split_of_file_name(file)
            for group in range(parquet.num_row_groups):
                for row, values in enumerate(_rows_of(parquet, group, columns)):
                    yield _entry(
                        values,
                        name=f"{name}#{group:04d}-{row:06d}",
                        label=_label_text(values.get(self.label_column), names),
                        locator=(str(file), group, row),
                        split=shard_split,
                        caption_column=self.caption_column,
                    )


@dataclasses.dataclass(frozen=True)
class HuggingFaceSource:
    """A Hugging Face data set, on disk or on the hub, through the real loader."""

    parts: dict[str, Any]
    """Split name to `datasets.Dataset`, pictures undecoded; it pickles as references to files."""
    image_column: str
    label_column: str
    kind: str = "huggingface"
    default_label: str | None = None
    """The class of rows that state none (a missing column, too); else they are rejected."""
    caption_column: str | None = None
    """A column whose text is kept in each entry's `extra`."""
    roots: tuple[str, ...] | None = None
    """When given, only picture files below these folders are read: a row may name any file."""

    def listing(self) -> Listing:
        """Every row of every split."""
        entries: list[Entry] = []
        rejected: dict[str, str] = {}
        for part, dataset in sorted(self.parts.items()):
            names = getattr(dataset.features.get(self.label_column), "names", None)
            wanted = (self.label_column, *_EXTRA_COLUMNS, self.caption_column)
            columns = [key for key in wanted if key in dataset.column_names]
            table = dataset.select_columns(columns) if columns else [{}] * len(dataset)
            entries += [
                _entry(
                    values,
                    name=f"{part}/{row:07d}",
                    label=_label_text(values.get(self.label_column), names),
                    locator=(part, row),
                    split=SPLIT_NAMES.get(part.lower()),
                    caption_column=self.caption_column,
                )
                for row, values in enumerate(table)
            ]
        return Listing(entries=_labelled(entries, rejected, self.default_label), rejected=rejected)

    def read(self, entry: Entry) -> bytes:
        """One row's encoded picture."""
        part, row = entry.locator
        value = self.parts[part][row][self.image_column]
        if isinstance(value, dict) and value.get("bytes") is None and value.get("path"):
            self._check_place(value["path"])
            try:
                with open(value["path"], "rb") as file:
                    return file.read(MAX_BYTES + 1)
            except OSError as error:
                raise UnreadableError((error.strerror or "it cannot be read").lower()) from None
        return _bytes_of(value)

    def _check_place(self, path: str) -> None:
        place = Path(os.path.realpath(path))
        if self.roots is not None and not any(place.is_relative_to(root) for root in self.roots):
            raise UnreadableError("its row names a file outside of the data set")


def open_hugging_face(name: str, *, image_column: str, label_column: str) -> HuggingFaceSource:
    """Load a data set by hub name or local folder; UserError with the loader's reason."""
    loaded, _ = _load(name, contained=False)
    return _hugging_face_source(name, loaded, image_column, label_column)


def open_contained(
    name: str, *, image_column: str, label_column: str, default_label: str | None = None
) -> HuggingFaceSource:
    """Load a stranger's data set so that neither its card nor a row makes it read other files."""
    loaded, roots = _load(name, contained=True)
    source = _hugging_face_source(name, loaded, image_column, label_column, default_label)
    return dataclasses.replace(source, roots=roots)


def _hugging_face_source(
    name: str,
    loaded: Any,
    image_column: str,
    label_column: str,
    default_label: str | None = None,
) -> HuggingFaceSource:
    import datasets

    parts = dict(loaded) if isinstance(loaded, dict) else {str(loaded.split or "all"): loaded}
    unneeded = label_column if default_label is not None else None
    for part, dataset in parts.items():
        for column in (image_column, label_column):
            if column not in dataset.column_names and column != unneeded:
                raise UserError(
                    f"{name} ({part}) has no column {column!r}; it has "
                    f"{', '.join(dataset.column_names)} (--image-column, --label-column)"
                )
        if isinstance(dataset.features[image_column], datasets.Image):
            parts[part] = dataset.cast_column(image_column, datasets.Image(decode=False))
    return HuggingFaceSource(parts, image_column, label_column, default_label=default_label)


def _load(name: str, *, contained: bool) -> tuple[Any, tuple[str, ...]]:
    """A data set, and the folders that its files lie in."""
    import datasets

    try:
        if os.path.isdir(name) and is_saved_to_disk(Path(name)):
            return datasets.load_from_disk(name), (os.path.realpath(name),)
        return _load_contained(name) if contained else (datasets.load_dataset(name), ())
    except UserError:
        raise
    except Exception as error:  # the loader and its network layer raise dozens of types
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise UserError(f"the data set {name!r} cannot be loaded: {reason}") from None


def _load_contained(name: str) -> tuple[Any, tuple[str, ...]]:
    """A data set whose card names no files but its own, on the hub or in its folder."""
    import datasets
    from huggingface_hub import constants

    builder = datasets.load_dataset_builder(name)
    local = os.path.isdir(name)
    own = os.path.realpath(name) + os.sep if local else f"hf://datasets/{name}@"
    for files in (builder.config.data_files or {}).values():
        for file in files:
            place = os.path.realpath(file) if local else str(file)
            if not place.startswith(own) or ".." in place or "::" in place:
                raise UserError(f"the data set {name!r} names files outside of itself: refused")
    builder.download_and_prepare()
    caches = (datasets.config.HF_DATASETS_CACHE, datasets.config.DOWNLOADED_DATASETS_PATH)
    roots = (name,) if local else (*caches, constants.HF_HUB_CACHE)
    return builder.as_dataset(), tuple(os.path.realpath(root) for root in roots)


def _labelled(
    entries: Sequence[Entry], rejected: dict[str, str], default_label: str | None
) -> list[Entry]:
    """The entries with a label; those without get the default one, or are rejected."""
    kept = []
    for entry in entries:
        if entry.label:
            kept.append(entry)
        elif default_label is not None:
            kept.append(dataclasses.replace(entry, label=default_label))
        else:
            rejected[entry.name] = "it has no label"
    return kept


def _rows_of(parquet: pq.ParquetFile, group: int, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a group; of no column, Arrow would forget how many there are."""
    if not columns:
        return [{}] * int(parquet.metadata.row_group(group).num_rows)
    rows: list[dict[str, Any]] = parquet.read_row_group(group, columns=list(columns)).to_pylist()
    return rows


def is_saved_to_disk(folder: Path) -> bool:
    """Was this folder written by `datasets.save_to_disk`?"""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or all Parquet files below a folder, sorted."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*.parquet") if file.is_file())


def _entry(
    values: dict[str, Any],
    *,
    name: str,
    label: str,
    locator: Any,
    split: str | None,
    caption_column: str | None = None,
) -> Entry:
    text = {key: str(value) for key, value in values.items() if value not in (None, "", [])}
    return Entry(
        name=name,
        label=label,
        locator=locator,
        split=SPLIT_NAMES.get(text.get("split", "").lower(), split),
        licence=text.get("licence", text.get("license")),
        source=text.get("source"),
        sha256=text.get("sha256"),
        score=_score(values.get("score")),
        tags=_tags(values.get("tags")),
        extra={caption_column: values.get(caption_column)} if caption_column else None,
    )


def _tags(value: Any) -> tuple[str, ...]:
    """A list of texts; anything else says nothing."""
    found = value if isinstance(value, list) else []
    return tuple(tag for tag in found if isinstance(tag, str) and tag)


def _score(value: Any) -> float | None:
    """A finite number; tables write NaN where there is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _label_text(value: Any, names: Sequence[str] | None) -> str:
    """A class number by its name where names are known; "" where there is no label."""
    if value is None or value == -1:
        return ""
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else ""
    return str(value)


def _class_names(schema: pa.Schema, column: str) -> Sequence[str] | None:
    """The names of a ClassLabel column, which Hugging Face keeps in the schema's metadata."""
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])
        names = stored["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return [str(name) for name in names]


def _split_of_file_name(file: Path) -> str | None:
    """`train-00000-of-00002.parquet`, or `train/0000.parquet`."""
    return SPLIT_NAMES.get(file.stem.split("-")[0].lower(), SPLIT_NAMES.get(file.parent.name))


@functools.lru_cache(maxsize=1)
def _row_group(path: str, stamp: int, group: int, column: str) -> Any:
    with pq.ParquetFile(path) as parquet:
        return parquet.read_row_group(group, columns=[column]).column(0)


def _bytes_of(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise UnreadableError("the row holds no picture bytes")
    return data


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
