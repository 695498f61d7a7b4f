"""Serving the app: on this computer, or to others who log in."""

import dataclasses
import gc
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from flask import Flask
from waitress.server import BaseWSGIServer, create_server

from core.errors import UserError
from curation_app.accounts import add_admin
from curation_app.app import create_app
from curation_app.context import EXTENSION, App, Settings
from curation_app.security import LOCAL_HOSTS, MAX_UPLOAD_BYTES
from curation_app.store import accounts

_THREADS = 8
_GARBAGE = 20_000
"""Objects made before Python looks for garbage; a page makes some thousand."""
_TURN_S = 0.0005
"""How long one thread computes while others wait."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Where the app listens, and where it keeps things."""

    host: str = "127.0.0.1"
    """127.0.0.1 or localhost; any address of this computer with --share."""
    port: int = 8000
    """TCP port; 0 takes a free one."""
    share: bool = False
    """Let others in, who log in: the first account is made with `--add-admin NAME`."""
    add_admin: str | None = None
    """Make an administrator of this name, ask for the password (or read it from the environment as
    MENAGERIE_PASSWORD), and stop."""
    trusted_host: tuple[str, ...] = ()
    """Host names under which others reach the app: pictures.example.org"""
    behind_proxy: bool = False
    """A reverse proxy on this computer (nginx, Caddy) speaks HTTPS to the world: cookies are then
    for HTTPS alone, and the visitor's address is the one that it forwards."""
    database: Path | None = None
    """SQLite file; by default .curation.sqlite inside the first collection."""
    database_url: str | None = None
    """PostgreSQL instead: postgresql://user@host/name"""
    workspace: Path | None = None
    """Folder of previews and imported pictures; by default .curation in the first collection."""
    revisions: Path | None = None
    """Folder for frozen revisions; by default beside the collection, with -revisions added."""
    packs: tuple[Path, ...] = ()
    """Packs, or folders of packs, to show to game developers."""
    data: Path | None = None
    """Pinned dataset in which to find each sample's nearest training picture."""
    import_root: tuple[Path, ...] = ()
    """Folders from which pictures may be brought in by path, in the browser."""

    def __post_init__(self) -> None:
        if self.host not in LOCAL_HOSTS and not self.share:
            raise UserError(
                f"host is {self.host!r}: give {' or '.join(LOCAL_HOSTS)}, or --share, with which "
                "people log in; or come through a tunnel: ssh -L 8000:127.0.0.1:8000"
            )
        if not 0 <= self.port <= 65535:
            raise UserError(f"port is {self.port}: give 0 (any free one) to 65535")
        if self.database is not None and self.database_url is not None:
            raise UserError("both --database and --database-url are given: give one")

    def app_settings(self) -> Settings:
        """The part of these that the app is made with."""
        return Settings(
            database=self.database_url or self.database,
            workspace=self.workspace,
            revisions=self.revisions,
            packs=self.packs,
            data=self.data,
            import_roots=self.import_root,
            share=self.share,
            trusted_hosts=self._hosts(),
            behind_proxy=self.behind_proxy,
        )

    def _hosts(self) -> tuple[str, ...]:
        own = () if self.host in (*LOCAL_HOSTS, "0.0.0.0", "::") else (self.host,)
        return (*self.trusted_host, *own)


def serve(folders: Sequence[Path], settings: ServeSettings) -> None:
    """Open collections and serve them until interrupted; prints the URL when they can be opened."""
    if settings.add_admin is not None:
        add_admin(folders, settings)
        return
    # The port comes first: better to fail before a large collection has been read.
    with _listen(settings) as listening:
        app = create_app(folders, settings.app_settings())
        parts: App = app.extensions[EXTENSION]
        _refuse_without_admin(parts)
        server = make_server(app, listening)
        for unusable in parts.unusable.values():
            _tell_unusable(unusable)
        port = listening.getsockname()[1]
        print(f"open http://{settings.host}:{port}/ (stop with Ctrl-C)", flush=True)
        # waitress says little, and nothing of use to a curator.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        # What is there by now stays: looking it through for garbage would hold up answers.
        gc.freeze()
        gc.set_threshold(_GARBAGE)
        # Work in the background lets go often, so that no answer waits for it long.
        sys.setswitchinterval(_TURN_S)
        # A service manager's way to say Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        server.run()


def make_server(app: Flask, listening: socket.socket) -> BaseWSGIServer:
    """A production server on a socket that is bound already."""
    parts: App = app.extensions[EXTENSION]
    server = create_server(
        app,
        sockets=[listening],
        threads=_THREADS,
        ident=None,
        channel_timeout=60,
        max_request_body_size=MAX_UPLOAD_BYTES,
        # Flask takes them, and from a proxy alone: security.protect.
        clear_untrusted_proxy_headers=not parts.settings.behind_proxy,
    )
    assert isinstance(server, BaseWSGIServer)  # one socket, one server
    return server


def _refuse_without_admin(parts: App) -> None:
    with parts.engine.connect() as connection:
        if parts.settings.share and not accounts.has_admin(connection):
            raise UserError("nobody can log in yet: make an administrator with --add-admin NAME")


def _tell_unusable(unusable: dict[str, str]) -> None:
    for name, reason in sorted(unusable.items())[:3]:
        print(f"left out: {name}: {reason}")
    if len(unusable) > 3:
        print(f"left out: {len(unusable) - 3} more, listed on the page")


def _listen(settings: ServeSettings) -> socket.socket:
    """A bound socket; the message is ours when the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UserError(
            f"port {settings.port} cannot be used ({(error.strerror or 'error').lower()}): "
            "give another --port, or 0 for any free one"
        ) from None
    return listening
