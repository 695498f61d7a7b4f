"""One HTTP request to an address that was checked, every wait of it bounded."""

import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence

from curation_app.intake.addresses import Address, Place, RefusedError
from curation_app.intake.words import clean

AGENT = "Menagerie picture import"


class Deadline:
    """The time that is left: for all of it, and for one silence."""

    def __init__(self, whole_s: float, silence_s: float) -> None:
        self._end = time.monotonic() + whole_s
        self._whole_s, self._silence_s = whole_s, silence_s

    def next_wait_s(self) -> float:
        """How long the next wait may take; RefusedError when time is up."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise RefusedError(f"it was not done within {self._whole_s:g} s")
        return min(left, self._silence_s)

    def silence(self) -> RefusedError:
        """The error for a wait that took too long."""
        if time.monotonic() >= self._end:
            return RefusedError(f"it was not done within {self._whole_s:g} s")
        return RefusedError(f"it said nothing for {self._silence_s:g} s")


@contextlib.contextmanager
def request(
    place: Place,
    addresses: Sequence[Address],
    deadline: Deadline,
    *,
    connect_s: float,
    tls: Callable[[], ssl.SSLContext],
    may_be_own: Callable[[Address], bool],
) -> Iterator[http.client.HTTPResponse]:
    """GET a place from the first of its addresses that answers; TLS verifies the host's name.

    RefusedError when it cannot be had. No proxy, no cookie, no credentials.
    """
    try:
        with _connect(addresses, place.port, deadline, connect_s, may_be_own) as raw:
            plain = place.scheme == "http"
            raw.settimeout(deadline.next_wait_s())
            host = place.host
            with raw if plain else tls().wrap_socket(raw, server_hostname=host) as connected:
                connection = http.client.HTTPConnection(place.host, place.port)
                connection.sock = _TimedSocket(connected, deadline)
                connection.putrequest(
                    "GET", place.target, skip_host=True, skip_accept_encoding=True
                )
                for name, value in _headers(place):
                    connection.putheader(name, value)
                connection.endheaders()
                with connection.getresponse() as response:
                    yield response
    except TimeoutError:
        raise deadline.silence() from None
    except ssl.SSLCertVerificationError as error:
        raise RefusedError(f"its certificate is not trusted: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise RefusedError(f"TLS failed: {error.reason or _plain(error)}") from None
    except OSError as error:
        raise RefusedError(f"the connection broke: {error.strerror or _plain(error)}") from None
    except http.client.HTTPException as error:
        raise RefusedError(f"its answer is not HTTP: {_plain(error)}") from None


def _headers(place: Place) -> Iterator[tuple[str, str]]:
    yield "Host", place.host_header
    yield "User-Agent", AGENT
    yield "Accept", "image/*"
    yield "Accept-Encoding", "identity"
    yield "Connection", "close"


def _connect(
    addresses: Sequence[Address],
    port: int,
    deadline: Deadline,
    connect_s: float,
    may_be_own: Callable[[Address], bool],
) -> socket.socket:
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.settimeout(min(connect_s, deadline.next_wait_s()))
            connected.connect((str(address), port))
            _refuse_own(connected, may_be_own)
        except OSError:
            connected.close()
            continue
        except RefusedError:
            connected.close()
            raise
        return connected
    raise RefusedError("it cannot be reached")


def _refuse_own(connected: socket.socket, may_be_own: Callable[[Address], bool]) -> None:
    """A public address of this very machine also reaches what only listens for neighbours."""
    own = ipaddress.ip_address(connected.getsockname()[0].split("%")[0])
    peer = ipaddress.ip_address(connected.getpeername()[0].split("%")[0])
    if own == peer and not may_be_own(peer):
        raise RefusedError("it leads back to this machine")


class _TimedSocket:
    """What http.client needs of a socket; no trickle of bytes outlasts the deadline."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._connected, self._deadline = connected, deadline

    def sendall(self, data: bytes) -> None:
        self._connected.settimeout(self._deadline.next_wait_s())
        self._connected.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._connected, self._deadline))

    def close(self) -> None:
        """The one who opened it closes it: an answer may still be read."""


class _Reader(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._connected, self._deadline = connected, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview[int]") -> int:  # type: ignore[override]
        self._connected.settimeout(self._deadline.next_wait_s())
        return self._connected.recv_into(buffer)


def _plain(error: Exception) -> str:
    return clean(str(error))[:120] or type(error).__name__
