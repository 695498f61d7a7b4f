"""Origins on this machine and on the Hugging Face hub, and what a browser may name of them."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.data.sources import Entry, FolderSource, Listing, Source, ZipSource
from core.data.tables import ParquetSource, is_saved_to_disk, open_contained, parquet_files
from core.errors import UserError
from core.files import read_json
from core.sampleset import DONE, SampleSet, open_sample_set, read_seeds
from curation_app.intake.archives import check_zip
from curation_app.intake.candidates import UNLABELLED, Limits
from curation_app.intake.origins import Origin, SourceOrigin
from curation_app.intake.words import clean

_HUB_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")
_REVISION = "revision.json"


def check_local(path: str, roots: Sequence[Path]) -> Path:
    """The real path of something below an allowed root; UserError for all else.

    A relative path is looked for below each root. What lies outside and what is not there get the
    same answer, so that nobody learns which files there are.
    """
    names = ", ".join(map(str, roots)) or "none is allowed"
    refused = UserError(f"{clean(path)[:200]!r} is not below a folder to import from ({names})")
    if not path or "\0" in path:
        raise refused
    for root in roots:
        try:
            real_root = root.resolve(strict=True)
            found = (real_root / path).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: links in a circle
            continue
        if found.is_relative_to(real_root) and not _hidden(found.relative_to(real_root)):
            return found
    raise refused


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def open_place(
    path: Path,
    *,
    limits: Limits | None = None,
    default_label: str = UNLABELLED,
    image_column: str = "image",
    label_column: str = "label",
) -> Origin:
    """A folder, zip, Parquet, saved data set, collection, revision or sample set on this machine.

    Check a path that came from a browser with `check_local` first. UserError lists what is valid.
    """
    limits = limits or Limits()
    columns = {"image_column": image_column, "label_column": label_column}
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".zip":
        return open_zip(path, path.name, limits=limits, default_label=default_label)
    if path.is_file() and suffix == ".parquet":
        return _data_set(ParquetSource(path, **columns, default_label=default_label), path.name)
    if path.is_dir():
        if (path / DONE).is_file():
            return _samples(open_sample_set(path, verify=True))
        if is_saved_to_disk(path):
            source = open_contained(str(path), **columns, default_label=default_label)
            return _data_set(source, path.name)
        if parquet_files(path):
            _check_links(path)
            return _data_set(ParquetSource(path, **columns, default_label=default_label), path.name)
        return _folder(path, default_label)
    raise UserError(
        f"{path} is nothing to import from: name a folder with pictures, a .zip, a .parquet, a "
        "collection, a revision or a sample set"
    )


def open_hub(
    name: str,
    *,
    default_label: str = UNLABELLED,
    image_column: str = "image",
    label_column: str = "label",
) -> Origin:
    """A data set on the Hugging Face hub, OWNER/NAME; it is downloaded when this is called."""
    # What is also a folder here would be read in its stead.
    if not _HUB_NAME.fullmatch(name) or ".." in name or os.path.exists(name):
        raise UserError(f"{clean(name)[:200]!r} is no data set on the hub: write OWNER/NAME")
    columns = {"image_column": image_column, "label_column": label_column}
    return _data_set(open_contained(name, **columns, default_label=default_label), name)


def open_zip(
    path: Path,
    title: str,
    *,
    limits: Limits,
    default_label: str,
    about: Mapping[str, str] | None = None,
) -> Origin:
    """A zip under the name that people know it by; `about` goes into the provenance."""
    check_zip(path, title, limits)
    source = ZipSource(path, default_label=default_label)

    def describe(entry: Entry) -> Mapping[str, str]:
        member = source.member_name(entry)
        return {"kind": "zip", **(about or {}), "archive": title, "member": member}

    return SourceOrigin(source, title, describe)


def _folder(path: Path, default_label: str) -> Origin:
    """Class folders, or metadata.jsonl; a frozen revision says which one it is."""
    about = {"kind": "folder", "folder": path.name}
    if (path / _REVISION).is_file():
        about = {"kind": "revision", "folder": path.name}
        record = read_json(path / _REVISION)
        digest = record.get("digest") if isinstance(record, dict) else None
        if isinstance(digest, str):
            about["digest"] = digest[:16]

    def describe(entry: Entry) -> Mapping[str, str]:
        return about | {"file": entry.name}

    return SourceOrigin(FolderSource(path, default_label=default_label), path.name, describe)


def _data_set(source: Source, title: str) -> Origin:
    def describe(entry: Entry) -> Mapping[str, str]:
        return {"kind": "data set", "data_set": title, "row": entry.name}

    return SourceOrigin(source, title, describe)


def _check_links(folder: Path) -> None:
    """A link among a folder's Parquet files must not lead out of it."""
    for file in parquet_files(folder):
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{file.name} in {folder.name} is a link that leads out of the folder")


def _samples(sample_set: SampleSet) -> Origin:
    about = {"kind": "samples", "sample_set": sample_set.folder.name}
    about["digest"] = sample_set.digest[:16]

    def describe(entry: Entry) -> Mapping[str, str]:
        return about | {"seed": str((entry.extra or {})["seed"])}

    return SourceOrigin(_SampleSource(sample_set), sample_set.folder.name, describe)


@dataclasses.dataclass(frozen=True)
class _SampleSource:
    """A sample set's pictures, under the names that exports give them."""

    sample_set: SampleSet
    kind: str = "samples"

    def listing(self) -> Listing:
        folder, licence = self.sample_set.folder, self.sample_set.parents.get("licence")
        seeds = {
            str(folder / shard): read_seeds(folder / shard) for shard in self.sample_set.shards
        }
        rows = dict.fromkeys(seeds, 0)
        entries = []
        for entry in self._table.listing().entries:
            path = entry.locator[0]
            if path not in seeds:
                continue
            seed = seeds[path][rows[path]]
            rows[path] += 1
            entries.append(
                dataclasses.replace(
                    entry,
                    name=f"{entry.label}_{seed:06d}.png",
                    licence=licence if isinstance(licence, str) else None,
                    extra={"seed": seed},
                )
            )
        return Listing(entries=entries, rejected={})

    def read(self, entry: Entry) -> bytes:
        return self._table.read(entry)

    @property
    def _table(self) -> ParquetSource:
        return ParquetSource(self.sample_set.folder / "data", "image", "label")
