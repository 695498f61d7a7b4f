"""The packs in some places: looked for, checked when they are new or changed, and remembered."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from core.errors import UserError
from curation_app.packs.files import SUMS, File
from curation_app.packs.opened import FACTS, Pack, open_pack

MAX_PACKS = 500
_DEPTH = 3
_LOOKED_S = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Broken:
    """A pack that cannot be shown."""

    name: str
    reason: str


_Opened = tuple[object, Pack | Broken]
"""What was found at a place, and the stamp of its files then."""


class Shelf:
    """The packs in some places: looked for now and then, checked when they are new or changed."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = tuple(places)
        self._lock = threading.Lock()
        self._opened: dict[Path, _Opened] = {}
        self._looked_s = float("-inf")
        self._packs: dict[str, Pack] = {}
        self._broken: list[Broken] = []

    def look(self) -> tuple[list[Pack], list[Broken]]:
        """The packs that are there, equal ones once, and those that are broken."""
        with self._lock:
            if time.monotonic() - self._looked_s > _LOOKED_S:
                self._open_all()
                self._looked_s = time.monotonic()
            return list(self._packs.values()), list(self._broken)

    def pack(self, digest: str) -> Pack | None:
        """A pack by its digest."""
        found = self._packs.get(digest)
        if found is None:
            self.look()
        return found or self._packs.get(digest)

    def forget(self) -> None:
        """Check everything anew at the next look: a file is not what it was."""
        with self._lock:
            self._opened.clear()
            self._looked_s = float("-inf")

    def _open_all(self) -> None:
        found, self._broken = find_packs(self._places)
        before, self._opened = self._opened, {}
        known: dict[tuple[str, str], File] = {}
        packs: dict[str, Pack] = {}
        for path in found:
            opened = self._opened[path] = _open(path, before.get(path), known)
            one = opened[1]
            if isinstance(one, Broken):
                self._broken.append(one)
                continue
            known |= {(file.name, file.sha256): file for file in one.files()}
            held = packs.setdefault(one.digest, one)
            if held.zip is None and one.zip is not None:  # the zip of that folder
                packs[one.digest] = dataclasses.replace(held, zip=one.zip)
        self._packs = packs


def find_packs(places: Sequence[Path]) -> tuple[list[Path], list[Broken]]:
    """Folders with pack.json and zips, at these places or in folders below; and what is amiss.

    Folders come before zips, so that of a pack and its own zip the folder is read.
    """
    broken = [
        Broken(name=place.name, reason="there is no such folder or file")
        for place in places
        if not place.exists()
    ]
    found = {path.resolve() for place in places if place.exists() for path in _below(place, 0)}
    ordered = sorted(found, key=lambda path: (path.is_file(), path))
    if len(ordered) > MAX_PACKS:
        more = f"{len(ordered)} packs: the first {MAX_PACKS} are shown, name fewer folders"
        broken.append(Broken(name="The rest", reason=more))
    return ordered[:MAX_PACKS], broken


def _open(path: Path, before: _Opened | None, known: Mapping[tuple[str, str], File]) -> _Opened:
    """A pack, or why it is broken; what was found `before` while nothing was written since."""
    stamp = _stamp(path)
    if before is not None and before[0] == stamp:
        return before
    try:
        return stamp, open_pack(path, known)
    except UserError as error:
        return stamp, Broken(name=path.name, reason=str(error))


def _below(place: Path, depth: int) -> Iterator[Path]:
    """Packs at a place and below; links are not followed, nor is a pack searched."""
    if place.is_file():
        if depth == 0 or (place.suffix == ".zip" and not place.is_symlink()):
            yield place
    elif (place / FACTS).exists() or depth == _DEPTH:
        if (place / FACTS).exists():
            yield place
    else:
        with contextlib.suppress(OSError):  # a folder that may not be read holds nothing to show
            for path in sorted(place.iterdir()):
                if not path.name.startswith(".") and not path.is_symlink():
                    yield from _below(path, depth + 1)


def _stamp(path: Path) -> object:
    """Changes when a pack is written anew."""
    paths = [path] if path.is_file() else [path / FACTS, path / SUMS]
    try:
        return [(one.stat().st_mtime_ns, one.stat().st_size, one.stat().st_ino) for one in paths]
    except OSError:
        return object()
