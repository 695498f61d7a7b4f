"""A small real collection, and a browser-like client, for the curation app's tests."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.images import png_bytes
from curation_app.app import create_app
from curation_app.context import EXTENSION, App, Settings

JSON = {"Accept": "application/json"}
_opened: list[Flask] = []


def picture(seed: int, channels: int = 4, side_px: int = 24) -> bytes:
    """A PNG that looks like no other one."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    return png_bytes(np.kron(blocks, np.ones((side_px // 4, side_px // 4, 1), np.uint8)))


def make_collection(folder: Path, per_class: int = 3) -> Path:
    """Class folders with pictures: cat and dog."""
    for number, label in enumerate(("cat", "dog")):
        (folder / label).mkdir(parents=True)
        for index in range(per_class):
            data = picture(1000 * number + index)
            (folder / label / f"{index:04d}.png").write_bytes(data)
    return folder


def open_app(*folders: Path, **settings: Any) -> tuple[Flask, FlaskClient]:
    """An app that has opened everything, and a client; errors in the app reach the test."""
    app = create_app(folders, Settings(at_once=True, **settings))
    app.testing = True
    _opened.append(app)
    return app, app.test_client()


def close_apps() -> None:
    """Close the connections of all apps that were opened here."""
    while _opened:
        app_of(_opened.pop()).engine.dispose()


def app_of(app: Flask) -> App:
    found = app.extensions[EXTENSION]
    assert isinstance(found, App)
    return found


def token_in(client: FlaskClient, page: str = "/") -> str:
    found = re.search(r'name="form-token" content="(\w+)"', client.get(page).text)
    assert found
    return found[1]


def post(client: FlaskClient, url: str, *, plain: bool = False, **form: Any) -> TestResponse:
    """Send a form of a page of the app; a script's answer, unless it is `plain`."""
    headers = {} if plain else JSON
    return client.post(url, data={"secret": token_in(client)} | form, headers=headers)


def vote(client: FlaskClient, picture_id: int, state: str, **form: Any) -> TestResponse:
    return post(client, "/act", picture=picture_id, do=f"state:{state}", **form)


def ids_in(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'id="picture-(\d+)"', html)]


def states_in(html: str) -> dict[int, str]:
    found = re.findall(r'id="picture-(\d+)" data-id="\d+" data-state="(\w+)"', html)
    return {int(number): state for number, state in found}
