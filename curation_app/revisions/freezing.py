"""Freezing: the pictures to keep become a revision, a collection that never changes again.

What is decided is written down at one point in time; then the pictures are copied, one by one,
while people go on. The revision appears when all of it is on the disk, or not at all. What one
looks like: `curation_app.revisions.frozen`.
"""

import contextlib
import dataclasses
import datetime
import errno
import json
import operator
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from sqlalchemy import Connection, Engine

from core.collection import METADATA
from core.data.decode import UnreadableError
from core.errors import UserError
from core.files import canonical_json, exclusive, write_json
from curation_app.opening import RECORD, Report
from curation_app.records import Collection
from curation_app.revisions.frozen import FORMAT, Revision, digest_lines, highest_number, revisions
from curation_app.revisions.naming import Names
from curation_app.store.pictures import pictures_of
from curation_app.store.revisions import Decided, Kept, at_one_time, decided, is_ranked, kept
from curation_app.workspace import Workspace

_CHUNK = 500
_SCORE_DIGITS = 4
_ROWS = ".rows.tmp"
_LEFT_OVER = re.compile(r"\.\d+-[0-9a-f]{8}\..*\.tmp")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Row(NamedTuple):
    """A picture as a revision would list it."""

    picture_id: int
    values: dict[str, Any]
    text: str
    """The same as canonical JSON: its line in metadata.jsonl."""


@dataclasses.dataclass(kw_only=True)
class _Plan:
    """What is to be frozen; its rows are in a file."""

    digest: str = ""
    names: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    """Id and file name of each picture."""
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    splits: Counter[str] = dataclasses.field(default_factory=Counter)
    size_bytes: int = 0


def folder_of(collection: Collection, given: Path | None) -> Path:
    """Where a collection's revisions lie: beside it, unless a folder is given."""
    root = Path(collection.root)
    return given.absolute() if given else root.with_name(root.name + "-revisions")


def freeze(
    engine: Engine,
    workspace: Workspace,
    collection: Collection,
    folder: Path,
    *,
    by: str,
    report: Report,
) -> tuple[Revision, bool]:
    """Write the pictures to keep as a revision; and whether it is a new one.

    The same pictures and rows as those of an older revision are that one. UserError when there is
    nothing to keep, no room for it, or a picture's file has changed.
    """
    try:
        with exclusive(folder):
            _sweep(folder)
            try:
                return _freeze(engine, workspace, collection, folder, by, report)
            finally:
                (folder / _ROWS).unlink(missing_ok=True)
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                f"the disk of {folder} is full, and nothing was frozen: make room and freeze again"
            ) from None
        raise UserError(f"{folder} cannot be written to: {error.strerror}") from None


def planned_rows(connection: Connection, collection: Collection) -> Iterator[Row]:
    """What a freeze would write now, sorted by file name; in memory are names alone."""
    return _rows(connection, collection, kept(connection, collection.id))


def _rows(connection: Connection, collection: Collection, chosen: Sequence[Kept]) -> Iterator[Row]:
    names = Names()
    # Who comes first keeps a name that several want: the collection's own files do.
    named = [(one.id, names.take(one.name, one.sha256)) for one in chosen]
    named.sort(key=operator.itemgetter(1))
    ranked = is_ranked(connection, collection.id)
    for some in _chunks(named):
        found = decided(connection, [key for key, _ in some])
        for key, file_name in some:
            values = _row(found[key], file_name, ranked=ranked)
            yield Row(picture_id=key, values=values, text=canonical_json(values))


def _row(picture: Decided, file_name: str, *, ranked: bool) -> dict[str, Any]:
    """What its metadata said (a row of `CollectionItem`), with what was decided since.

    Scores that it came with are on another scale than ours: where there are ours, they go.
    """
    row: dict[str, Any] = json.loads(picture.item)
    if ranked:
        row["score"] = None
    if picture.votes:
        row["score"] = round(picture.score, _SCORE_DIGITS) + 0.0  # never -0.0
    row |= {"file_name": file_name, "label": picture.label or None, "sha256": picture.sha256}
    row["tags"] = list(picture.tags) or None
    row["stars"] = picture.stars or row.get("stars")
    return {key: value for key, value in row.items() if value is not None}


def _freeze(
    engine: Engine,
    workspace: Workspace,
    collection: Collection,
    folder: Path,
    by: str,
    report: Report,
) -> tuple[Revision, bool]:
    plan = _write_plan(engine, collection, folder / _ROWS)
    if not plan.names:
        raise UserError("no picture is marked “keep” yet: mark some, then freeze")
    for revision in revisions(folder):
        if revision.digest == plan.digest:
            return revision, False
    _require_room(folder, plan.size_bytes)
    number = highest_number(folder) + 1
    with _synced_folder(folder / f"{number}-{plan.digest[:8]}") as temporary:
        (folder / _ROWS).replace(temporary / METADATA)
        _copy_all(engine, workspace, collection, plan.names, temporary, report)
        write_json(temporary / RECORD, _record(plan, number, collection.name, by))
        for name in (METADATA, RECORD):
            (temporary / name).chmod(0o444)
    return next(one for one in revisions(folder) if one.digest == plan.digest), True


def _write_plan(engine: Engine, collection: Collection, path: Path) -> _Plan:
    """Write the rows to a file, all as they are at one point in time."""
    plan = _Plan()
    with at_one_time(engine) as connection, path.open("wb") as file:
        chosen = kept(connection, collection.id)
        plan.size_bytes = sum(one.size_bytes for one in chosen)
        rows = _rows(connection, collection, chosen)
        plan.digest = digest_lines(_written(rows, plan, file))
    return plan


def _written(rows: Iterable[Row], plan: _Plan, file: IO[bytes]) -> Iterator[str]:
    """Write rows to a file and count them, on their way to the digest."""
    for row in rows:
        file.write(row.text.encode() + b"\n")
        plan.names.append((row.picture_id, row.values["file_name"]))
        plan.counts[row.values.get("label", "")] += 1
        plan.splits.update([row.values["split"]] if "split" in row.values else [])
        yield row.text


def _record(plan: _Plan, number: int, collection: str, by: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "number": number,
        "digest": plan.digest,
        "collection": collection,
        "pictures": len(plan.names),
        "counts": dict(sorted(plan.counts.items())),
        "splits": dict(sorted(plan.splits.items())),
        "size_bytes": plan.size_bytes,
        "frozen_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "frozen_by": by,
    }


def _copy_all(
    engine: Engine,
    workspace: Workspace,
    collection: Collection,
    names: Sequence[tuple[int, str]],
    to: Path,
    report: Report,
) -> None:
    """Copies, as hard links would change together with the originals."""
    folders: set[Path] = set()
    report(0, len(names))
    for start, some in enumerate(_chunks(names)):
        with engine.connect() as connection:
            found = {one.id: one for one in pictures_of(connection, [key for key, _ in some])}
        for place, (key, file_name) in enumerate(some, start=start * _CHUNK + 1):
            try:
                if key not in found:
                    raise UnreadableError("its file is gone")
                data = workspace.read(collection, found[key])
            except UnreadableError as error:
                raise UserError(
                    f"{file_name} cannot be frozen: {error}; nothing was frozen: open the "
                    "collection again, or mark the picture “reject”"
                ) from None
            _write(to / file_name, data, folders)
            report(place, len(names))


def _write(path: Path, data: bytes, folders: set[Path]) -> None:
    if path.parent not in folders:
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.add(path.parent)
    with path.open("xb") as file:
        file.write(data)
        os.fchmod(file.fileno(), 0o444)


@contextlib.contextmanager
def _synced_folder(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name; it appears, whole and on the disk, on success only.

    `core.files.atomic_folder` syncs file after file: for 100,000 files that takes ten minutes, and
    syncing everything at once takes seconds.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        temporary.chmod(path.parent.stat().st_mode & 0o777)
        yield temporary
        os.sync()
        temporary.rename(path)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _require_room(folder: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if size_bytes > free:
        raise UserError(
            f"the pictures take {size_bytes / 2**20:.0f} MiB, and the disk of {folder} has "
            f"{free / 2**20:.0f} MiB left: make room and freeze again"
        )


def _sweep(folder: Path) -> None:
    """Remove what a freeze left that was killed; nobody else is at work here."""
    for name in os.listdir(folder):
        if _LEFT_OVER.fullmatch(name):
            shutil.rmtree(folder / name)


def _chunks(values: Sequence[tuple[int, str]]) -> Iterator[Sequence[tuple[int, str]]]:
    return (values[at : at + _CHUNK] for at in range(0, len(values), _CHUNK))
