"""What the curation database holds, as records."""

import dataclasses

STATES = ("unseen", "keep", "maybe", "reject")
VOTES = ("keep", "maybe", "reject")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """A picture as it lies in the collection."""

    name: str
    sha256: str
    label: str
    stamp: str
    """Size and time of the file: while they stay, its digest need not be computed again."""
    item: str
    """Its metadata row, as JSON."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of the collection, and what was decided about it."""

    id: int
    name: str
    sha256: str
    label: str
    state: str
    item: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Which pictures to show: a filter, and where the page begins (or ends)."""

    label: str | None = None
    state: str | None = None
    after: int | None = None
    before: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """Pictures in order of id, and whether the filter finds more on either side."""

    pictures: list[Picture]
    earlier: bool = False
    later: bool = False
