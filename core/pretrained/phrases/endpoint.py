"""One request to a chat endpoint, and the key that goes with it and nowhere else."""

import dataclasses
import email.utils
import http.client
import os
import time
import urllib.error
import urllib.request
from typing import Any

from core.errors import UserError
from core.pretrained.phrases.config import is_loopback

_LARGEST_BYTES = 2**20
"""Of an answer."""
_SECRET_LETTERS = 4
"""A shorter key is a stand-in for none, and common in text."""


class Key:
    """A secret from the environment; neither its repr nor any error shows it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._value = os.environ.get(name, "").strip() if name else ""
        if not (self._value.isascii() and self._value.isprintable()) or " " in self._value:
            raise UserError(
                f"the key in the environment variable {name} holds spaces or letters that no key "
                "has: set it again"
            )

    def __repr__(self) -> str:
        return f"Key({self.variable!r})"

    @property
    def variable(self) -> str:
        """Its variable's name, for errors; not where it may be a key that was given for a name."""
        shown = self._value or self._name.isupper()
        return self._name if shown else "that --key-env names"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a key is not written down")

    def hidden_in(self, text: str) -> str:
        """The text without the key, should somebody have sent it back."""
        return text.replace(self._value, "[key]") if len(self._value) >= _SECRET_LETTERS else text

    def headers(self, base_url: str) -> dict[str, str]:
        """The header that shows the key to an endpoint; UserError when others could read it."""
        if not self._value:
            return {}
        if not base_url.startswith("https://") and not is_loopback(base_url):
            raise UserError(
                f"the key in {self._name} would go to {base_url} unencrypted: give an https "
                "address, a tunnel to it on localhost, or --key-env '' to send none"
            )
        return {"Authorization": f"Bearer {self._value}"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What an endpoint sent back."""

    status: int
    data: bytes
    retry_after: str = ""
    """Its header of that name."""

    def retry_after_s(self) -> float:
        """How long it asks to wait (RFC 9110, 10.2.3): seconds or a date; 0 when it does not."""
        value = self.retry_after.strip()
        if value.isascii() and value.isdigit():
            return float(value[:9])
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            return 0.0


class UnreachableError(Exception):
    """No answer came: the connection failed, broke off, or took too long."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Never: a key is for the address that was given."""
        return


def post(url: str, body: bytes, key: Key, *, timeout_s: float) -> Answer:
    """Send JSON, wait for the whole answer; UnreachableError when none comes in time."""
    headers = {"Content-Type": "application/json", "User-Agent": "menagerie"} | key.headers(url)
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    handlers: list[Any] = [_NoRedirect()]
    if is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + timeout_s
    try:
        try:
            response = urllib.request.build_opener(*handlers).open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            data = _read(response, deadline)
            asked = response.headers.get("Retry-After", "")
            return Answer(status=response.status, data=data, retry_after=asked)
    except TimeoutError:
        raise UnreachableError(f"no answer within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise UnreachableError(f"no answer within {timeout_s:g} s") from None
        raise UnreachableError(f"{type(reason).__name__}: {reason}"[:200]) from None


def _read(response: Any, deadline: float) -> bytes:
    """The whole body, however slowly it drips in, until the deadline."""
    data = bytearray()
    while piece := response.read1(65536):
        data += piece
        if len(data) > _LARGEST_BYTES:
            raise ValueError(f"the answer has more than {_LARGEST_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    wanted = response.headers.get("Content-Length", "")
    if wanted.isdigit() and len(data) < int(wanted):
        raise http.client.IncompleteRead(bytes(data))
    return bytes(data)
