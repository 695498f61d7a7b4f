"""What a request needs at hand: the app's parts, who asks, and a connection."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from flask import abort, current_app, g, request
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from curation_app.records import Acted, Collection, Curator
from curation_app.store.engine import writing
from curation_app.tallies import Tallies
from curation_app.tasks import Tasks
from curation_app.workspace import Workspace

EXTENSION = "menagerie"
P = ParamSpec("P")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What an app is made with."""

    database: Path | str | None = None
    """SQLite file or PostgreSQL URL; default: `.curation.sqlite` in the first collection."""
    workspace: Path | None = None
    """Folder of previews and originals; default: `.curation` in the first collection."""
    revisions: Path | None = None
    """Folder of frozen revisions; default: beside each collection, with `-revisions` added."""
    packs: tuple[Path, ...] = ()
    """Packs, or folders of packs, to show."""
    data: Path | None = None
    """Pinned dataset to find each sample's nearest training picture in."""
    import_roots: tuple[Path, ...] = ()
    """Folders from which pictures may be brought in by path."""
    share: bool = False
    """Whether people log in; otherwise there is one curator, on this computer."""
    trusted_hosts: tuple[str, ...] = ()
    """Host names under which the app is reached, beside this computer's own."""
    behind_proxy: bool = False
    """Whether a reverse proxy on this computer speaks HTTPS for the app."""
    at_once: bool = False
    """Do background work before answering: for scripts and tests."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class App:
    """The parts of an app."""

    engine: Engine
    tallies: Tallies
    workspace: Workspace
    settings: Settings
    tasks: Tasks
    secret: str
    """What sessions are signed with."""
    opened: tuple[int, ...]
    """The collections that were named when the app was started."""
    unusable: dict[int, dict[str, str]]
    """By collection: files that cannot be shown, and why."""
    listeners: list[Callable[[Acted], None]] = dataclasses.field(default_factory=list)
    """Told of each action after it is on the disk."""
    parts: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What blueprints keep in memory, by their names."""


def get_app() -> App:
    """The app's parts."""
    return cast(App, current_app.extensions[EXTENSION])


def curator() -> Curator:
    """Who asks; set before each request by `security`."""
    return cast(Curator, g.curator)


@contextlib.contextmanager
def reading() -> Iterator[Connection]:
    """A connection to read with, at one point in time."""
    with get_app().engine.connect() as connection:
        yield connection


def acting(act: Callable[[Connection], R]) -> R:
    """Do something in one transaction; what it wrote is on the disk when this returns.

    A key that another request used at the same moment makes it look again, once.
    """
    engine = get_app().engine
    try:
        with writing(engine) as connection:
            return act(connection)
    except IntegrityError:
        with writing(engine) as connection:
            return act(connection)


def needs(role: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let only curators with this role, or a higher one, into a view."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if not curator().may(role):
                abort(403, f"This needs the role {role!r}; {curator().name} is a {curator().role}.")
            return view(*args, **kwargs)

        return guarded

    return decorate


def wants_json() -> bool:
    """Whether a script asks, rather than a plain form."""
    by_path = request.path.startswith("/api/v1/")
    return by_path or request.accept_mimetypes.best == "application/json"


def collection_of(collections: list[Collection], wanted: int | None) -> Collection:
    """The wanted collection among these, by default the first that was named at the start."""
    opened = get_app().opened
    first = [one for one in collections if one.id in opened] or collections
    chosen = [one for one in collections if one.id == wanted] if wanted else first[:1]
    if not chosen:
        abort(404, "There is no such collection.")
    return chosen[0]
