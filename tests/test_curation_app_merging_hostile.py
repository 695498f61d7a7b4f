"""Bringing in what means harm, or what cannot be: one line each, and nothing on record."""

import io
import re
from pathlib import Path
from typing import Any

import pytest

from curation_app.security import MAX_FORM_BYTES, MAX_UPLOAD_BYTES
from tests.bringing_in import (
    apply,
    begin,
    names,
    on_record,
    told,
    upload,
    zipped,
)
from tests.curating import JSON, app_of, make_collection, open_app, picture, token_in
from tests.sharing import client_of, open_shared

NEW = picture(5000)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return make_collection(tmp_path / "pets")


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("x.svg", b"<svg onload='alert(1)'/>", "an SVG drawing, not pixels"),
        ("x.png", b"<?xml version='1.0'?><svg/>", "an SVG drawing, not pixels"),
        ("x.png", b"<!doctype html><script>alert(1)</script>", "a web page, not a picture"),
        ("../../x.png", NEW, "the name leads out of the folder"),
        ("x.exe", b"MZ\x90\0", "neither a picture nor a zip"),
        ("a.zip", zipped([("../../slip.png", NEW)]), "the name leads out of the folder"),
        ("a.zip", zipped([("/etc/slip.png", NEW)]), "the name is absolute or a Windows path"),
        ("a.zip", zipped([("cat/bomb.png", bytes(60 * 2**20))]), "a compression bomb"),
        ("a.zip", zipped([("cat/inner.zip", zipped([("x.png", NEW)]))]), "an archive inside"),
    ],
)  # fmt: skip
def test_hostile_uploads_are_one_line_and_nothing_on_record(
    tmp_path: Path, pets: Path, name: str, data: bytes, why: str
) -> None:
    app, client = open_app(pets)
    before, files = on_record(app), sorted(tmp_path.iterdir())
    url = upload(client, [(name, data)])
    (reason,) = names(client, url, "refused").values()
    assert reason.startswith(why)
    assert "\n" not in reason
    assert "nothing would change" in apply(client, url, licence="MIT").get_json()["error"]
    assert on_record(app) == before
    assert sorted(tmp_path.iterdir()) == files
    assert list((app_of(app).workspace.folder / "incoming").iterdir()) == []


def test_a_bomb_of_a_zip_is_refused_whole(pets: Path) -> None:
    app, client = open_app(pets)
    bomb = zipped([(f"cat/{n}.png", bytes(30 * 2**20)) for n in range(10)])
    url = upload(client, [("bomb.zip", bomb), ("ok.png", NEW)])
    assert "compression bomb" in names(client, url, "refused")["bomb.zip"]
    assert names(client, url, "new").keys() == {"ok.png"}
    assert len(on_record(app)[1]) == 1


def test_bodies_that_are_too_large_are_refused_before_they_are_read(pets: Path) -> None:
    app = open_shared(pets)
    cleo, vic = client_of(app, "cleo"), client_of(app, "vic")
    for client, most in ((cleo, MAX_UPLOAD_BYTES), (vic, MAX_FORM_BYTES)):
        length = {"CONTENT_LENGTH": str(most + 1)}
        headers = {"X-Form-Token": token_in(client)} | JSON
        answer = client.post("/bring-in/", headers=headers, environ_overrides=length)
        assert answer.status_code == 413
        assert "at most" in answer.get_json()["error"]
    text = "https://example.org/" + "x" * MAX_FORM_BYTES
    long = begin(cleo, "urls", urls=text, list=(io.BytesIO(b""), ""))
    assert long.status_code == 413
    assert on_record(app)[1] == []


@pytest.mark.parametrize(
    "target",
    [
        *("http://127.0.0.1/x.png", "http://localhost/x.png", "http://[::1]/x.png"),
        *("http://10.0.0.7/x.png", "http://192.168.1.1/x.png", "http://169.254.169.254/x.png"),
        *("http://2130706433/x.png", "http://0.0.0.0/x.png", "http://[::ffff:127.0.0.1]/x.png"),
        "https://user:word@127.0.0.1/x.png",
    ],
)
def test_urls_to_this_machine_and_its_neighbours_are_refused(pets: Path, target: str) -> None:
    app, client = open_app(pets)
    before = on_record(app)
    url = begin(client, "urls", urls=target).headers["Location"]
    (reason,) = names(client, url, "refused").values()
    assert re.search("not on the public internet|host is a number|user name or password", reason)
    assert on_record(app) == before


def test_other_schemes_and_odd_sources_are_one_line(pets: Path) -> None:
    _, client = open_app(pets)
    mistakes: list[tuple[str, dict[str, Any], str]] = [
        ("urls", {"urls": "file:///etc/passwd"}, "the list has no URL"),
        ("files", {}, "no file was sent"),
        ("hub", {"hub": ""}, "no data set is named"),
        ("odd", {}, "from is &#39;odd&#39;"),
        ("collection", {"collection": "x"}, "collection is not a whole number"),
    ]
    for source, form, why in mistakes:
        answer = begin(client, source, **form)
        assert answer.status_code == 409
        assert why in answer.text, source
    for name in ("../../etc", "/etc/passwd", "a b", "x" * 300):
        url = begin(client, "hub", hub=name).headers["Location"]
        assert "is no data set on the hub" in told(client, url)["error"]
