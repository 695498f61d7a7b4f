"""Serving the app on this computer."""

import dataclasses
import socket
from pathlib import Path

from werkzeug.serving import WSGIRequestHandler, make_server

from core.errors import UserError
from curation_app.app import TRUSTED_HOSTS, create_app
from curation_app.context import EXTENSION
from curation_app.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Where the app listens, and where it keeps things."""

    host: str = "127.0.0.1"
    """127.0.0.1 or localhost: the app has no log-in, and is for this computer only."""
    port: int = 8000
    """TCP port; 0 takes a free one."""
    database: Path | None = None
    """Votes; by default .curation.sqlite inside the collection."""
    revisions: Path | None = None
    """Folder for frozen revisions; by default beside the collection, with -revisions added."""

    def __post_init__(self) -> None:
        if self.host not in TRUSTED_HOSTS:
            raise UserError(
                f"host is {self.host!r}: give {' or '.join(TRUSTED_HOSTS)}, as the app has no "
                "log-in; from another computer, come through a tunnel: ssh -L 8000:127.0.0.1:8000"
            )
        if not 0 <= self.port <= 65535:
            raise UserError(f"port is {self.port}: give 0 (any free one) to 65535")


def serve(collection: Path, settings: ServeSettings) -> None:
    """Open a collection and serve it until interrupted; prints the URL when it can be opened."""
    # The port comes first: better to fail before a large collection has been read.
    with _listen(settings) as listening:
        app = create_app(collection, settings.database, settings.revisions)
        server = make_server(
            settings.host,
            settings.port,
            app,
            threaded=True,
            request_handler=_QuietHandler,
            fd=listening.fileno(),
        )
    unusable = app.extensions[EXTENSION].shelf.unusable
    for name, reason in sorted(unusable.items())[:3]:
        print(f"left out: {name}: {reason}")
    if len(unusable) > 3:
        print(f"left out: {len(unusable) - 3} more, listed on the page")
    print(f"open http://{settings.host}:{server.port}/ (stop with Ctrl-C)", flush=True)
    # SQLite tidies up when its last connection closes: with one that stays, no request waits.
    with Store(app.extensions[EXTENSION].shelf.database) as held:
        held.secret()
        server.serve_forever()


class _QuietHandler(WSGIRequestHandler):
    timeout = 60
    """Seconds until a connection that says nothing is closed."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: a page of pictures would be sixty lines."""


def _listen(settings: ServeSettings) -> socket.socket:
    """A listening socket; werkzeug's own ends the process when the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
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
