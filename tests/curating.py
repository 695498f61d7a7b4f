"""A small real collection, and a browser-like client, for the curation app's tests."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.images import png_bytes
from curation_app import create_app
from curation_app.context import EXTENSION, App

JSON = {"Accept": "application/json"}


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


def open_app(collection: Path, **where: Any) -> tuple[Flask, FlaskClient]:
    app = create_app(collection, **where)
    app.testing = True  # errors in the app reach the test
    return app, app.test_client()


def app_of(app: Flask) -> App:
    found = app.extensions[EXTENSION]
    assert isinstance(found, App)
    return found


def secret_in(client: FlaskClient) -> str:
    found = re.search(r'name="secret" value="(\w+)"', client.get("/").text)
    assert found
    return found[1]


def vote(client: FlaskClient, picture_id: int, state: str) -> TestResponse:
    form = {"secret": secret_in(client), "state": state}
    return client.post(f"/pictures/{picture_id}/vote", data=form, headers=JSON)


def ids_in(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'id="picture-(\d+)"', html)]


def states_in(html: str) -> dict[int, str]:
    found = re.findall(r'id="picture-(\d+)" data-state="(\w+)"', html)
    return {int(number): state for number, state in found}
