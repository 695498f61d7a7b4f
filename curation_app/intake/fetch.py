"""A stranger's URL to the bytes of a picture, without becoming the stranger's tool.

The host is resolved once, every address of it must be public, and the connection goes to that very
address; redirects are followed by hand and checked anew; sizes and times are bounded.
"""

import dataclasses
import datetime
import email.utils
import functools
import http.client
import ssl
import time
import zlib
from collections.abc import Callable
from urllib.parse import quote, urljoin, urlsplit

from core.errors import UserError
from curation_app.intake.addresses import (
    Network,
    Place,
    RefusedError,
    Resolver,
    checked_addresses,
    is_named,
    parse_url,
    resolve_host,
)
from curation_app.intake.connection import Deadline, request
from curation_app.intake.formats import LONGEST_MAGIC, PICTURES, sniff
from curation_app.intake.words import clean

_BLOCK = 64 * 2**10
_REDIRECTS = (301, 302, 303, 307, 308)
_BUSY = (429, 503)
_ANYTHING = ("", "application/octet-stream", "binary/octet-stream")
"""What servers call files that they know nothing of; the bytes then decide alone."""


@functools.cache
def _default_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What a download may do."""

    ports: frozenset[int] = frozenset((80, 443))
    networks: tuple[Network, ...] = ()
    """Networks that are allowed although they are not public: an institute's own server."""
    max_bytes: int = 32 * 2**20
    """Of the picture, also after unpacking what the server packed."""
    connect_s: float = 10.0
    silence_s: float = 15.0
    """Longest wait for the next byte."""
    whole_s: float = 60.0
    """Longest time of an attempt, redirects included."""
    redirects: int = 5
    attempts: int = 3
    """How often a busy server (429, 503) is asked."""
    longest_pause_s: float = 30.0
    """Longest pause between attempts; a server that asks for more is not asked again."""
    resolve: Resolver = resolve_host
    tls: Callable[[], ssl.SSLContext] = _default_tls
    pause: Callable[[float], object] = time.sleep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fetched:
    """A downloaded picture file."""

    data: bytes
    url: str
    """The URL asked for."""
    final_url: str
    """The URL that answered."""
    media_type: str
    """By its first bytes."""
    at: str
    """When, in UTC (ISO 8601)."""


class FetchError(UserError):
    """A URL that gives no picture; `reason` is the message without the URL."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{_shown(url)}: {reason}")
        self.reason = reason


class _BusyError(Exception):
    def __init__(self, status: int, wait_s: float | None) -> None:
        super().__init__(status)
        self.status, self.wait_s = status, wait_s


def fetch(url: str, rules: Rules | None = None) -> Fetched:
    """Download a picture; FetchError, in one line, when that is refused or fails."""
    rules = rules or Rules()
    for attempt in range(1, rules.attempts + 1):
        try:
            return _fetch_once(url, rules)
        except _BusyError as busy:
            wait_s = 2.0 ** (attempt - 1) if busy.wait_s is None else busy.wait_s
            if wait_s > rules.longest_pause_s:
                reason = f"the server is busy ({busy.status}) for {wait_s:.0f} s: try later"
                raise FetchError(url, reason) from None
            if attempt < rules.attempts:
                rules.pause(wait_s)
        except RefusedError as error:
            raise FetchError(url, str(error)) from None
    raise FetchError(url, f"the server is busy, also when asked {rules.attempts} times: try later")


def _fetch_once(url: str, rules: Rules) -> Fetched:
    deadline = Deadline(rules.whole_s, rules.silence_s)
    target = url
    for _ in range(rules.redirects + 1):
        place = parse_url(target, ports=rules.ports)
        addresses = checked_addresses(
            place,
            resolve=rules.resolve,
            networks=rules.networks,
            timeout_s=deadline.next_wait_s(),
        )
        with request(
            place,
            addresses,
            deadline,
            connect_s=rules.connect_s,
            tls=rules.tls,
            may_be_own=lambda own: is_named(own, rules.networks),
        ) as response:
            if response.status in _REDIRECTS:
                target = _redirected(place, response)
                continue
            data, media_type = _picture(response, rules.max_bytes)
        return Fetched(
            data=data,
            url=url,
            final_url=place.url,
            media_type=media_type,
            at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
    raise RefusedError(f"it redirects more than {rules.redirects} times")


def _redirected(place: Place, response: http.client.HTTPResponse) -> str:
    location = response.headers.get("Location", "").strip()
    if not location:
        raise RefusedError("it redirects to nowhere")
    # Headers arrive as Latin-1; what is beyond ASCII in them is UTF-8 bytes.
    plain = quote(location.encode("latin-1", "replace"), safe="".join(map(chr, range(33, 127))))
    try:
        return urljoin(place.url, plain).split("#", 1)[0]
    except ValueError:
        raise RefusedError("it redirects to what is not a URL") from None


def _picture(response: http.client.HTTPResponse, most_bytes: int) -> tuple[bytes, str]:
    """The body of an answer that is a picture, and its kind as its first bytes tell it."""
    status = response.status
    if status in _BUSY:
        raise _BusyError(status, _retry_after_s(response.headers.get("Retry-After")))
    if status != 200:
        raise RefusedError(f"the server answered {status} {clean(response.reason)[:60]}".rstrip())
    _check_type(response.headers.get_content_type() if "Content-Type" in response.headers else "")
    if (response.length or 0) > most_bytes:
        raise _too_large(most_bytes)
    data = _body(response, most_bytes)
    found = sniff(data)
    if found is None:
        raise _no_picture()
    return data, found.media_type


def _check_type(media_type: str) -> None:
    if media_type == "image/svg+xml":
        raise RefusedError("an SVG drawing, not pixels: render it to PNG first")
    if media_type not in _ANYTHING and not media_type.startswith("image/"):
        raise RefusedError(f"the server calls it {clean(media_type)[:60]}, not a picture")


def _body(response: http.client.HTTPResponse, most_bytes: int) -> bytes:
    """Read and unpack, up to the limit; what is no picture is left at its first bytes."""
    unpack = _unpacker(response.headers.get("Content-Encoding", ""))
    stated, received, data = response.length, 0, bytearray()
    while block := response.read(_BLOCK):
        received += len(block)
        if received > most_bytes:
            raise _too_large(most_bytes)
        seen = len(data)
        data += unpack(block, most_bytes + 1 - seen)
        if len(data) > most_bytes:
            raise _too_large(most_bytes)
        if seen < LONGEST_MAGIC <= len(data) and sniff(bytes(data[:LONGEST_MAGIC])) is None:
            raise _no_picture()
    if stated is not None and received < stated:
        raise RefusedError("the connection ended before the whole picture was there")
    return bytes(data)


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    """What undoes the server's packing, giving no more bytes than asked for."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return lambda block, most: block
    if name not in ("gzip", "x-gzip", "deflate"):
        raise RefusedError(f"the server packs it as {clean(encoding)[:40]!r}, which is not known")
    packed = zlib.decompressobj(32 + zlib.MAX_WBITS)

    def unpack(block: bytes, most: int) -> bytes:
        try:
            return packed.decompress(block, max(most, 1))
        except zlib.error:
            raise RefusedError("what the server packed cannot be unpacked") from None

    return unpack


def _retry_after_s(text: str | None) -> float | None:
    """Seconds, or a date; None when neither is said."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())


def _too_large(most_bytes: int) -> RefusedError:
    return RefusedError(f"it is larger than {most_bytes / 2**20:g} MiB")


def _no_picture() -> RefusedError:
    kinds = ", ".join(kind.suffix[1:].upper() for kind in PICTURES)
    return RefusedError(f"it is not a picture of a known kind ({kinds})")


def _shown(url: str) -> str:
    """A URL for a message: short, on one line, without a password."""
    try:
        parts = urlsplit(url)
        if "@" in parts.netloc:
            url = parts._replace(netloc="…@" + parts.netloc.rsplit("@", 1)[1]).geturl()
    except ValueError:
        pass
    text = clean(url)
    return text if len(text) <= 200 else text[:199] + "…"
