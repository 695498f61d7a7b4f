"""Imports on their way in: what was read waits on the disk until its curator has decided about it.

WORKSPACE/imports/<id>/import.json        whose it is, how far it came, what was chosen
WORKSPACE/imports/<id>/candidates.jsonl   a row for each picture that was read or refused
WORKSPACE/imports/<id>/facts.jsonl        what was seen of each, once for equal bytes
WORKSPACE/imports/<id>/thumbnails.bin     32×32×4 of each, in the order of the facts
WORKSPACE/imports/<id>/near.json          pairs that look alike
"""

import collections
import contextlib
import dataclasses
import datetime
import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.files import atomic_file, canonical_json, read_json, write_json
from curation_app.indexing.facts import Facts
from curation_app.indexing.quality import quality_of
from curation_app.intake.candidates import Candidate, read_candidates, write_candidates
from curation_app.intake.plan import Choice, Near
from curation_app.tasks import Task

READING, READY, FAILED, APPLYING, APPLIED = "reading", "ready", "failed", "applying", "applied"
INTERRUPTED = "interrupted"
"""Of what was being read when the app ended: nobody is at it any more."""
_RECORD, _CANDIDATES, _FACTS = "import.json", "candidates.jsonl", "facts.jsonl"
_THUMBNAILS, _NEAR = "thumbnails.bin", "near.json"
_SHAPE = (32, 32, 4)
_LOADED = 2
"""So many imports are kept in memory: pages of one are asked for one after another."""
_REMEMBERED = datetime.timedelta(days=30)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decisions:
    """What a curator chose; all else is done as its kind usually is."""

    choices: Mapping[str, Choice] = dataclasses.field(default_factory=dict)
    """By the key of the item."""
    by_kind: Mapping[str, str] = dataclasses.field(default_factory=dict)
    classes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Their classes to ours."""
    licence: str = ""
    """Of pictures that state none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Import:
    """One import, as its record says."""

    id: str
    curator_id: int
    collection_id: int
    """What it is merged into."""
    title: str
    at: str
    state: str = READING
    error: str = ""
    ignored: int = 0
    """Files that do not look like pictures."""
    seen_id: int = 0
    """Look-alikes were sought among the pictures up to this one."""
    decisions: Decisions = dataclasses.field(default_factory=Decisions)
    result: str = ""
    """A sentence about what came of it."""
    first_id: int = 0
    """Of the pictures that it brought."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Staged:
    """What was read for an import; all that is numbered has one order."""

    candidates: list[Candidate]
    near: list[Near]
    rows: Mapping[str, int]
    """The number of each digest."""
    dhash: NDArray[np.int64]
    sizes_wh: list[tuple[int, int]]


class Imports:
    """All imports of a workspace; for several threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._loaded: collections.OrderedDict[str, Staged] = collections.OrderedDict()
        self._tasks: dict[str, Task] = {}
        self._claimed: set[str] = set()

    def begin(self, curator_id: int, collection_id: int, title: str) -> Import:
        """A new import, under a name that nobody can guess."""
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        found = Import(
            id=secrets.token_hex(12),
            curator_id=curator_id,
            collection_id=collection_id,
            title=title,
            at=at,
        )
        self._forget_old()
        write_json(self._folder / found.id / _RECORD, dataclasses.asdict(found))
        return found

    def find(self, import_id: str, curator_id: int) -> Import | None:
        """A curator's import; None for those of others, as for those that are not there."""
        return next((one for one in self.of(curator_id) if one.id == import_id), None)

    def of(self, curator_id: int) -> list[Import]:
        """A curator's imports, the newest first."""
        # Asked before the records are read: work that ends in between has written its own.
        busy = {one for one in list(self._tasks) if self.task(one)} | self._claimed
        mine = [one for one in self._all() if one.curator_id == curator_id]
        found = [one if one.id in busy else _at_rest(one) for one in mine]
        return sorted(found, key=lambda one: (one.at, one.id), reverse=True)

    def update(self, import_id: str, **values: Any) -> Import | None:
        """Change an import's record; None when it was discarded meanwhile."""
        with self._lock:
            found = self._read(import_id)
            if found is None:
                return None
            changed = dataclasses.replace(found, **values)
            write_json(self._folder / import_id / _RECORD, dataclasses.asdict(changed))
            return changed

    def choose(self, found: Import, decisions: Decisions) -> Import | None:
        """Keep what was chosen on seeing an import; None when it is not as it was seen by now:
        another request has chosen, carried it out or discarded it."""
        with self._lock:
            now = self._read(found.id)
            seen = now is not None and now.decisions == found.decisions
            if not seen or found.id in self._claimed:
                return None
            return self.update(found.id, decisions=decisions, error="")

    def claim(self, found: Import) -> bool:
        """Begin to carry an import out; False when it is not as it was seen by now: somebody does
        so already, did, discarded it, or chose something else."""
        with self._lock:
            now = self._read(found.id)
            free = now is not None and found.id not in self._claimed
            if not free or now is None or now.state not in (READY, APPLYING):
                return False
            if now.decisions != found.decisions:
                return False
            self._claimed.add(found.id)
            self.update(found.id, state=APPLYING, error="")
            return True

    def give_up(self, import_id: str, error: str) -> None:
        """What was claimed failed, and can be tried again."""
        with self._lock:
            self._claimed.discard(import_id)
            self.update(import_id, state=READY, error=error)

    def works_at(self, import_id: str, task: Task) -> None:
        """Say what is being done for an import at the moment."""
        self._tasks[import_id] = task

    def task(self, import_id: str) -> Task | None:
        """What is being done for it; None when nothing is: the app may have ended in between."""
        task = self._tasks.get(import_id)
        return None if task is None or task.finished else task

    def keep(self, import_id: str, candidates: Iterable[Candidate]) -> None:
        """Write down what is read, on its way; UserError once the import was discarded."""
        folder = self._folder / import_id
        with atomic_file(folder / _FACTS) as facts, atomic_file(folder / _THUMBNAILS) as thumbnails:
            noted = _noted(candidates, facts, thumbnails)
            write_candidates(folder / _CANDIDATES, self._while_wanted(folder, noted))
        write_json(folder / _NEAR, [])

    def keep_near(self, found: Import, near: Iterable[Near], seen_id: int) -> bool:
        """Write down which pictures look alike, those on record up to `seen_id` included; False,
        and nothing is written, when another request has done so since `found` was read."""
        with self._lock:
            now = self._read(found.id)
            if now is None or now.seen_id != found.seen_id:
                return False
            rows = [dataclasses.asdict(pair) for pair in near]
            write_json(self._folder / found.id / _NEAR, rows)
            self._loaded.pop(found.id, None)
            self.update(found.id, seen_id=seen_id)
            return True

    def staged(self, import_id: str) -> Staged:
        """What was read for an import; UserError when it is not there, or broken."""
        with self._lock:
            staged = self._loaded.pop(import_id, None) or self._load(import_id)
            self._loaded[import_id] = staged
            while len(self._loaded) > _LOADED:
                self._loaded.popitem(last=False)
        return staged

    def facts(self, import_id: str) -> Iterator[Facts]:
        """What was seen of each picture, in order."""
        thumbnails = self.thumbnails(import_id)
        with (self._folder / import_id / _FACTS).open(encoding="utf-8") as rows:
            for row, thumbnail in zip(rows, thumbnails, strict=True):
                yield _facts(json.loads(row), thumbnail.tobytes())

    def thumbnails(self, import_id: str) -> NDArray[np.uint8]:
        """N×32×32×4, premultiplied, left on the disk until they are looked at."""
        path = self._folder / import_id / _THUMBNAILS
        if not path.stat().st_size:
            return np.empty((0, *_SHAPE), np.uint8)
        return np.memmap(path, np.uint8, mode="r").reshape(-1, *_SHAPE)

    def finish(self, import_id: str, **values: Any) -> None:
        """An import is done: what came of it is remembered for a while, and no more than that."""
        with self._lock:
            self._claimed.discard(import_id)
            self.update(import_id, state=APPLIED, decisions=Decisions(), **values)
            for name in (_CANDIDATES, _FACTS, _THUMBNAILS, _NEAR):
                (self._folder / import_id / name).unlink(missing_ok=True)
            self._loaded.pop(import_id, None)

    def discard(self, import_id: str) -> bool:
        """Remove an import; what it would have brought stays among the originals until a sweep.

        False when it is just being carried out.
        """
        with self._lock:
            if import_id in self._claimed:
                return False
            shutil.rmtree(self._folder / import_id, ignore_errors=True)
            self._loaded.pop(import_id, None)
            return True

    def reading_since(self) -> datetime.datetime | None:
        """When the oldest of those began that are being read: none of their pictures is on record,
        nor among `digests`, before the last one is there."""
        busy = {one for one in list(self._tasks) if self.task(one)}
        began = [datetime.datetime.fromisoformat(one.at) for one in self._all() if one.id in busy]
        return min(began, default=None)

    def digests(self) -> set[str]:
        """Of all pictures that wait for a decision."""
        found: set[str] = set()
        for one in self._all():
            path = self._folder / one.id / _CANDIDATES
            with contextlib.suppress(UserError):
                found |= {candidate.sha256 for candidate in read_candidates(path)}
        return found - {""}

    def _all(self) -> Iterator[Import]:
        names = sorted(os.listdir(self._folder)) if self._folder.is_dir() else []
        for name in names:
            found = self._read(name)
            if found is not None:
                yield found

    def _read(self, import_id: str) -> Import | None:
        try:
            row = read_json(self._folder / import_id / _RECORD)
            told = row["decisions"]
            choices = {key: Choice(**choice) for key, choice in told["choices"].items()}
            return Import(**row | {"decisions": Decisions(**told | {"choices": choices})})
        except (UserError, OSError, ValueError, TypeError, KeyError):
            return None

    def _load(self, import_id: str) -> Staged:
        folder = self._folder / import_id
        candidates = list(read_candidates(folder / _CANDIDATES))
        try:
            lines = (folder / _FACTS).read_text(encoding="utf-8").splitlines()
            facts = [json.loads(line) for line in lines]
            near = [Near(**row) for row in read_json(folder / _NEAR)]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"that import's record is broken: {error}: bring it in again") from None
        return Staged(
            candidates=candidates,
            near=near,
            rows={row["sha256"]: number for number, row in enumerate(facts)},
            dhash=np.array([row["dhash"] for row in facts], np.int64),
            sizes_wh=[(row["width_px"], row["height_px"]) for row in facts],
        )

    def _while_wanted(self, folder: Path, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        for candidate in candidates:
            if not (folder / _RECORD).is_file():
                raise UserError("the import was discarded")
            yield candidate

    def _forget_old(self) -> None:
        before = (datetime.datetime.now(datetime.UTC) - _REMEMBERED).isoformat()
        for one in list(self._all()):
            if one.state in (APPLIED, FAILED) and one.at < before:
                self.discard(one.id)


def _at_rest(found: Import) -> Import:
    """An import that nobody is at work on."""
    state = {READING: INTERRUPTED, APPLYING: READY}.get(found.state, found.state)
    return dataclasses.replace(found, state=state)


def _noted(
    candidates: Iterable[Candidate], facts: IO[bytes], thumbnails: IO[bytes]
) -> Iterator[Candidate]:
    """Write what was seen of each picture, in passing."""
    seen: set[str] = set()
    for candidate in candidates:
        look = candidate.look
        if isinstance(look, Facts) and candidate.sha256 not in seen:
            seen.add(candidate.sha256)
            facts.write(canonical_json(_row(look)).encode() + b"\n")
            thumbnails.write(look.thumbnail)
        yield candidate


def _row(facts: Facts) -> dict[str, Any]:
    own = {"sha256": facts.sha256, "size_bytes": facts.size_bytes, "dhash": facts.dhash}
    return own | facts.measures()


def _facts(row: dict[str, Any], thumbnail: bytes) -> Facts:
    names = ("sha256", "pixels_sha256", "size_bytes", "format", "alpha", "dhash")
    return Facts(
        **{name: row[name] for name in names},
        thumbnail=thumbnail,
        preview=b"",
        quality=quality_of(row),
    )
