"""Copies: searched for in the background, and shown as groups.

A search is minutes of work and is kept in the database; groups follow from it in an instant, for
any position of the slider, less what was merged or told apart since.
"""

import dataclasses
import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from core.data.decode import UnreadableError
from curation_app import thumbnails
from curation_app.indexing import duplicates
from curation_app.indexing.duplicates import Links, Stored
from curation_app.indexing.hashing import MOST_DISTANCE
from curation_app.records import Collection
from curation_app.store import copies
from curation_app.store.engine import writing
from curation_app.store.pictures import pictures_of
from curation_app.workspace import Workspace

Ints = NDArray[np.int64]
NEAR_BITS = 6
"""Where the slider stands at first."""
_SLIDES_KEPT = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What a search found."""

    at: str
    ids: Ints
    """The pictures that were compared, ascending; links are rows of these."""
    links: Links


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Copies of one picture that nobody has merged or told apart yet."""

    ids: tuple[int, ...]
    """Ascending."""
    kind: str
    """One of KINDS: the loosest that it takes to join them."""
    likeness: float
    labels: tuple[str, ...]
    """The classes that they are in, in order; pictures without one left out."""

    @property
    def disagrees(self) -> bool:
        """Whether its pictures are in several classes, so that somebody must decide."""
        return len(self.labels) > 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """All groups at one position of the slider, by their first id."""

    at: str | None
    """When it was searched; None: never."""
    within: int
    """The distance up to which all near copies are known."""
    news: int
    """Pictures that came since the search."""
    groups: list[Group]


def search(
    engine: Engine,
    workspace: Workspace,
    collection: Collection,
    watch: Callable[[str, float], None],
) -> int:
    """Look for copies among all pictures of a collection, and keep what is found; how many links.

    Merged pictures are compared as well: they may come back.
    """
    watch("reading what is known of them", 0.0)
    ids: list[int] = []
    dhash: list[int] = []
    digests: list[str] = []
    pixels: list[str] = []
    with engine.connect() as connection:
        for one in copies.seen(connection, collection.id):
            ids.append(one.id)
            dhash.append(one.dhash)
            digests.append(one.sha256)
            pixels.append(json.loads(one.facts).get("pixels_sha256", one.sha256))
    rows = np.array(ids, np.int64)
    stored = Stored(
        sha256=digests,
        pixels_sha256=pixels,
        dhash=np.array(dhash, np.int64),
        thumbs=StoredThumbs(engine, rows),
        previews=_previews(engine, workspace, collection, rows, digests),
    )
    links = duplicates.find_links(stored, distance=MOST_DISTANCE, watch=watch)
    with writing(engine) as connection:
        copies.keep_search(connection, collection.id, pack(rows, links))
    return len(links.left)


class StoredThumbs:
    """Thumbnails that are fetched from the database when they are needed, by several threads."""

    def __init__(self, engine: Engine, ids: Ints) -> None:
        self._engine = engine
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, rows: Ints, /) -> NDArray[np.uint8]:
        with self._engine.connect() as connection:
            return copies.thumbnails(connection, self._ids[rows])


def pack(ids: Ints, links: Links) -> bytes:
    """A search as bytes; `unpack` takes them."""
    arrays = {field.name: getattr(links, field.name) for field in dataclasses.fields(links)}
    for name in ("left", "right"):
        arrays[name] = arrays[name].astype(np.uint32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=ids, **arrays)
    return buffer.getvalue()


def unpack(data: bytes, at: str) -> Search:
    """A search that was packed."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        links = Links(
            left=arrays["left"].astype(np.int64),
            right=arrays["right"].astype(np.int64),
            kind=arrays["kind"],
            distance=arrays["distance"],
            likeness=arrays["likeness"],
            within=int(arrays["within"]),
        )
        return Search(at=at, ids=arrays["ids"], links=links)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undecided:
    """What a search found that nobody has merged or told apart since."""

    ids: list[int]
    """Pictures that have links, ascending."""
    links: Links
    """Between rows of these."""
    labels: Mapping[int, str]
    """Id to class, of all pictures that are shown."""
    largest: int
    """A group of more chained by chance."""
    at: str
    news: int


class Copies:
    """The groups of all collections; for several threads at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._searches: dict[int, Search] = {}
        self._open: dict[int, tuple[object, Undecided | None]] = {}
        self._listings: dict[int, dict[tuple[int, bool], Listing]] = {}

    def listing(self, collection_id: int, distance: int, *, augmented: bool) -> Listing:
        """The groups as they are now; made anew only when something has changed."""
        slide = (distance, augmented)
        with self._lock, self._engine.connect() as connection:
            at = copies.searched_at(connection, collection_id)
            state = (at, copies.state(connection, collection_id))
            if self._open.get(collection_id, (None,))[0] != state:
                found = self._undecided(connection, collection_id, at)
                self._open[collection_id] = state, found
                self._listings[collection_id] = {}
            known = self._listings[collection_id]
            if slide not in known:
                if len(known) >= _SLIDES_KEPT:
                    known.clear()
                known[slide] = _listed(self._open[collection_id][1], state[1][0], *slide)
            return known[slide]

    def _undecided(
        self, connection: Connection, collection_id: int, at: str | None
    ) -> Undecided | None:
        if at is None:
            return None
        search = self._searches.get(collection_id)
        if search is None or search.at != at:
            search = unpack(copies.search(connection, collection_id), at)
            self._searches[collection_id] = search
        labels = copies.labels(connection, collection_id)
        return undecided(search, labels, copies.apart(connection, collection_id))


def _listed(found: Undecided | None, pictures: int, distance: int, augmented: bool) -> Listing:
    if found is None:
        return Listing(at=None, within=MOST_DISTANCE, news=pictures, groups=[])
    return Listing(
        at=found.at,
        within=found.links.within,
        news=found.news,
        groups=grouped(found, distance, augmented=augmented),
    )


def undecided(
    search: Search, labels: Mapping[int, str], apart: Mapping[int, Set[object]]
) -> Undecided:
    """The links of a search between pictures in `labels` (id to class).

    Those between pictures that share a set in `apart` are left out.
    """
    links = search.links
    rows = np.unique(np.concatenate([links.left, links.right]))
    shown = np.fromiter(labels, np.int64, len(labels))
    there = np.isin(search.ids[rows], shown)
    ends = [np.searchsorted(rows, side) for side in (links.left, links.right)]
    wanted = there[ends[0]] & there[ends[1]]
    ids = search.ids[rows].tolist()
    if apart:
        sets = [apart.get(one, frozenset()) for one in ids]
        told = np.array([bool(one) for one in sets], np.bool_)
        for link in np.flatnonzero(wanted & told[ends[0]] & told[ends[1]]).tolist():
            wanted[link] = sets[ends[0][link]].isdisjoint(sets[ends[1][link]])
    return Undecided(
        ids=ids,
        links=_chosen(links, wanted, ends),
        labels=labels,
        # As large as among all pictures, not among those that have copies alone.
        largest=max(16, len(search.ids) // 50),
        at=search.at,
        news=int((~np.isin(shown, search.ids)).sum()),
    )


def grouped(found: Undecided, distance: int, *, augmented: bool) -> list[Group]:
    """The groups at one position of the slider, by their first id."""
    groups = duplicates.groups(
        found.links, len(found.ids), distance=distance, augmented=augmented, largest=found.largest
    )
    return [_group(one, found.ids, found.labels) for one in groups]


def _chosen(links: Links, wanted: NDArray[np.bool_], ends: Sequence[Ints]) -> Links:
    return Links(
        left=ends[0][wanted],
        right=ends[1][wanted],
        kind=links.kind[wanted],
        distance=links.distance[wanted],
        likeness=links.likeness[wanted],
        within=links.within,
    )


def _group(found: duplicates.Group, ids: Sequence[int], labels: Mapping[int, str]) -> Group:
    members = tuple(ids[row] for row in found.members)
    classes = {labels[one] for one in members} - {""}
    return Group(
        ids=members,
        kind=found.kind,
        likeness=found.likeness,
        labels=tuple(sorted(classes)),
    )


def _previews(
    engine: Engine,
    workspace: Workspace,
    collection: Collection,
    ids: Ints,
    digests: Sequence[str],
) -> Callable[[int], bytes | None]:
    """Previews by row; made again where they are missing, or None where the picture is."""

    def preview(row: int) -> bytes | None:
        path = thumbnails.thumbnail_path(workspace.previews, digests[row])
        kept = thumbnails.kept_thumbnail(path)
        if kept is not None:
            return kept
        with engine.connect() as connection:
            found = pictures_of(connection, [int(ids[row])])
        try:
            data = thumbnails.make_thumbnail(workspace.read(collection, found[0]))
        except (UnreadableError, IndexError):
            return None
        thumbnails.keep_thumbnail(path, data)
        return data

    return preview
