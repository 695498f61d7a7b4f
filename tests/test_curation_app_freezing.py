import html
import json
import os
import re
import shlex
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from core.collection import collection_digest, read_collection
from core.data.pinned import open_pinned
from core.files import digest_file
from jobs.prepare import main as prepare
from tests.curating import app_of, make_collection, open_app, picture, secret_in, vote


def freeze(client: FlaskClient) -> str:
    """Press the button; the page that follows."""
    form = {"secret": secret_in(client)}
    return client.post("/revisions/", data=form, follow_redirects=True).text


def folders(collection: Path) -> list[str]:
    found = collection.with_name(collection.name + "-revisions")
    return sorted(path.name for path in found.iterdir() if path.is_dir())


def test_what_is_kept_becomes_a_data_set_by_the_command_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_collection(tmp_path / "my pets", 12)
    _, client = open_app(folder)
    for picture_id in range(1, 25):
        vote(client, picture_id, ("keep", "keep", "maybe", "reject")[picture_id % 4])
    page = freeze(client)
    assert "12 pictures in 2 classes" in " ".join(page.split())
    found = re.search(r'class="command">([^<]+)<', page)
    assert found
    program, job, *flags = shlex.split(html.unescape(found[1]))
    assert (program, job) == ("python", "jobs/prepare.py")
    out = tmp_path / "data"
    assert prepare([*flags, "--size-px", "16", "--workers", "1", "--out", str(out)]) == 0
    assert "0 pictures rejected" in capsys.readouterr().out
    data = open_pinned(out, verify=True)
    assert sorted(item.file_name for item in data.items()) == sorted(
        f"{label}/{index:04d}.png"
        for label, first in (("cat", 1), ("dog", 13))
        for index in range(12)
        if (first + index) % 4 < 2
    )
    # And the collection itself is read as before: nothing in it passes for a picture.
    whole = ["--source", str(folder), "--size-px", "16", "--workers", "1"]
    client.get("/pictures/1/thumbnail")
    assert prepare([*whole, "--out", str(tmp_path / "all")]) == 0
    assert len(open_pinned(tmp_path / "all").labels) == 24


def test_a_revision_states_where_each_picture_came_from(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "é.png").write_bytes(picture(1))
    row = {"file_name": "deep/é.png", "label": "cat", "split": "test", "score": 1.5}
    row |= {"tags": ["ginger"], "license": "CC0-1.0", "source": "a friend", "camera": "box"}
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    app, client = open_app(folder, revisions_folder=tmp_path / "frozen")
    vote(client, 1, "keep")
    freeze(client)
    (revision,) = (path for path in (tmp_path / "frozen").iterdir() if path.is_dir())
    items, bad = read_collection(revision)
    assert not bad
    (item,) = items
    assert (item.label, item.split, item.score, item.tags) == ("cat", "test", 1.5, ("ginger",))
    assert (item.licence, item.source, item.extra) == ("CC0-1.0", "a friend", {"camera": "box"})
    assert item.sha256 == digest_file(revision / item.file_name)
    record = json.loads((revision / "revision.json").read_text(encoding="utf-8"))
    assert record["digest"] == collection_digest(items)
    assert revision.name == f"1-{record['digest'][:8]}"
    # A copy: a later change of the original does not reach it.
    (folder / "deep" / "é.png").write_bytes(picture(2))
    assert item.sha256 == digest_file(revision / item.file_name)
    assert app_of(app).shelf.revisions == tmp_path / "frozen"


def test_the_same_choice_is_the_same_revision(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    _, client = open_app(folder)
    assert "mark some, then freeze" in freeze(client)
    vote(client, 1, "keep")
    freeze(client)
    freeze(client)
    vote(client, 4, "keep")
    page = freeze(client)
    assert page.index(">2-") < page.index(">1-")
    vote(client, 4, "reject")
    freeze(client)
    assert [name[:2] for name in folders(folder)] == ["1-", "2-"]


def test_a_picture_that_has_changed_stops_the_freeze_and_leaves_nothing(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    _, client = open_app(folder)
    vote(client, 1, "keep")
    vote(client, 2, "keep")
    (folder / "cat" / "0001.png").write_bytes(picture(99))
    assert "cat/0001.png cannot be frozen: the file has changed" in freeze(client)
    assert folders(folder) == []
    os.unlink(folder / "cat" / "0001.png")
    assert "cat/0001.png cannot be frozen: it leads nowhere" in freeze(client)


def test_where_nothing_can_be_written_the_page_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = make_collection(tmp_path / "pets", 1)
    _, client = open_app(folder, revisions_folder=tmp_path / "file")
    vote(client, 1, "keep")
    form = {"secret": secret_in(client)}
    answer = client.post("/revisions/", data=form)
    assert answer.status_code == 409
    assert "cannot be written to: File exists" in html.unescape(answer.text)
