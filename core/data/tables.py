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

_EXTRA_COLUMNS = ("split", "licence", "license", "source", "sha256", "score")


@dataclasses.dataclass(frozen=True)
class ParquetSource:
    """One Parquet file, or a folder of them; pictures as bytes or as {bytes, path}."""

    path: Path
    image_column: str
    label_column: str
    kind: str = "parquet"

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
        unlabelled = [entry for entry in entries if not entry.label]
        rejected.update({entry.name: "it has no label" for entry in unlabelled})
        kept = [entry for entry in entries if entry.label]
        return Listing(entries=sorted(kept, key=lambda entry: entry.name), rejected=rejected)

    def read(self, entry: Entry) -> bytes:
        """One row's encoded picture; rows are read a row group at a time."""
        path, group, row = entry.locator
        try:
            value = _row_group(path, group, self.image_column)[row].as_py()
        except (pa.ArrowException, OSError) as error:
            raise UnreadableError(f"damaged row group: {_first_line(error)}") from None
        return _bytes_of(value)

    def _rows(self, file: Path, name: str) -> Iterator[Entry]:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            for column in (self.image_column, self.label_column):
                if column not in schema.names:
                    raise UserError(
                        f"{file} has no column {column!r}; it has {', '.join(schema.names)} "
                        "(choose with --image-column and --label-column)"
                    )
            names = _class_names(schema, self.label_column)
            columns = [key for key in _EXTRA_COLUMNS if key in schema.names]
            shard_split = _split_of_file_name(file)
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, columns=[self.label_column, *columns])
                for row, values in enumerate(table.to_pylist()):
                    yield _entry(
                        values,
                        name=f"{name}#{group:04d}-{row:06d}",
                        label=_label_text(values[self.label_column], names),
                        locator=(str(file), group, row),
                        split=shard_split,
                    )


@dataclasses.dataclass(frozen=True)
class HuggingFaceSource:
    """A Hugging Face data set, on disk or on the hub, through the real loader."""

    parts: dict[str, Any]
    """Split name to `datasets.Dataset`, pictures undecoded; it pickles as references to files."""
    image_column: str
    label_column: str
    kind: str = "huggingface"

    def listing(self) -> Listing:
        """Every row of every split."""
        entries: list[Entry] = []
        rejected: dict[str, str] = {}
        for part, dataset in sorted(self.parts.items()):
            feature = dataset.features[self.label_column]
            names = getattr(feature, "names", None)
            columns = [key for key in _EXTRA_COLUMNS if key in dataset.column_names]
            table = dataset.select_columns([self.label_column, *columns])
            for row, values in enumerate(table):
                entry = _entry(
                    values,
                    name=f"{part}/{row:07d}",
                    label=_label_text(values[self.label_column], names),
                    locator=(part, row),
                    split=SPLIT_NAMES.get(part.lower()),
                )
                if entry.label:
                    entries.append(entry)
                else:
                    rejected[entry.name] = "it has no label"
        return Listing(entries=entries, rejected=rejected)

    def read(self, entry: Entry) -> bytes:
        """One row's encoded picture."""
        part, row = entry.locator
        value = self.parts[part][row][self.image_column]
        if isinstance(value, dict) and value.get("bytes") is None and value.get("path"):
            try:
                with open(value["path"], "rb") as file:
                    return file.read(MAX_BYTES + 1)
            except OSError as error:
                raise UnreadableError((error.strerror or "it cannot be read").lower()) from None
        return _bytes_of(value)


def open_hugging_face(name: str, *, image_column: str, label_column: str) -> HuggingFaceSource:
    """Load a data set by hub name or local folder; UserError with the loader's reason."""
    import datasets

    try:
        if os.path.isdir(name) and is_saved_to_disk(Path(name)):
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name)
        parts = dict(loaded) if isinstance(loaded, dict) else {str(loaded.split or "all"): loaded}
    except Exception as error:  # the loader and its network layer raise dozens of types
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise UserError(f"the data set {name!r} cannot be loaded: {reason}") from None
    for part, dataset in parts.items():
        for column in (image_column, label_column):
            if column not in dataset.column_names:
                raise UserError(
                    f"{name} ({part}) has no column {column!r}; it has "
                    f"{', '.join(dataset.column_names)} (--image-column, --label-column)"
                )
        if isinstance(dataset.features[image_column], datasets.Image):
            parts[part] = dataset.cast_column(image_column, datasets.Image(decode=False))
    return HuggingFaceSource(parts, image_column, label_column)


def is_saved_to_disk(folder: Path) -> bool:
    """Was this folder written by `datasets.save_to_disk`?"""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or all Parquet files below a folder, sorted."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*.parquet") if file.is_file())


def _entry(
    values: dict[str, Any], *, name: str, label: str, locator: Any, split: str | None
) -> Entry:
    text = {key: str(value) for key, value in values.items() if value not in (None, "")}
    return Entry(
        name=name,
        label=label,
        locator=locator,
        split=SPLIT_NAMES.get(text.get("split", "").lower(), split),
        licence=text.get("licence", text.get("license")),
        source=text.get("source"),
        sha256=text.get("sha256"),
        score=_score(values.get("score")),
    )


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
def _row_group(path: str, group: int, column: str) -> Any:
    with pq.ParquetFile(path) as parquet:
        return parquet.read_row_group(group, columns=[column]).column(0)


def _bytes_of(value: Any) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise UnreadableError("the row holds no picture bytes")
    return data


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
