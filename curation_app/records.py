"""What the curation database holds, as records."""

import dataclasses
from typing import Any

STATES = ("unseen", "keep", "maybe", "reject")
VOTES = ("keep", "maybe", "reject")
OUTCOMES = ("left", "right", "tie", "skip")
ROLES = ("viewer", "curator", "admin")
"""Each may do what those before it may."""
ARTEFACTS = ("extra ear", "missing fin", "smudged face", "extra limb", "cut off", "noise")
"""Tags that are offered; people add their own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """A picture as it lies in a collection, and what was seen when it was opened."""

    name: str
    sha256: str
    label: str
    stamp: str
    """Size and time of the file: while they stay, it need not be opened again."""
    item: str
    """Its metadata row, as JSON."""
    place: str = ""
    """Empty: the file of that name below the collection's root. `stored`: the app's own originals.
    Anything else: a place in a sample set."""
    source: str = ""
    licence: str = ""
    width_px: int
    height_px: int
    size_bytes: int
    dhash: int
    """64 bits, signed."""
    facts: str
    """Quality measures, as JSON."""
    flags: tuple[str, ...] = ()
    thumbnail: bytes
    """32×32×4, premultiplied: what the search for copies compares."""
    tags: tuple[str, ...] = ()
    """What its metadata row says; a curator's own tags come as actions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collection:
    """A collection or sample set that the app knows."""

    id: int
    root: str
    name: str
    kind: str
    """`pictures` or `samples`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a collection, and what was decided about it."""

    id: int
    collection_id: int
    name: str
    sha256: str
    place: str
    item: str
    source: str
    licence: str
    width_px: int
    height_px: int
    size_bytes: int
    facts: str
    state: str
    stars: int
    """1 to 5; 0 while nobody gave any."""
    label: str
    first_label: str
    merged_into: int | None
    votes: int
    """Comparisons and stars that its score rests on."""
    score: float
    deviation: float
    """Standard deviation of the score."""
    tags: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """Pictures in order, and whether the filter finds more on either side."""

    pictures: list[Picture]
    earlier: bool = False
    later: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curator:
    """Who acts."""

    id: int
    name: str
    role: str
    active: bool = True
    generation: int = 0
    """A session made for another generation has ended."""

    def may(self, role: str) -> bool:
        """Whether this curator may do what the role may."""
        return self.active and ROLES.index(self.role) >= ROLES.index(role)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """A value that an action gives to a picture."""

    picture_id: int
    field: str
    """`state`, `stars`, `label`, `merged_into` (an id or empty), `tag:NAME` (`1` or empty),
    `present` (`1` or empty: brought in by an import that stands), or `apart` (a name that pictures
    share which are no copies of each other, or empty)."""
    value: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Acted:
    """What came of an action."""

    action_id: int | None
    """None when it would have changed nothing."""
    picture_ids: list[int]
    """The pictures that it changed."""
    repeated: bool = False
    """Whether a request with that key had acted already."""
    fields: frozenset[str] = frozenset()
    """What it changed of them: fields as of `Change`, of tags `tag` alone; `vote` for a comparison
    taken back or brought back."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """A pair that a curator judged."""

    action_id: int
    curator_id: int
    left_id: int
    right_id: int
    outcome: str
    repeats_id: int | None = None
    at: str = ""


def as_json(picture: Picture) -> dict[str, Any]:
    """A picture for the API."""
    row = dataclasses.asdict(picture)
    for hidden in ("place", "item", "facts"):
        del row[hidden]
    return row
