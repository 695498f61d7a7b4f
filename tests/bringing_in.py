"""What tests of bringing pictures in say to the app, and read from it."""

import io
import re
import zipfile
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select
from werkzeug.test import TestResponse

from curation_app.store.schema import pictures as table
from tests.curating import JSON, app_of, post

Files = list[tuple[str, bytes]]


def zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


def encoded(data: bytes, kind: str = "WEBP") -> bytes:
    """The same picture in other bytes."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, kind, lossless=True, quality=90)
    return buffer.getvalue()


def begin(client: FlaskClient, source: str, into: int | None = None, **form: Any) -> TestResponse:
    where = "/bring-in/" if into is None else f"/bring-in/?collection={into}"
    return post(client, where, plain=True, **{"from": source}, **form)


def upload(client: FlaskClient, files: Files) -> str:
    """Where the import of these files is to be decided."""
    answer = begin(client, "files", files=[(io.BytesIO(data), name) for name, data in files])
    assert answer.status_code == 303, answer.text
    return str(answer.headers["Location"])


def told(client: FlaskClient, url: str, kind: str | None = None) -> dict[str, Any]:
    answer = client.get(url, headers=JSON, query_string={"kind": kind} if kind else None)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def names(client: FlaskClient, url: str, kind: str) -> dict[str, str]:
    """The pictures of one kind, and why they are that, or what is chosen for them."""
    items = told(client, url, kind)["items"]
    return {item["name"]: item["reason"] or item["choice"] for item in items}


def key_of(client: FlaskClient, url: str, kind: str, name: str) -> str:
    (key,) = (item["key"] for item in told(client, url, kind)["items"] if item["name"] == name)
    return str(key)


def apply(client: FlaskClient, url: str, **form: Any) -> TestResponse:
    return post(client, f"{url}/apply", **{"plan": told(client, url)["plan"]} | form)


def shown(client: FlaskClient, collection: int = 1) -> dict[str, dict[str, Any]]:
    """Every picture that a collection shows, by name without digests."""
    rows = client.get(f"/?collection={collection}", headers=JSON).get_json()["pictures"]
    return {re.sub(r"-[0-9a-f]{12}\.", ".", row["name"]): row for row in rows}


def on_record(app: Flask) -> tuple[list[str], list[str]]:
    """What the database holds, and the files that were kept."""
    with app_of(app).engine.connect() as connection:
        rows = connection.execute(select(table.c.name).order_by(table.c.name)).scalars()
        kept = app_of(app).workspace.originals.folder.rglob("*.*")
        return list(rows), sorted(path.name for path in kept)
