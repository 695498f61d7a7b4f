"""What holds for every request: who asks, from where, how much they send, and with which form.

Sessions are signed cookies. A form, or a script with a session, must send back the token of the
page that it came from, which other web sites cannot read; a script without a session sends its own
token instead. No text of a request ever becomes a file name.
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import Flask, Response, abort, current_app, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeSerializer
from werkzeug.exceptions import RequestEntityTooLarge, SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix

from core.errors import UserError
from curation_app.context import EXTENSION, App, get_app, reading, wants_json
from curation_app.records import Curator
from curation_app.store import accounts
from curation_app.store.migrations import LOCAL_CURATOR

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOCAL_HOSTS = ("localhost", "127.0.0.1")
MAX_FORM_BYTES = 256 * 1024
MAX_UPLOAD_BYTES = 512 * 1024 * 1024
_MAX_UPLOAD_PARTS = 10_100
_SESSION_DAYS = 30
_SAFE = ("GET", "HEAD", "OPTIONS")
_OPEN = ("accounts.login", "accounts.enter", "static")
"""Pages that need no log-in."""
_UPLOADS = "_takes_uploads"
V = TypeVar("V", bound=Callable[..., Any])

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob: data:; "
    "style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def protect(app: Flask, secret: str, *, share: bool, hosts: tuple[str, ...]) -> None:
    """Set an app up so that the rules above hold."""
    parts = cast(App, app.extensions[EXTENSION])
    if parts.settings.behind_proxy:
        if not share:
            raise UserError("--behind-proxy lets others in, who must log in: give --share as well")
        app.wsgi_app = _behind_local_proxy(app.wsgi_app)  # type: ignore[assignment, method-assign]
    app.secret_key = secret
    # A list, and checked by Flask before anything else: a stranger's name that resolves to this
    # computer (DNS rebinding) gets nothing.
    app.config["TRUSTED_HOSTS"] = [*LOCAL_HOSTS, *hosts]
    app.config["MAX_CONTENT_LENGTH"] = MAX_FORM_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_FORM_BYTES
    app.config["SESSION_COOKIE_NAME"] = _cookie_name(secret, https=parts.settings.behind_proxy)
    app.config["SESSION_COOKIE_SECURE"] = parts.settings.behind_proxy
    app.config["SESSION_COOKIE_HTTPONLY"] = True
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    # A session ends so many days after the log-in, used or not.
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(days=_SESSION_DAYS)
    app.before_request(_refuse_strange_host)
    app.before_request(_know_curator_shared if share else _know_curator_local)
    app.before_request(_bound_body)
    app.before_request(_check_token)
    app.after_request(_add_headers)
    app.jinja_env.globals["form_token"] = form_token


def takes_uploads(view: V) -> V:
    """Let a view take bodies up to MAX_UPLOAD_BYTES; all others take forms alone."""
    setattr(view, _UPLOADS, True)
    return view


def form_token() -> str:
    """What this session's forms send back, as `secret`."""
    if "token" not in session:
        session["token"] = secrets.token_hex(16)
        session.permanent = True
    return str(session["token"])


def script_token(curator: Curator) -> str:
    """What a script sends as `Authorization: Bearer …` to act as this curator."""
    return _serializer().dumps([curator.id, curator.generation])


def enter(curator: Curator) -> None:
    """Begin a session; whatever an earlier one held is gone."""
    leave()
    session["curator"] = [curator.id, curator.generation]
    form_token()


def leave() -> None:
    """End the session of this browser."""
    session.clear()


def own_page(text: str) -> str | None:
    """An address to go on to, when it is one of ours: a path, without host; else None."""
    if not text.startswith("/") or text.startswith(("//", "/\\")):
        return None
    return None if any(ord(character) < 33 for character in text) else text


def visitor_address() -> str:
    """Where a request comes from: an IPv4 address, or the network that one IPv6 customer has."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return (request.remote_addr or "")[:60]
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def _cookie_name(secret: str, *, https: bool) -> str:
    """Apps on other ports of one computer share its cookies: each app has its own name for them."""
    own = hashlib.sha256(secret.encode()).hexdigest()[:8]
    return f"{'__Host-' if https else ''}menagerie-{own}"


def _behind_local_proxy(direct: "WSGIApplication") -> "WSGIApplication":
    """Believe the address and the protocol that are forwarded by a proxy on this computer alone."""
    forwarded = ProxyFix(direct, x_for=1, x_proto=1)

    def choose(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        here = _is_loopback(environ.get("REMOTE_ADDR", ""))
        return (forwarded if here else direct)(environ, start)

    return choose


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _refuse_strange_host() -> None:
    """Flask notes a host that is not trusted, and would look at everything else before it."""
    if isinstance(request.routing_exception, SecurityError):
        raise request.routing_exception


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(get_app().secret, salt="script")


def _know_curator_local() -> None:
    if not _is_loopback(request.remote_addr or ""):
        abort(403, "Others get in with --share alone.")
    with reading() as connection:
        g.curator = accounts.local_curator(connection)
    g.by_script = _of_token(_bearer() or "") == [g.curator.id, g.curator.generation]


def _know_curator_shared() -> ResponseReturnValue | None:
    bearer = _bearer()
    found = _claimed(session.get("curator") if bearer is None else _of_token(bearer))
    if found is not None:
        g.curator = found
        g.by_script = bearer is not None
        return None
    if request.endpoint in _OPEN:
        return None
    if wants_json() or bearer is not None:
        abort(401, "Log in first, or send a script token as Authorization: Bearer …")
    if request.method in _SAFE:
        return redirect(url_for("accounts.login", next=request.full_path.rstrip("?")))
    return redirect(url_for("accounts.login", lost=1), 303)


def _claimed(claim: list[int] | None) -> Curator | None:
    """The curator whom a session or a script token names, while it holds."""
    if claim is None:
        return None
    with reading() as connection:
        found = accounts.curator(connection, claim[0])
    if found is None or not found.active or found.generation != claim[1]:
        return None
    # Anybody on this computer could be the local curator while nobody had to log in.
    return None if found.name == LOCAL_CURATOR else found


def _bearer() -> str | None:
    given = request.headers.get("Authorization", "")
    return given.removeprefix("Bearer ") if given.startswith("Bearer ") else None


def _of_token(token: str) -> list[int] | None:
    try:
        claim = _serializer().loads(token)
    except BadSignature:
        return None
    return claim if isinstance(claim, list) and len(claim) == 2 else None


def _bound_body() -> None:
    """Strangers, and views that take no files, get no room for them."""
    view = current_app.view_functions.get(request.endpoint or "")
    # Files go to the disk part by part; a form of another type is held in memory whole.
    brings_files = getattr(view, _UPLOADS, False) and request.mimetype == "multipart/form-data"
    if brings_files and "curator" in g and g.curator.may("curator"):
        request.max_content_length = MAX_UPLOAD_BYTES
        request.max_form_parts = _MAX_UPLOAD_PARTS
    limit = request.max_content_length or MAX_FORM_BYTES
    if (request.content_length or 0) > limit:
        _refuse_body()


def _refuse_body() -> None:
    limit = (request.max_content_length or MAX_FORM_BYTES) // 1024
    allowed = f"{limit // 1024} MB" if limit > 1024 else f"{limit} kB"
    parts = request.max_form_parts
    abort(413, f"That is too much at once: at most {allowed} in {parts} parts are taken here.")


def _check_token() -> None:
    if request.method in _SAFE or g.get("by_script"):
        return
    try:
        given = request.headers.get("X-Form-Token") or request.form.get("secret", "")
    except RequestEntityTooLarge:
        _refuse_body()
    expected = str(session.get("token", ""))
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        abort(403, "This form was not made by this app: open its page again, and send it there.")


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if response.mimetype in ("text/html", "application/json"):
        # Going back must not show votes as they were.
        response.headers["Cache-Control"] = "no-store"
    elif "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "private, no-cache"
    return response
