"""A collection that is open in the app, as something to bring pictures in from."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Engine

from core.collection import CollectionItem, parse_metadata
from core.data.decode import UnreadableError
from core.data.sources import Entry, Listing
from core.files import canonical_json
from curation_app.filters import Filter
from curation_app.intake.origins import Brought
from curation_app.records import VOTES, Change, Collection, Picture
from curation_app.store.pictures import ids_of, pictures_of
from curation_app.workspace import Workspace

_CHUNK = 200
_SCORE_DIGITS = 4
KIND = "collection"
"""Of the provenance of such pictures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CollectionOrigin:
    """What is in a collection now: as its curators see it, without what they rejected."""

    engine: Engine
    workspace: Workspace
    collection: Collection

    @property
    def title(self) -> str:
        """The collection's name."""
        return self.collection.name

    def listing(self) -> Listing:
        """All pictures, with the classes and tags that they have by now."""
        with self.engine.connect() as connection:
            ids = ids_of(connection, Filter(collection=self.collection.id))
        found = self._pictures(ids)
        entries = [self._entry(picture) for picture in found if picture.state != "reject"]
        return Listing(entries=entries, rejected={}, ignored=len(ids) - len(entries))

    def bring(self, entries: Sequence[Entry]) -> Iterator[Brought]:
        """Read the pictures' files, with what was decided about each."""
        source = iter(entries)
        while some := list(itertools.islice(source, _CHUNK)):
            found = {picture.id: picture for picture in self._pictures([e.locator for e in some])}
            yield from (self._brought(entry, found.get(entry.locator)) for entry in some)

    def _pictures(self, ids: Sequence[int]) -> Iterator[Picture]:
        for start in range(0, len(ids), _CHUNK):
            with self.engine.connect() as connection:
                yield from pictures_of(connection, ids[start : start + _CHUNK])

    def _brought(self, entry: Entry, picture: Picture | None) -> Brought:
        provenance = {"kind": KIND, "collection": self.title, "file": entry.name}
        if picture is None:
            return Brought(entry=entry, provenance=provenance, reason="it is gone")
        if picture.state in VOTES:
            provenance["state"] = picture.state
        if picture.stars:
            provenance["stars"] = str(picture.stars)
        try:
            data = self.workspace.read(self.collection, picture)
        except UnreadableError as error:
            return Brought(entry=entry, provenance=provenance, reason=str(error))
        return Brought(entry=entry, data=data, provenance=provenance)

    def _entry(self, picture: Picture) -> Entry:
        item = _item(picture)
        score = round(picture.score, _SCORE_DIGITS) + 0.0 if picture.votes else item.score
        return Entry(
            name=picture.name,
            label=picture.label,
            locator=picture.id,
            split=item.split,
            licence=picture.licence or None,
            source=picture.source or f"collection {self.title}: {picture.name}",
            sha256=picture.sha256,
            score=score,
            tags=picture.tags,
            extra=item.extra,
        )


def carried(picture_id: int, provenance: dict[str, str]) -> list[Change]:
    """What curators said of a picture in the collection that it comes from."""
    if provenance.get("kind") != KIND:
        return []
    return [
        Change(picture_id=picture_id, field=field, value=provenance[field])
        for field in ("state", "stars")
        if field in provenance
    ]


def without_votes(provenance: dict[str, str]) -> dict[str, str]:
    """Where a picture comes from, and no more than that."""
    return {key: value for key, value in provenance.items() if key not in ("state", "stars")}


def _item(picture: Picture) -> CollectionItem:
    row: dict[str, Any] = json.loads(picture.item) | {"file_name": "picture"}
    (item,), _ = parse_metadata(canonical_json(row))
    return item
