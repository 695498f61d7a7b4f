"""Freezing: what is kept becomes a revision that never changes, and that `prepare` reads."""

import errno
import html
import json
import os
import re
import shlex
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from core.collection import CollectionItem, collection_digest, read_collection, write_collection
from core.data.pinned import open_pinned
from core.data.sources import FolderSource
from core.files import digest_bytes, digest_file, write_json
from curation_app.indexing.facts import look
from curation_app.opening import found_of
from curation_app.records import Change
from curation_app.revisions import freezing
from curation_app.revisions.naming import Names
from curation_app.store import actions, collections
from curation_app.store.engine import writing
from curation_app.workspace import STORED
from jobs.prepare import main as prepare
from tests.curating import JSON, app_of, make_collection, open_app, picture, post, vote


def freeze(client: FlaskClient) -> dict[str, Any]:
    """Press the button; what the work says of itself when it is done."""
    answer = client.get(post(client, "/revisions/").headers["Location"], headers=JSON)
    return dict(answer.get_json())


def newest(client: FlaskClient, **query: str) -> dict[str, Any]:
    """The newest revision, and what differs from `against`."""
    slug = client.get("/revisions/", headers=JSON).get_json()["revisions"][0]["slug"]
    answer = client.get(f"/revisions/{slug}", headers=JSON, query_string=query)
    return dict(answer.get_json())


def folders(collection: Path) -> list[str]:
    found = collection.with_name(collection.name + "-revisions")
    return sorted(path.name for path in found.iterdir() if path.name != ".lock")


def names(listed: list[dict[str, Any]]) -> list[str]:
    return [(change["after"] or change["before"])["file_name"] for change in listed]


def test_what_is_kept_becomes_a_data_set_by_the_command_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: dict[str, str]
) -> None:
    folder = make_collection(tmp_path / "my pets", 12)
    _, client = open_app(folder, **where)
    for picture_id in range(1, 25):
        vote(client, picture_id, ("keep", "keep", "maybe", "reject")[picture_id % 4])
    post(client, "/act", picture=[4, 5], do="label:frog")  # of which 4 is kept, and 5 is kept
    link = freeze(client)["link"]
    page = client.get(link).text
    found = re.search(r'<code class="command"[^>]*>([^<]+)<', page)
    assert found
    program, job, *flags = shlex.split(html.unescape(found[1]))
    assert (program, job) == ("python", "jobs/prepare.py")
    out = tmp_path / "data"
    assert prepare([*flags, "--size-px", "16", "--workers", "1", "--out", str(out)]) == 0
    assert "0 pictures rejected" in capsys.readouterr().out
    data = open_pinned(out, verify=True)
    expected = {
        f"{label}/{index:04d}.png": "frog" if first + index in (4, 5) else label
        for label, first in (("cat", 1), ("dog", 13))
        for index in range(12)
        if (first + index) % 4 < 2
    }
    # A file that was moved to another class keeps its name; its row says where it belongs.
    assert {item.file_name: item.label for item in data.items()} == expected
    # And the collection itself is read as before: nothing in it passes for a picture.
    whole = ["--source", str(folder), "--size-px", "16", "--workers", "1"]
    assert prepare([*whole, "--out", str(tmp_path / "all")]) == 0
    assert len(open_pinned(tmp_path / "all").labels) == 24


def test_a_revision_states_where_each_picture_came_from_and_what_was_said_of_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "pets"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "é.png").write_bytes(picture(1))
    row = {"file_name": "deep/é.png", "label": "cat", "split": "test", "score": 1.5}
    row |= {"tags": ["ginger"], "license": "CC0-1.0", "source": "a friend", "camera": "box"}
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    _, client = open_app(folder, revisions=tmp_path / "frozen")
    vote(client, 1, "keep")
    post(client, "/act", picture=1, do="tag:cut off")
    freeze(client)
    (revision,) = (tmp_path / "frozen").glob("1-*")
    items, bad = read_collection(revision)
    assert not bad
    (item,) = items
    assert (item.label, item.split, item.tags) == ("cat", "test", ("cut off", "ginger"))
    assert (item.licence, item.source, item.extra) == ("CC0-1.0", "a friend", {"camera": "box"})
    assert item.score == 1.5  # nobody has voted here, so that the score it came with stands
    assert item.sha256 == digest_file(revision / item.file_name)
    record = newest(client)
    assert record["digest"] == collection_digest(items)
    assert revision.name == f"1-{record['digest'][:8]}"
    assert (record["counts"], record["splits"]) == ({"cat": 1}, {"test": 1})
    assert (record["frozen_by"], record["collection"]) == ("local", "pets")
    assert record["command"].endswith("--keep-split")
    assert not any(os.access(path, os.X_OK) for path in revision.rglob("*.*"))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in revision.rglob("*.*")}
    assert modes == {0o444}
    # A copy: a later change of the original does not reach it.
    (folder / "deep" / "é.png").write_bytes(picture(2))
    assert item.sha256 == digest_file(revision / item.file_name)


def test_scores_of_our_own_votes_take_the_place_of_stated_ones(
    tmp_path: Path, where: dict[str, str]
) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    rows = [{"file_name": f"{name}/0000.png", "score": 77, "stars": 2} for name in ("cat", "dog")]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    _, client = open_app(folder, **where)
    for picture_id in (1, 2):
        vote(client, picture_id, "keep")
    post(client, "/act", picture=1, do="stars:4")
    freeze(client)
    (revision,) = (tmp_path / "pets-revisions").glob("1-*")
    cat, dog = read_collection(revision)[0]
    assert cat.score is not None
    assert (abs(cat.score) < 10, cat.extra) == (True, {"stars": 4})
    assert (dog.score, dog.extra) == (None, {"stars": 2})
    # Scores that are fitted anew to the same votes are the same.
    assert "which held just these already" in freeze(client)["result"]


def test_the_same_choice_is_the_same_revision(tmp_path: Path, where: dict[str, str]) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    _, client = open_app(folder, **where)
    assert "mark some, then freeze" in freeze(client)["error"]
    vote(client, 1, "keep")
    assert freeze(client)["result"].startswith("1 picture in 1-")
    assert "which held just these already" in freeze(client)["result"]
    vote(client, 4, "keep")
    freeze(client)
    listed = client.get("/revisions/").text
    assert listed.index(">2-") < listed.index(">1-")
    vote(client, 4, "reject")
    assert freeze(client)["result"].startswith("1 picture in 1-")
    assert [name[:2] for name in folders(folder)] == ["1-", "2-"]


def test_what_differs_is_told_between_revisions_and_from_the_present(
    tmp_path: Path, where: dict[str, str]
) -> None:
    folder = make_collection(tmp_path / "pets", 3)
    _, client = open_app(folder, **where)
    for picture_id in (1, 2, 3, 4):
        vote(client, picture_id, "keep")
    freeze(client)
    first = newest(client)["slug"]
    assert sum(newest(client, against="now")["difference"]["counts"].values()) == 0
    vote(client, 1, "reject")
    vote(client, 6, "keep")
    post(client, "/act", picture=2, do="label:frog")
    post(client, "/act", picture=2, do="tag:cut off")
    post(client, "/act", picture=3, do="stars:5")
    now = newest(client, against="now")["difference"]
    freeze(client)
    then = newest(client, against=first)["difference"]
    for found in (now, then):
        lists = found["lists"]
        assert names(lists["added"]) == ["dog/0002.png"]
        assert names(lists["removed"]) == ["cat/0000.png"]
        assert names(lists["relabelled"]) == names(lists["retagged"]) == ["cat/0001.png"]
        assert lists["relabelled"][0]["before"]["label"] == "cat"
        assert lists["relabelled"][0]["after"]["label"] == "frog"
        assert names(lists["starred"]) == ["cat/0002.png"]
        assert found["counts"]["rescored"] == len(lists["rescored"])
    page = client.get(f"/revisions/{newest(client)['slug']}?against={first}").text
    assert "1 added, 1 removed, 1 relabelled" in " ".join(page.split())
    # From the older to the newer, whichever page it is asked on.
    other = client.get(f"/revisions/{first}?against={newest(client)['slug']}", headers=JSON)
    assert other.get_json()["difference"] == then


def test_a_picture_that_is_gone_from_the_collection_is_shown_from_the_revision(
    tmp_path: Path,
) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    _, client = open_app(folder)
    for picture_id in (1, 2, 3):
        vote(client, picture_id, "keep")
    freeze(client)
    (folder / "cat" / "0000.png").unlink()
    _, client = open_app(folder)
    revision = newest(client, against="now")
    assert names(revision["difference"]["lists"]["removed"]) == ["cat/0000.png"]
    page = client.get(f"/revisions/{revision['slug']}?against=now").text
    (url,) = set(re.findall(r'src="(/revisions/[^"]+)"', page))
    shown = client.get(html.unescape(url))
    assert (shown.status_code, shown.mimetype) == (200, "image/png")
    assert client.get(html.unescape(url).replace(url[-20:-13], "0" * 7)).status_code == 404
    gone = digest_bytes(picture(1001))  # of the other class, and not kept
    assert client.get(f"/revisions/{revision['slug']}/pictures/{gone}").status_code == 404


def test_verifying_finds_every_file_that_is_not_as_it_was_frozen(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 3)
    _, client = open_app(folder)
    for picture_id in range(1, 7):
        vote(client, picture_id, "keep")
    freeze(client)
    (revision,) = (tmp_path / "pets-revisions").glob("1-*")
    url = f"/revisions/{revision.name}/verify"
    client.get(post(client, url).headers["Location"])
    assert newest(client)["verified"]["wrong"] == []
    for name, data in (("cat/0001.png", picture(99)), ("new.png", picture(98))):
        (revision / name).unlink(missing_ok=True)
        (revision / name).write_bytes(data)
    (revision / "dog" / "0002.png").unlink()
    task = client.get(post(client, url).headers["Location"], headers=JSON).get_json()
    assert "cat/0001.png: its bytes are not those that were frozen" in task["error"]
    assert newest(client)["verified"]["wrong"] == [
        "cat/0001.png: its bytes are not those that were frozen",
        "dog/0002.png: it leads nowhere (a broken link?)",
        "new.png: it was not there when the revision was frozen",
    ]
    rows = revision / "metadata.jsonl"
    text = rows.read_text().replace('"label":"cat"', '"label":"dog"', 1)
    rows.chmod(0o644)
    rows.write_text(text)
    client.get(post(client, url).headers["Location"])
    assert "rows are not those of the digest" in newest(client)["verified"]["wrong"][0]


def test_a_revision_of_the_first_release_is_still_read(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    revision = tmp_path / "pets-revisions" / "7-feed"
    (revision / "cat").mkdir(parents=True)
    items = []
    for name in ("cat/0000.png", "cat/lost.png"):
        data = (folder / "cat" / "0000.png").read_bytes() if "0000" in name else picture(50)
        (revision / name).write_bytes(data)
        items.append(CollectionItem(file_name=name, label="cat", sha256=digest_bytes(data)))
    digest = write_collection(revision, items)
    record = {"number": 7, "digest": digest, "pictures": 2, "classes": 1}
    write_json(revision / "revision.json", record | {"frozen_at": "2026-10-01T08:00:00+00:00"})
    _, client = open_app(folder)
    vote(client, 1, "keep")
    found = newest(client, against="now")
    assert (found["counts"], found["slug"]) == ({"cat": 2}, f"7-{digest[:8]}")
    assert names(found["difference"]["lists"]["removed"]) == ["cat/lost.png"]
    assert freeze(client)["result"].startswith("1 picture in 8-")
    assert client.get(f"/revisions/{found['slug']}").status_code == 200


def test_imported_pictures_get_names_that_are_safe_and_their_own(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    app, client = open_app(folder)
    parts = app_of(app)
    wanted = ["../../etc/cron.d/x.png", "Cat/0000.png", "CAT/0000.PNG", ".hidden/a.png", "a.png"]
    wanted += ["a.png/b.png", "metadata.jsonl", "a\nb.png", "C:\\x.png", "x" * 300 + ".png"]
    found = []
    for number, name in enumerate(wanted):
        data = picture(500 + number)
        parts.workspace.keep(data)
        item = CollectionItem(file_name=name, label="cat", licence="CC0-1.0")
        found.append(found_of(item, look(data), place=STORED))
    with writing(parts.engine) as connection:
        ids = collections.record_pictures(connection, 1, found)
        wanted_states = [Change(picture_id=key, field="state", value="keep") for key in (1, *ids)]
        actions.act(connection, 1, "state", wanted_states)
    freeze(client)
    (revision,) = (tmp_path / "pets-revisions").glob("1-*")
    items = read_collection(revision)[0]
    frozen = {item.sha256: item.file_name for item in items}
    assert len({name.casefold() for name in frozen.values()}) == len(wanted) + 1
    assert frozen[found[4].sha256] == "a.png"
    assert frozen[digest_file(folder / "cat" / "0000.png")] == "cat/0000.png"
    by_digest = [frozen[found[number].sha256] for number in (0, 1, 2, 5, 6, 8)]
    assert by_digest == [
        f"{folder}{found[number].sha256[:16]}{suffix}"
        for number, folder, suffix in (
            (0, "", ".png"),
            (1, "Cat/", ".png"),
            (2, "CAT/", ".png"),
            (5, "", ".png"),
            (6, "", ""),
            (8, "", ".png"),
        )
    ]
    assert {path.parent.name for path in revision.rglob("*.png")} <= {
        revision.name,
        "cat",
        "Cat",
        "CAT",
    }
    # All of them are found by what reads collections.
    listing = FolderSource(revision).listing()
    assert (len(listing.entries), listing.rejected) == (len(wanted) + 1, {})


def test_a_name_that_is_taken_every_way_gets_a_number() -> None:
    given = Names()
    sha256 = "ab" * 32
    taken = [given.take("cat/1.png", sha256) for _ in range(5)]
    assert taken == [
        "cat/1.png",
        "cat/abababababababab.png",
        "abababababababab.png",
        f"{sha256}.png",
        "abababababababab-2.png",
    ]


def test_a_picture_that_has_changed_stops_the_freeze_and_leaves_nothing(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    _, client = open_app(folder)
    vote(client, 1, "keep")
    vote(client, 2, "keep")
    (folder / "cat" / "0001.png").write_bytes(picture(99))
    assert "cat/0001.png cannot be frozen: the file has changed" in freeze(client)["error"]
    assert folders(folder) == []
    os.unlink(folder / "cat" / "0001.png")
    assert "cat/0001.png cannot be frozen: it leads nowhere" in freeze(client)["error"]


def test_a_full_disk_is_one_line_and_what_a_killed_freeze_left_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    _, client = open_app(folder)
    vote(client, 1, "keep")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    assert "make room and freeze again" in freeze(client)["error"]

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.undo()
    monkeypatch.setattr(freezing, "_write", full)
    error = freeze(client)["error"]
    assert error.endswith("is full, and nothing was frozen: make room and freeze again")
    assert folders(folder) == []
    monkeypatch.undo()
    revisions = folder.with_name("pets-revisions")
    (revisions / ".4-0a1b2c3d.xyz.tmp" / "cat").mkdir(parents=True)
    (revisions / ".my notes.tmp").write_text("not ours")
    freeze(client)
    assert [name[:6] for name in folders(folder)] == [".my no", folders(folder)[1][:6]]
    assert len(folders(folder)) == 2


def test_where_nothing_can_be_written_the_work_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = make_collection(tmp_path / "pets", 1)
    _, client = open_app(folder, revisions=tmp_path / "file")
    vote(client, 1, "keep")
    assert "cannot be written to: File exists" in freeze(client)["error"]


def test_names_in_links_are_compared_never_followed(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    _, client = open_app(folder)
    vote(client, 1, "keep")
    freeze(client)
    for slug in ("..", "%2e%2e", "..%2f..%2fpets", "1-", "9-00000000"):
        assert client.get(f"/revisions/{slug}").status_code == 404
        assert client.get(f"/revisions/{slug}/pictures/{'0' * 64}").status_code == 404
    slug = newest(client)["slug"]
    assert client.get(f"/revisions/{slug}?against=../..").status_code == 404
    assert client.get(f"/revisions/{slug}/pictures/{'%2e' * 64}").status_code == 404
