"""What a request needs at hand: the open collection, and a connection to its database."""

import dataclasses
from typing import cast

from flask import current_app, g, request

from curation_app.shelf import Shelf
from curation_app.store import Store

EXTENSION = "menagerie"


@dataclasses.dataclass(frozen=True, kw_only=True)
class App:
    """What an app was made with."""

    shelf: Shelf
    secret: str
    """What every form must send back."""


def get_app() -> App:
    """The open collection."""
    return cast(App, current_app.extensions[EXTENSION])


def get_store() -> Store:
    """This request's own connection, as SQLite's belong to one thread."""
    if "store" not in g:
        g.store = Store(get_app().shelf.database)
    return cast(Store, g.store)


def close_store(error: BaseException | None) -> None:
    """Close the request's connection, if it opened one."""
    store = g.pop("store", None)
    if store is not None:
        store.close()


def wants_json() -> bool:
    """Whether the page's script asks, rather than a plain form."""
    return request.accept_mimetypes.best == "application/json"
