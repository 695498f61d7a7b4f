"""Where a stranger's URL may lead: to public addresses, and to networks the operator names.

The special blocks are those of the IANA registries (RFC 6890 and its successors), written out here
because what `ipaddress` calls global differs between releases of Python.
"""

import dataclasses
import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from urllib.parse import quote, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""Host name and port to addresses as text; OSError when there are none."""

LONGEST_URL = 2048

_SPECIAL_IPV4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24"),
            *("192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            "168.63.129.16/32",  # looks public, but is a cloud's own service to its machines
        ),
    )
)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
"""All else — loopback, link-local, unique local, multicast, IPv4-mapped — is not public."""
_SPECIAL_IPV6 = tuple(
    map(
        ipaddress.IPv6Network,
        # Protocols (Teredo among them), documentation, 6to4, AS112, documentation again.
        ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedError(Exception):
    """A URL that is not followed; the message is the reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A URL in parts, each of them plain ASCII."""

    scheme: str
    host: str
    """A name, or an address without brackets."""
    port: int
    target: str
    """Path and query."""

    @property
    def host_header(self) -> str:
        """What the server is asked for; a default port is left out, as browsers do."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in its plain form."""
        return f"{self.scheme}://{self.host_header}{self.target}"


_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,62})")


def parse_url(url: str, *, ports: Collection[int]) -> Place:
    """Take a URL apart; RefusedError when it is none that may be followed."""
    if len(url) > LONGEST_URL:
        raise RefusedError(f"the URL is longer than {LONGEST_URL} characters")
    if any(ord(character) < 33 or ord(character) == 127 for character in url):
        raise RefusedError("the URL holds spaces or control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise RefusedError(f"it is not a URL: {error}") from None
    if parts.scheme not in _PORTS:
        raise RefusedError("only http:// and https:// are followed")
    if "@" in parts.netloc:
        raise RefusedError("the URL holds a user name or password: leave it out")
    port = _PORTS[parts.scheme] if port is None else port
    if port not in ports:
        allowed = ", ".join(map(str, sorted(ports)))
        raise RefusedError(f"port {port} is not allowed: use one of {allowed}")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]|")
    return Place(scheme=parts.scheme, host=_plain_host(host), port=port, target=target)


def _plain_host(host: str) -> str:
    """A host name in ASCII, or an address in its one canonical spelling."""
    no_host = RefusedError("the URL has no valid host name")
    if not 0 < len(host) <= 253 or "%" in host:
        raise no_host
    try:
        if ":" in host:
            return str(ipaddress.IPv6Address(host))
        plain = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except ValueError:
        raise no_host from None
    if not _HOST.fullmatch(plain):
        raise no_host
    # 2130706433, 0x7f.1 and 0177.0.0.1 are addresses to resolvers, and nothing to people.
    if re.fullmatch(r"\d+|0x[0-9a-f]*", plain.rsplit(".", 1)[-1]):
        try:
            return str(ipaddress.IPv4Address(plain))
        except ValueError:
            raise RefusedError("the host is a number: write the address as 192.0.2.1") from None
    return plain


def is_public(address: Address) -> bool:
    """Whether it is an address of the public internet; embedded IPv4 addresses count, too."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address in _NAT64:  # what networks without IPv4 reach public IPv4 hosts by
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether it is public, or in a network that the operator allows."""
    return is_public(address) or is_named(address, networks)


def is_named(address: Address, networks: Sequence[Network]) -> bool:
    """Whether it is in one of the networks."""
    return any(address.version == net.version and address in net for net in networks)


def resolve_host(host: str, port: int) -> list[str]:
    """Addresses by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(sockaddr[0]) for *_, sockaddr in found]


def checked_addresses(
    place: Place, *, resolve: Resolver, networks: Sequence[Network], timeout_s: float
) -> list[Address]:
    """The host's addresses, resolved once; RefusedError unless each of them is allowed.

    What connects must use these and never the name again, which may then mean another machine.
    The error does not say which address it was: names of inner networks are nobody's business.
    """
    addresses = list(dict.fromkeys(map(_address, _resolved(place, resolve, timeout_s))))
    if not addresses:
        raise RefusedError(f"there is no host {place.host}")
    if not all(is_allowed(address, networks) for address in addresses):
        raise RefusedError(f"{place.host} is not on the public internet")
    return addresses


def _address(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise RefusedError("its address cannot be read") from None


def _resolved(place: Place, resolve: Resolver, timeout_s: float) -> Sequence[str]:
    """The resolver's answer; in a thread of its own, as resolvers know no time limit."""
    if re.fullmatch(r"[0-9.]+", place.host) or ":" in place.host:
        return [place.host]
    answer: list[Sequence[str]] = []

    def ask() -> None:
        try:
            answer.append(resolve(place.host, place.port))
        except (OSError, UnicodeError):
            answer.append([])

    thread = threading.Thread(target=ask, name="resolver", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not answer:
        raise RefusedError(f"the name {place.host} was not resolved within {timeout_s:g} s")
    return answer[0]
