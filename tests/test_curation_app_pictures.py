import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.errors import UserError
from curation_app import opening
from curation_app.store import collections
from tests.curating import (
    app_of,
    ids_in,
    make_collection,
    open_app,
    picture,
    states_in,
    vote,
)
from tests.samplesets import animal, write_sample_set


def test_thumbnails_are_made_once_and_revalidated_by_digest(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    make_collection(folder, 1)
    with Image.open(io.BytesIO(picture(1, channels=3, side_px=400))) as image:
        image.save(folder / "cat" / "0000.png", format="JPEG")
    app, client = open_app(folder)
    first = client.get("/pictures/1/thumbnail")
    assert (first.status_code, first.mimetype) == (200, "image/jpeg")
    with Image.open(io.BytesIO(first.data)) as image:
        assert (image.size, image.mode) == ((256, 256), "RGB")
    previews = app_of(app).workspace.previews
    (kept,) = (path for path in previews.rglob("*-256") if path.read_bytes() == first.data)
    (folder / "cat" / "0000.png").unlink()  # proves that the preview is read, not made again
    assert client.get("/pictures/1/thumbnail").data == first.data
    kept.write_bytes(first.data[:50])  # cut off: it is made again, and cannot be
    assert client.get("/pictures/1/thumbnail").status_code == 422
    tag = {"If-None-Match": first.headers["ETag"]}
    again = client.get("/pictures/1/thumbnail", headers=tag)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


def test_originals_are_sent_as_they_are_or_as_png(tmp_path: Path) -> None:
    folder = tmp_path / "pets" / "cat"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(picture(1))
    with Image.open(io.BytesIO(picture(2, channels=3))) as image:
        image.save(folder / "2.tiff")
    _, client = open_app(tmp_path / "pets")
    assert client.get("/pictures/1/original").data == picture(1)
    converted = client.get("/pictures/2/original")
    assert converted.mimetype == "image/png"
    with Image.open(io.BytesIO(converted.data)) as image:
        assert image.format == "PNG"
    assert client.get("/pictures/3/original").status_code == 404


def test_drawings_and_damaged_files_are_listed_but_never_sent(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 1) / "cat"
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    (folder / "1.svg").write_bytes(drawing)
    (folder / "2.png").write_bytes(drawing)  # its ending lies
    (folder / "3.png").write_bytes(b"")
    app, client = open_app(tmp_path / "pets")
    unusable = app_of(app).unusable[1]
    assert set(unusable) >= {"cat/2.png", "cat/3.png"}
    html = client.get("/").text
    assert "left out" in html
    assert ids_in(html) == [1, 2]
    assert client.get("/pictures/3").status_code == 404
    # One that is damaged later is no longer sent either.
    (folder / "0000.png").write_bytes(drawing)
    answer = client.get("/pictures/1/original")
    assert answer.status_code == 422
    assert b"<svg" not in answer.data
    assert "cannot be shown" in answer.text


def test_votes_outlive_restarts_and_other_bytes_are_another_picture(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    _, client = open_app(folder)
    for picture_id in (1, 2, 3):
        vote(client, picture_id, "keep")
    (folder / "cat" / "0001.png").write_bytes(picture(77))
    (folder / "dog" / "0000.png").rename(tmp_path / "elsewhere.png")
    # While it runs, the app refuses to pass other bytes off as those that were judged.
    assert client.get("/pictures/2/original").status_code == 422
    _, client = open_app(folder)
    assert states_in(client.get("/").text) == {1: "keep", 4: "unseen", 5: "unseen"}
    assert client.get("/pictures/2/thumbnail").status_code == 404
    (tmp_path / "elsewhere.png").rename(folder / "dog" / "0000.png")
    _, client = open_app(folder)
    assert states_in(client.get("/").text)[3] == "keep"


def test_metadata_decides_and_what_is_left_out_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(picture(ord(name[0])))
    rows = [
        {"file_name": "a.png", "label": "zebra", "tags": ["striped"], "score": 0.5},
        {"file_name": "b.png", "label": "yak", "sha256": "0" * 64},
        {"file_name": "c.png", "label": "yak", "weight": float("nan")},
        {"file_name": "../../etc/passwd", "label": "yak"},
        {"file_name": "gone.png", "label": "yak"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    app, client = open_app(folder)
    html = client.get("/").text
    assert ids_in(html) == [1]
    assert "4 files are left out" in html
    unusable = app_of(app).unusable[1]
    assert "sha256" in unusable["b.png"]
    assert "cannot be written again" in unusable["c.png"]
    assert "leads out" in unusable["../../etc/passwd"]
    assert "not there" in unusable["gone.png"]


def test_a_link_out_of_the_collection_is_left_out(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    (tmp_path / "private.png").write_bytes(picture(5))
    os.symlink(tmp_path / "private.png", folder / "cat" / "link.png")
    app, _ = open_app(folder)
    assert "leads out" in app_of(app).unusable[1]["cat/link.png"]


def test_what_cannot_be_opened_says_why_in_one_line(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    other = make_collection(tmp_path / "others", 3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no database, but long enough to be read as one\n" * 30)
    open_app(other)
    cases = [
        (tmp_path / "nowhere", {}, "there is no folder"),
        (tmp_path / "empty", {}, "class folders"),
        (folder, {"database": tmp_path / "notes.txt"}, "cannot be used as the curation database"),
        (folder, {"database": tmp_path}, "cannot be used as the curation database"),
        (folder, {"revisions": folder / "frozen"}, "inside the collection"),
        (folder, {"database": "mysql://here/db"}, "allowed are postgresql and sqlite"),
        (folder, {"database": "postgresql://nobody@127.0.0.1:1/db"}, "cannot be used as the"),
    ]
    for collection, where, message in cases:
        with pytest.raises(UserError, match=message):
            open_app(collection, **where)
    # Of a collection that is on record, other pictures under all names are another collection.
    for path in other.rglob("*.png"):
        path.rename(path.with_name(f"new-{path.name}"))
    with pytest.raises(UserError, match="none of those is there"):
        open_app(other)


def test_several_collections_and_a_sample_set_in_one_app(tmp_path: Path) -> None:
    pets = make_collection(tmp_path / "pets", 2)
    farm = make_collection(tmp_path / "farm", 1)
    samples = tmp_path / "samples"
    write_sample_set(samples, [[animal("cat", 1), animal("frog", 2)], [animal("bird", 3)]])
    _, client = open_app(pets, farm, samples)
    html = client.get("/").text
    assert ids_in(html) == [1, 2, 3, 4]
    assert all(f">{name}</option>" in html for name in ("pets", "farm", "samples"))
    assert ids_in(client.get("/?collection=2").text) == [5, 6]
    drawn = ids_in(client.get("/?collection=3").text)
    shown = client.get(f"/pictures/{drawn[0]}/original")
    with Image.open(io.BytesIO(shown.data)) as image:
        assert image.size == (32, 32)
    assert client.get("/?collection=4").status_code == 404
    # Opened again, everything is there, and nothing twice.
    _, client = open_app(pets, farm, samples)
    assert ids_in(client.get("/?collection=3").text) == drawn


def test_an_interrupted_opening_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_collection(tmp_path / "pets", 30)
    monkeypatch.setattr(opening, "CHUNK", 10)
    recorded = collections.record_pictures
    calls: list[int] = []

    def stop_after_two(*arguments: Any) -> list[int]:
        if len(calls) == 2:
            raise UserError("the disk is full")
        calls.append(len(arguments[2]))
        return recorded(*arguments)

    monkeypatch.setattr(collections, "record_pictures", stop_after_two)
    with pytest.raises(UserError, match="the disk is full"):
        open_app(folder)
    monkeypatch.setattr(collections, "record_pictures", recorded)
    _, client = open_app(folder)
    assert ids_in(client.get("/").text) == list(range(1, 61))
