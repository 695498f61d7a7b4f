"""What an import reads: an origin, which lists pictures and brings their bytes one by one."""

import dataclasses
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from core.data.decode import UnreadableError
from core.data.sources import Entry, Listing, Source
from core.images import Picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brought:
    """One entry of an origin, read: its bytes (or drawn pixels), or the reason why not."""

    entry: Entry
    data: bytes | Picture = b""
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reason: str | None = None


class Origin(Protocol):
    """A place that pictures are brought in from."""

    @property
    def title(self) -> str:
        """What people call it; no path."""

    def listing(self) -> Listing:
        """All pictures, unread; UserError when it is no origin after all."""

    def bring(self, entries: Sequence[Entry]) -> Iterator[Brought]:
        """Read the entries one by one, in their order."""


@dataclasses.dataclass(frozen=True)
class SourceOrigin:
    """A source of `core.data.sources`, and what is to be said of each picture's descent."""

    source: Source
    title: str
    describe: Callable[[Entry], Mapping[str, str]]
    """An entry's provenance."""

    def listing(self) -> Listing:
        """What the source lists."""
        return self.source.listing()

    def bring(self, entries: Sequence[Entry]) -> Iterator[Brought]:
        """Read the source, entry by entry."""
        for entry in entries:
            provenance = self.describe(entry)
            try:
                data = self.source.read(entry)
            except UnreadableError as error:
                yield Brought(entry=entry, provenance=provenance, reason=str(error))
            else:
                yield Brought(entry=entry, data=data, provenance=provenance)


def trouble(error: OSError) -> str:
    """What the machine says, in words that suit a browser: without paths."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return (error.strerror or type(error).__name__).lower()


def source_line(provenance: Mapping[str, str]) -> str:
    """Where a picture came from, in one line for `metadata.jsonl`."""
    if "url" in provenance:
        return provenance["url"]
    parts = [value for key, value in provenance.items() if key not in ("kind", "at")]
    return f"{provenance.get('kind', 'import')} {': '.join(parts)}".strip()
