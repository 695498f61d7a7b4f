"""A shared app with an administrator, a curator and a viewer, for tests of who may do what."""

import functools
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from curation_app.accounts import hash_password
from curation_app.store import accounts
from curation_app.store.engine import writing
from tests.curating import JSON, app_of, open_app, token_in

PASSWORD = "four odd words here"
PEOPLE = {"ada": "admin", "cleo": "curator", "vic": "viewer"}


@functools.cache
def _hashed() -> str:
    return hash_password(PASSWORD)


def open_shared(*folders: Path, **settings: Any) -> Flask:
    """An app in which PEOPLE log in with PASSWORD."""
    app, _ = open_app(*folders, share=True, **settings)
    with writing(app_of(app).engine) as connection:
        for name, role in PEOPLE.items():
            if accounts.named(connection, name) is None:
                accounts.add_curator(connection, name, role, _hashed())
    return app


def log_in(
    client: FlaskClient,
    name: str,
    password: str = PASSWORD,
    *,
    address: str = "127.0.0.1",
    **form: str,
) -> TestResponse:
    """Fill in the form, from some address."""
    here = {"REMOTE_ADDR": address}
    form |= {"secret": token_in(client, "/login"), "name": name, "password": password}
    return client.post("/login", data=form, headers=JSON, environ_overrides=here)


def client_of(app: Flask, name: str) -> FlaskClient:
    """A browser in which somebody has logged in."""
    client = app.test_client()
    assert log_in(client, name).status_code == 200
    return client
