"""Lists of URLs: a URL a line with class and licence behind it, or CSV with a header."""

import collections
import contextlib
import csv
import dataclasses
import datetime
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from core.data.decode import UnreadableError
from core.data.sources import Entry, Listing
from core.errors import UserError
from core.files import canonical_json, digest_bytes, digest_of
from curation_app.intake.addresses import LONGEST_URL
from curation_app.intake.candidates import UNLABELLED
from curation_app.intake.fetch import Fetched, FetchError, Rules, fetch
from curation_app.intake.originals import Originals
from curation_app.intake.origins import Brought
from curation_app.intake.words import clean

MOST_BYTES = 32 * 2**20
"""Of a list of URLs."""
_MOST_LINES = 200_000
_COLUMNS = {
    "url": ("url", "image_url", "imageurl", "link", "href", "address"),
    "label": ("label", "class", "category"),
    "licence": ("licence", "license"),
    "tags": ("tags",),
}
"""Our columns, and what they are called elsewhere."""
_AT_ONCE = 4
_AT_ONE_HOST = 2
_REMEMBERED = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link:
    """A picture's URL, and what the list says of it."""

    url: str
    label: str = ""
    licence: str = ""
    tags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkList:
    """A list of URLs, read."""

    links: list[Link]
    rejected: dict[str, str]
    """The line to the reason, for lines that cannot be used."""


def read_links(path: Path) -> LinkList:
    """Read a list of URLs from a text file; UserError when it is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path.name} is larger than {MOST_BYTES // 2**20} MiB: split it")
        return parse_links(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} cannot be read as UTF-8 text: {error}") from None


def parse_links(text: str) -> LinkList:
    """Read a list of URLs; UserError when there is not one in it.

    CSV when its first line has a column `url` (and, if it likes, `label`, `licence`, `tags` by
    semicolons), divided by commas, semicolons or tabs. Else a URL a line; behind it, after a tab
    or spaces, its class and then its licence. Empty lines and those that begin with # are passed
    over.
    """
    if len(text) > MOST_BYTES or text.count("\n") > _MOST_LINES:
        raise UserError(f"the list has more than {_MOST_LINES:,} lines: split it")
    lines = text.removeprefix("\ufeff").splitlines()
    first = lines[0].strip().lower() if lines else ""
    header = _header(first)
    rows = _csv_rows(lines, *header) if header else _plain_rows(lines)
    links: dict[str, Link] = {}
    rejected: dict[str, str] = {}
    for number, link in rows:
        url = link.url
        if not re.match(r"https?://", url, re.IGNORECASE):
            rejected[f"line {number}"] = f"{clean(url)[:80]!r} is no http:// or https:// URL"
        elif len(url) > LONGEST_URL:
            rejected[f"line {number}"] = f"its URL is longer than {LONGEST_URL} characters"
        elif url in links:
            rejected[f"line {number}"] = f"its URL is named twice: {clean(url)[:200]}"
        else:
            links[url] = link
    if not links:
        why = "".join(f"; {line}: {reason}" for line, reason in list(rejected.items())[:1])
        raise UserError(f"the list has no URL: give one a line, as https://…{why}")
    return LinkList(links=list(links.values()), rejected=rejected)


def _header(line: str) -> tuple[str, dict[str, int]] | None:
    """How the columns of a CSV are divided, and where each of ours is."""
    for divider in ",;\t":
        names = [name.strip().strip('"') for name in line.split(divider)]
        if len(names) > 1 and any(name in _COLUMNS["url"] for name in names):
            found = {
                ours: next((names.index(name) for name in theirs if name in names), -1)
                for ours, theirs in _COLUMNS.items()
            }
            return divider, found
    return None


def _csv_rows(
    lines: Sequence[str], divider: str, columns: dict[str, int]
) -> Iterator[tuple[int, Link]]:
    reader = csv.reader(lines, delimiter=divider)
    try:
        next(reader)
        for row in reader:
            cells = {
                name: row[at].strip() if 0 <= at < len(row) else "" for name, at in columns.items()
            }
            if any(cells.values()):
                tags = tuple(filter(None, map(str.strip, cells.pop("tags").split(";"))))
                yield reader.line_num, Link(**cells, tags=tags)
    except csv.Error as error:
        raise UserError(f"the list is not valid CSV at line {reader.line_num}: {error}") from None


def _plain_rows(lines: Sequence[str]) -> Iterator[tuple[int, Link]]:
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        heading = number == 1 and text.lower() in _COLUMNS["url"]
        if not text or text.startswith("#") or heading:
            continue
        parts = text.split("\t") if "\t" in text else text.split(None, 2)
        url, label, licence = ([part.strip() for part in parts] + ["", ""])[:3]
        yield number, Link(url=url, label=label, licence=licence)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkOrigin:
    """The pictures that a list of URLs names; several are downloaded at once, few from one host.

    With `memory`, a folder, what was downloaded within a day is not downloaded again: an
    interrupted import goes on where it was.
    """

    links: LinkList
    originals: Originals
    title: str = "the list of URLs"
    default_label: str = UNLABELLED
    rules: Rules = dataclasses.field(default_factory=Rules)
    memory: Path | None = None
    fetch: Callable[[str, Rules], Fetched] = fetch

    def listing(self) -> Listing:
        """An entry for each URL, in the order of the list."""
        entries = [
            Entry(
                name=_name(link.url),
                label=link.label or self.default_label,
                locator=link.url,
                licence=link.licence or None,
                source=link.url,
                tags=link.tags,
            )
            for link in self.links.links
        ]
        return Listing(entries=entries, rejected=self.links.rejected)

    def bring(self, entries: Sequence[Entry]) -> Iterator[Brought]:
        """Download the entries' URLs, in their order."""
        downloads = _Downloads(self)
        waiting: collections.deque[Future[Brought]] = collections.deque()
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="download")
        try:
            for entry in entries:
                waiting.append(pool.submit(downloads.bring, entry))
                if len(waiting) >= _AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Who gave up does not wait for servers that let others wait.
            pool.shutdown(wait=False, cancel_futures=True)


def forget_downloads(memory: Path) -> None:
    """Remove what no import can go on from any more."""
    before = time.time() - _REMEMBERED.total_seconds()
    for path in sorted(memory.glob("*.jsonl")):
        with contextlib.suppress(FileNotFoundError):  # another import forgets, too
            if path.stat().st_mtime < before:
                path.unlink()


class _Downloads:
    """The downloads of one import, and the memory of earlier ones."""

    def __init__(self, origin: LinkOrigin) -> None:
        self._origin = origin
        self._hosts: dict[str, threading.Semaphore] = {}
        self._lock = threading.Lock()
        self._path = None
        self._known: dict[str, dict[str, str]] = {}
        if origin.memory is not None:
            name = digest_of(sorted(link.url for link in origin.links.links))
            self._path = origin.memory / f"{name[:32]}.jsonl"
            self._known = _recall(self._path)

    def bring(self, entry: Entry) -> Brought:
        url = entry.locator
        known = self._known.get(url)
        if known:
            try:
                data = self._origin.originals.read(known["sha256"])
                return _brought(entry, data, known)
            except UnreadableError:
                pass  # staging was interrupted before it was kept
        try:
            with self._host(url):
                fetched = self._origin.fetch(url, self._origin.rules)
        except FetchError as error:
            return Brought(entry=entry, provenance={"kind": "url", "url": url}, reason=error.reason)
        facts = {"url": url, "final_url": fetched.final_url, "at": fetched.at}
        self._remember(facts | {"sha256": digest_bytes(fetched.data)})
        return _brought(entry, fetched.data, facts)

    def _host(self, url: str) -> threading.Semaphore:
        try:
            host = urlsplit(url).netloc.lower()
        except ValueError:
            host = ""
        with self._lock:
            return self._hosts.setdefault(host, threading.Semaphore(_AT_ONE_HOST))

    def _remember(self, facts: dict[str, str]) -> None:
        """A line in one write, begun anew after one that was torn."""
        if self._path is None:
            return
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"\n" + canonical_json(facts).encode() + b"\n")


def _brought(entry: Entry, data: bytes, facts: dict[str, str]) -> Brought:
    provenance = {"kind": "url"} | {key: facts[key] for key in ("url", "final_url", "at")}
    return Brought(entry=entry, data=data, provenance=provenance)


def _recall(path: Path) -> dict[str, dict[str, str]]:
    """What was downloaded lately, by URL; lines that were torn say nothing."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    rows = (row for row in map(_row, lines) if row is not None)
    return {row["url"]: row for row in rows}


def _row(line: bytes) -> dict[str, str] | None:
    try:
        row: Any = json.loads(line)
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(row["at"])
        complete = {"url", "final_url", "at", "sha256"} <= row.keys()
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return row if complete and age < _REMEMBERED else None


def _name(url: str) -> str:
    """What a browser would call the download: the end of the URL's path, else its host."""
    try:
        parts = urlsplit(url)
        last = unquote(parts.path.rstrip("/").rsplit("/", 1)[-1])
        return last or parts.netloc.rsplit("@", 1)[-1]
    except ValueError:
        return url[-80:]
