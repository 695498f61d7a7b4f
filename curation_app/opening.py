"""Opening a collection or a sample set: find its pictures, look at them, put them on record.

Pictures whose files did not change are not looked at again. Work goes into the database chunk by
chunk: what is there can be curated while the rest comes, and an interrupted opening goes on.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from sqlalchemy import Engine

from core.collection import METADATA, CollectionItem, read_collection, unsafe_name
from core.data.decode import UnreadableError
from core.data.sources import Entry, FolderSource
from core.errors import UserError
from core.files import canonical_json
from core.images import png_bytes
from core.sampleset import DONE, SampleSet, open_sample_set
from curation_app.indexing.facts import Facts, flags_of, look, look_many
from curation_app.records import Collection, Found
from curation_app.store import collections
from curation_app.store.engine import writing
from curation_app.thumbnails import keep_thumbnail, thumbnail_path
from curation_app.workspace import STORED, Workspace

RECORD = "revision.json"
"""What a frozen revision says about itself; no picture may have this name."""
CHUNK = 200
Report = Callable[[int, int], None]
"""Told how many pictures of how many are done."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A collection that was listed, and what is new in it."""

    collection: Collection
    samples: SampleSet | None
    news: list[Entry]
    """Not on record yet, or changed since; of a sample set, empty."""
    stamps: Mapping[str, str]
    """Name to what tells the file from a later one."""
    gone: list[str]
    unusable: dict[str, str]
    """Names that cannot be shown, and why; more come to it while pictures are looked at."""

    @property
    def is_known(self) -> bool:
        """Whether there is nothing to do."""
        return not self.news and not self.gone and self.samples is None


def kind_of(folder: Path) -> str:
    """`pictures` or `samples`; UserError when there is no such folder."""
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}: name one with class folders (cat/1.png), one with "
            f"{METADATA}, or a sample set"
        )
    return "samples" if (folder / DONE).exists() or (folder / "plan.json").exists() else "pictures"


def register(engine: Engine, folder: Path) -> Collection:
    """The record of the collection in a folder; nothing is listed yet."""
    root = folder.resolve()
    kind = kind_of(root)
    with writing(engine) as connection:
        return collections.open_collection(connection, str(root), root.name, kind)


def plan(engine: Engine, collection: Collection) -> Plan:
    """List a collection; UserError when it holds nothing that can be shown."""
    root = Path(collection.root)
    with engine.connect() as connection:
        stamps = collections.stamps(connection, collection.id)
        stored = collections.count(connection, collection.id)
    if collection.kind == "samples":
        samples = open_sample_set(root)
        new = None if stored == samples.count else samples
        return Plan(collection=collection, samples=new, news=[], stamps={}, gone=[], unusable={})
    listing = FolderSource(root).listing()
    unusable = dict(listing.rejected)
    usable = dict(_usable(root, listing.entries, unusable))
    if not usable and not stored:
        why = "".join(f"; {name}: {reason}" for name, reason in sorted(unusable.items())[:1])
        raise UserError(f"{root} holds no picture that can be used{why}")
    if stamps and not stamps.keys() & usable.keys():
        raise UserError(
            f"the database knows other pictures of {root}, and none of those is there: "
            "name another --database"
        )
    return Plan(
        collection=collection,
        samples=None,
        news=[entry for name, (entry, stamp) in usable.items() if stamps.get(name) != stamp],
        stamps={name: stamp for name, (_, stamp) in usable.items()},
        gone=sorted(stamps.keys() - usable.keys()),
        unusable=unusable,
    )


def carry_out(
    engine: Engine, workspace: Workspace, planned: Plan, report: Report, *, workers: int = 2
) -> None:
    """Look at what is new and put it on record; safe to interrupt and to do again."""
    with writing(engine) as connection:
        collections.hide_missing(connection, planned.collection.id, planned.gone)
    found: Iterator[Found | str]
    if planned.samples is not None:
        found = _samples(planned.samples, workspace)
        total = planned.samples.count
    else:
        found = _pictures(planned, workspace, workers)
        total = len(planned.news)
    done = 0
    report(done, total)
    while chunk := list(itertools.islice(found, CHUNK)):
        usable = [one for one in chunk if isinstance(one, Found)]
        broken = [one for one in chunk if isinstance(one, str)]
        with writing(engine) as connection:
            collections.record_pictures(connection, planned.collection.id, usable)
            collections.hide_missing(connection, planned.collection.id, broken)
        done += len(chunk)
        report(done, total)


def found_of(entry: CollectionItem, facts: Facts, *, stamp: str = "", place: str = "") -> Found:
    """A picture that was looked at, as the database records it."""
    label = entry.label or ""
    try:
        row = canonical_json(dataclasses.replace(entry, sha256=facts.sha256).row())
        row.encode()
    except ValueError as error:
        raise UnreadableError(f"its row cannot be written again: {error}") from None
    return Found(
        name=entry.file_name,
        sha256=facts.sha256,
        label=label,
        stamp=stamp,
        item=row,
        place=place,
        source=entry.source or "",
        licence=entry.licence or "",
        width_px=facts.width_px,
        height_px=facts.height_px,
        size_bytes=facts.size_bytes,
        dhash=facts.dhash,
        facts=canonical_json(facts.measures()),
        flags=flags_of(facts),
        thumbnail=facts.thumbnail,
        tags=entry.tags,
    )


def _usable(
    root: Path, entries: Iterable[Entry], unusable: dict[str, str]
) -> Iterator[tuple[str, tuple[Entry, str]]]:
    seen: set[str] = set()
    inside: dict[str, bool] = {}  # folders resolved once: most of the work, picture by picture
    for entry in entries:
        try:
            if entry.name in seen:
                raise UnreadableError("named twice")
            _check_name(entry.name)
            folder = os.path.dirname(entry.locator)
            if folder not in inside:
                inside[folder] = Path(folder).resolve().is_relative_to(root)
            path = Path(entry.locator) if os.path.islink(entry.locator) else None
            if not (inside[folder] if path is None else path.resolve().is_relative_to(root)):
                raise UnreadableError("it is a link that leads out of the collection")
            seen.add(entry.name)
            yield entry.name, (entry, _stamp(entry))
        except UnreadableError as error:
            unusable[entry.name] = str(error)


def _pictures(planned: Plan, workspace: Workspace, workers: int) -> Iterator[Found | str]:
    """What is new in a folder, looked at by several processes; the names of what is no picture."""
    root = Path(planned.collection.root)
    stated = _stated_items(root, planned.news)
    paths = [Path(entry.locator) for entry in planned.news]
    looked = look_many(paths, workspace.previews, workers=workers)
    for entry, facts in zip(planned.news, looked, strict=True):
        try:
            if isinstance(facts, UnreadableError):
                raise facts
            if entry.sha256 and entry.sha256.lower() != facts.sha256:
                raise UnreadableError(f"its sha256 is not the one in {METADATA}")
            item = _whole_item(stated.get(entry.name), entry)
            # Of before it was looked at: what changed since is looked at again next time.
            yield found_of(item, facts, stamp=planned.stamps[entry.name])
        except UnreadableError as error:
            planned.unusable[entry.name] = str(error)
            yield entry.name


def _samples(samples: SampleSet, workspace: Workspace) -> Iterator[Found]:
    licence = samples.parents.get("licence")
    for sample in samples.samples():
        data = png_bytes(sample.image_hwc)
        workspace.keep(data)
        item = CollectionItem(
            file_name=f"{sample.name}.png",
            label=sample.label,
            source=f"sample set {samples.digest[:12]}",
            licence=licence if isinstance(licence, str) else None,
            extra={"seed": sample.seed},
        )
        facts = look(data)
        keep_thumbnail(thumbnail_path(workspace.previews, facts.sha256), facts.preview)
        yield found_of(item, facts, place=STORED)


def _check_name(name: str) -> None:
    """A revision lists pictures by name, so that each name must be one that can be listed."""
    danger = unsafe_name(name)
    if danger is None and name.rpartition("/")[2] in (METADATA, RECORD):
        danger = "the name is one that Menagerie uses itself"
    if danger:
        raise UnreadableError(f"{danger}: rename it")


def _stamp(entry: Entry) -> str:
    try:
        status = os.stat(entry.locator)
    except OSError as error:
        raise UnreadableError((error.strerror or "it cannot be read").lower()) from None
    return f"{status.st_size} {status.st_mtime_ns}"


def _stated_items(root: Path, entries: list[Entry]) -> dict[str, CollectionItem]:
    """What the collection's metadata files say, by the picture's name in the collection."""
    folders = {parent for entry in entries for parent in PurePosixPath(entry.name).parents}
    stated: dict[str, CollectionItem] = {}
    for folder in sorted(folders):
        if (root / folder / METADATA).is_file():
            for item in read_collection(root / folder)[0]:
                stated.setdefault(str(folder / item.file_name), item)
    return stated


def _whole_item(item: CollectionItem | None, entry: Entry) -> CollectionItem:
    return dataclasses.replace(
        item or CollectionItem(file_name=entry.name),
        file_name=entry.name,
        label=entry.label,
        split=entry.split,
        licence=entry.licence,
        source=entry.source,
    )
