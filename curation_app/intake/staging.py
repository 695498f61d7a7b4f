"""Reading an origin once: each picture checked, kept by digest, and told as a candidate.

Staging that was interrupted goes on where it was when it is run again: originals that are there
already are neither written nor checked a second time. Nothing is ever half there.
"""

import collections
import dataclasses
import datetime
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from core.data.decode import UnreadableError, decode
from core.data.sources import Entry, check_digest
from core.errors import UserError
from core.files import canonical_json
from core.images import Picture, png_bytes
from curation_app.intake.candidates import UNLABELLED, Candidate, Limits
from curation_app.intake.decoding import in_turn
from curation_app.intake.originals import Originals
from curation_app.intake.origins import Brought, Origin, source_line, trouble
from curation_app.intake.words import clean_label, clean_name, clean_note, clean_tags

_EXTRA_LENGTH = 64 * 2**10
_WORKERS = 8
_HELD_BYTES = 96 * 2**20
"""Of pictures that were read and wait to be checked."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far staging has come."""

    done: int
    """Candidates yielded, refused ones included."""
    total: int
    refused: int
    bytes: int
    """Of the accepted ones."""
    ignored: int
    """Files of the origin that do not look like pictures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manner:
    """How pictures are staged."""

    limits: Limits = dataclasses.field(default_factory=Limits)
    licence: str = ""
    """Of pictures that state none."""
    enough_px: int | None = None
    """As of `core.data.decode.decode`: `look` may be given a JPEG at a fraction of its size."""
    look: Callable[[bytes, Picture], Any] | None = None
    """Called with each picture's bytes and pixels, in threads: thumbnails and hashes, say, made
    while the picture is decoded anyway. UnreadableError refuses the picture."""


def stage(
    origin: Origin,
    originals: Originals,
    manner: Manner | None = None,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[Candidate]:
    """Read an origin's pictures, keep the good ones, and yield a candidate for each.

    What the origin's listing refuses comes first, then its pictures in order. UserError when the
    origin holds more than the limit allows, or the disk is full: what was staged by then stays.
    """
    manner = manner or Manner()
    listing = origin.listing()
    total = len(listing.entries) + len(listing.rejected)
    if total > manner.limits.max_pictures:
        most = f"{manner.limits.max_pictures:,}"
        raise UserError(f"{origin.title} holds {total:,} pictures, above the {most}: split it")
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    stager = _Stager(originals, manner, at)
    counted = Progress(done=0, total=total, refused=0, bytes=0, ignored=listing.ignored)
    progress(counted)
    try:
        for candidate in stager.candidates(origin, listing.entries, listing.rejected):
            counted = _count(counted, candidate)
            progress(counted)
            yield candidate
    except OSError as error:
        kept = f"the {counted.done - counted.refused:,} pictures so far are kept"
        why = f"{trouble(error)}; {kept}: mend that and start the import again"
        raise UserError(f"{origin.title}: {why}") from None


def _count(counted: Progress, candidate: Candidate) -> Progress:
    return dataclasses.replace(
        counted,
        done=counted.done + 1,
        refused=counted.refused + (candidate.reason is not None),
        bytes=counted.bytes + candidate.bytes,
    )


@dataclasses.dataclass(frozen=True)
class _Stager:
    originals: Originals
    manner: Manner
    at: str

    def candidates(
        self, origin: Origin, entries: list[Entry], rejected: dict[str, str]
    ) -> Iterator[Candidate]:
        for name, reason in sorted(rejected.items()):
            source = clean_note(origin.title)
            yield Candidate(name=clean_name(name), source=source, reason=reason)
        # Reading is in order and by one thread; checking and writing overlap with it.
        waiting: collections.deque[tuple[Future[Candidate], int]] = collections.deque()
        pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="staging")
        try:
            received = held = 0
            for brought in origin.bring(entries):
                length = _length(brought)
                received, held = received + length, held + length
                waiting.append((pool.submit(self._take, brought, received), length))
                while len(waiting) > 2 * _WORKERS or (held > _HELD_BYTES and waiting):
                    future, length = waiting.popleft()
                    held -= length
                    yield future.result()
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _take(self, brought: Brought, received: int) -> Candidate:
        provenance = {key: clean_note(value) for key, value in brought.provenance.items()}
        provenance.setdefault("at", self.at)
        entry = brought.entry
        blank = Candidate(
            name=clean_name(entry.name),
            source=clean_note(entry.source) or source_line(provenance),
            licence=clean_note(entry.licence) or clean_note(self.manner.licence),
            provenance=provenance,
        )
        try:
            blank = dataclasses.replace(blank, label=clean_label(entry.label or UNLABELLED))
            if brought.reason is not None:
                raise UnreadableError(brought.reason)
            self._check_amount(received)
            described = dataclasses.replace(
                blank,
                tags=clean_tags(entry.tags),
                split=entry.split,
                score=entry.score,
                extra=_checked_extra(entry),
            )
            return self._kept(described, brought)
        except UnreadableError as error:
            return dataclasses.replace(blank, reason=str(error))
        except MemoryError:
            return dataclasses.replace(blank, reason="too large for this machine's memory")

    def _check_amount(self, received: int) -> None:
        most = self.manner.limits.max_total_bytes
        if received > most:
            raise UnreadableError(f"the import's limit of {most / 2**30:g} GiB is reached")

    def _kept(self, candidate: Candidate, brought: Brought) -> Candidate:
        drawn = not isinstance(brought.data, bytes)
        data = png_bytes(brought.data) if not isinstance(brought.data, bytes) else brought.data
        if len(data) > self.manner.limits.max_bytes:
            most = self.manner.limits.max_bytes / 2**20
            raise UnreadableError(f"the file is larger than {most:g} MiB")
        sha256 = check_digest(brought.entry, data)
        look = None
        # An original was checked before it was kept.
        if self.manner.look or not (drawn or self.originals.find(sha256)):
            look = self._checked(data)
        place = self.originals.keep(data, sha256)
        return dataclasses.replace(
            candidate, sha256=sha256, place=place, bytes=len(data), look=look
        )

    def _checked(self, data: bytes) -> Any:
        """Decode the picture, as nothing less tells that it is one; what `look` made of it."""
        manner = self.manner

        def check() -> Any:
            most = manner.limits.max_megapixels
            pixels = decode(data, enough_px=manner.enough_px, max_megapixels=most)
            return manner.look(data, pixels) if manner.look else None

        return in_turn(data, check)


def _length(brought: Brought) -> int:
    data = brought.data
    return len(data) if isinstance(data, bytes) else data.nbytes


def _checked_extra(entry: Entry) -> dict[str, Any]:
    """Columns that others put into the metadata, if they can be written again."""
    extra = dict(entry.extra or {})
    try:
        length = len(canonical_json(extra).encode())
    except (ValueError, RecursionError):
        raise UnreadableError("its metadata holds values that cannot be written again") from None
    if length > _EXTRA_LENGTH:
        raise UnreadableError(f"its metadata is longer than {_EXTRA_LENGTH // 2**10} KiB")
    return extra
