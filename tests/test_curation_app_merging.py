"""Bringing pictures in, from wherever they come, as one action that can be undone."""

import io
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.files import digest_bytes
from curation_app.app import create_app
from curation_app.context import Settings
from curation_app.imports import merging
from curation_app.intake.candidates import Candidate
from curation_app.intake.fetch import Rules
from curation_app.records import Change
from curation_app.store import accounts, actions, pictures
from curation_app.store.engine import writing
from curation_app.tasks import Task
from curation_app.views import merging as view
from tests.bringing_in import (
    apply,
    begin,
    encoded,
    key_of,
    names,
    shown,
    told,
    upload,
    zipped,
)
from tests.curating import (
    JSON,
    app_of,
    ids_in,
    make_collection,
    open_app,
    picture,
    post,
    states_in,
    vote,
)
from tests.sharing import client_of, open_shared
from tests.test_curation_app_intake_fetch import HERE, says, serving

NEW = picture(5000)
CAT_0, CAT_1, DOG_0 = picture(0), picture(1), picture(1000)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return make_collection(tmp_path / "pets")


def test_what_is_uploaded_is_compared_chosen_and_brought_in_as_one_action(
    pets: Path, where: dict[str, str]
) -> None:
    app, client = open_app(pets, **where)
    before = shown(client)
    url = upload(
        client,
        [
            ("zoo/lynx/tom.png", NEW),
            ("zoo/cat/0000.png", CAT_0),
            ("zoo/lynx/1.png", CAT_1),
            ("zoo/dog/again.webp", encoded(DOG_0)),
            ("zoo/dog/broken.png", NEW[:40]),
        ],
    )
    assert told(client, url)["counts"] == {
        **{"new": 1, "ambiguous": 0, "conflict": 1, "near": 1, "same": 1, "refused": 1}
    }
    assert names(client, url, "new") == {"lynx/tom.png": "take"}
    assert names(client, url, "conflict") == {"lynx/1.png": "ours"}
    assert names(client, url, "near") == {"dog/again.webp": "skip"}
    assert told(client, url, "near")["items"][0]["known"][0]["name"] == "dog/0000.png"
    assert shown(client) == before
    # The licence of what states none must be chosen.
    assert "1 of the pictures state no licence" in apply(client, url).get_json()["error"]
    conflict = key_of(client, url, "conflict", "lynx/1.png")
    chosen: dict[str, Any] = {"licence": "CC0-1.0", f"choice-{conflict}": "theirs"}
    summary = post(client, f"{url}/choose", **chosen).get_json()
    assert (summary["additions"], summary["relabels"], summary["unlicensed"]) == (1, 1, 1)
    assert apply(client, url).status_code == 303
    assert told(client, url)["result"] == "1 picture brought in, 1 moved to another class."
    after = shown(client)
    assert after.keys() - before.keys() == {"lynx/tom.png"}
    assert after["cat/0001.png"]["label"] == "lynx"
    new = after["lynx/tom.png"]
    assert (new["licence"], new["source"]) == ("CC0-1.0", "upload local: lynx/tom.png")
    assert client.get(f"/pictures/{new['id']}/original").data == NEW
    assert client.get(f"/pictures/{new['id']}/thumbnail").status_code == 200
    # One step back takes all of it back, and one forwards brings all of it.
    assert post(client, "/undo").get_json()["changed"] == 2
    assert shown(client) == before
    assert client.get(f"/pictures/{new['id']}").status_code == 404
    assert post(client, "/redo").get_json()["changed"] == 2
    assert shown(client) == after
    with writing(app_of(app).engine) as connection:
        actions.replay(connection, 1)
    assert shown(client) == after
    post(client, "/undo")
    with writing(app_of(app).engine) as connection:
        actions.replay(connection, 1)
    assert shown(client) == before


def test_two_collections_become_one_with_what_was_said_about_the_pictures(
    tmp_path: Path, pets: Path, where: dict[str, str]
) -> None:
    other = make_collection(tmp_path / "other", 1)
    for name, data in (("fox/a.png", NEW), ("fox/b.png", picture(5001)), ("cat/c.png", DOG_0)):
        (other / name).parent.mkdir(exist_ok=True)
        (other / name).write_bytes(data)
    app, client = open_app(pets, other, **where)
    ids = {name: row["id"] for name, row in shown(client, 2).items()}
    for name, do in (
        ("fox/a.png", "state:keep"),
        ("fox/a.png", "stars:4"),
        ("fox/a.png", "tag:extra ear"),
        ("fox/b.png", "state:reject"),
    ):
        assert post(client, "/act", picture=ids[name], do=do).status_code == 200
    url = str(begin(client, "collection", collection=2).headers["Location"])
    assert names(client, url, "new") == {"fox/a.png": "take"}
    assert names(client, url, "same") == {"cat/0000.png": "skip"}
    found = told(client, url)
    assert (found["ignored"], found["counts"]["conflict"]) == (1, 1)
    assert apply(client, url, licence="unknown", **{"kind-conflict": "theirs"}).status_code == 303
    after = shown(client)
    fox = after["fox/a.png"]
    assert (fox["state"], fox["stars"], fox["tags"]) == ("keep", 4, ["extra ear"])
    assert (fox["licence"], fox["source"]) == ("unknown", "collection other: fox/a.png")
    assert after["dog/0000.png"]["label"] == "cat"
    with app_of(app).engine.connect() as connection:
        item = json.loads(pictures.pictures_of(connection, [fox["id"]])[0].item)
    assert item["provenance"].items() >= {"collection": "other", "file": "fox/a.png"}.items()
    assert "fox/b.png" not in after
    post(client, "/undo")
    assert shown(client)["dog/0000.png"]["label"] == "dog"
    assert "fox/a.png" not in shown(client)
    assert begin(client, "collection", collection=1).status_code == 409
    assert begin(client, "collection", collection=9).status_code == 409


def test_licence_source_and_other_columns_come_along_into_a_revision(
    tmp_path: Path, pets: Path
) -> None:
    rows = [
        {"file_name": "a.png", "label": "fox", "licence": "MIT", "source": "a friend", "mood": 7},
        {"file_name": "b.png", "label": "fox", "tags": ["noise"], "score": 2.5},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    archive = [("metadata.jsonl", lines.encode()), ("a.png", NEW), ("b.png", picture(5001))]
    _, client = open_app(pets)
    url = upload(client, [("foxes.zip", zipped(archive))])
    assert apply(client, url, licence="CC-BY-4.0").status_code == 303
    new = [row["id"] for name, row in shown(client).items() if row["label"] == "fox"]
    assert post(client, "/act", picture=new, do="state:keep").get_json()["changed"] == 2
    task = post(client, "/revisions/", plain=True).headers["Location"]
    assert client.get(task, headers=JSON).get_json()["error"] == ""
    (metadata,) = (tmp_path / "pets-revisions").glob("*/metadata.jsonl")
    frozen = [json.loads(line) for line in metadata.read_text().splitlines()]
    assert [row["licence"] for row in frozen] == ["MIT", "CC-BY-4.0"]
    first, second = frozen
    assert (first["source"], first["mood"]) == ("a friend", 7)
    assert (second["tags"], second["score"]) == (["noise"], 2.5)
    assert first["provenance"].items() >= {"archive": "foxes.zip", "member": "a.png"}.items()
    assert re.fullmatch(r"fox/a-[0-9a-f]{12}\.png", first["file_name"])


def test_a_file_of_the_same_name_is_neither_hidden_nor_lost(pets: Path) -> None:
    _, client = open_app(pets)
    url = upload(client, [("cat/0000.png", NEW), ("dog/0000.png", picture(5001))])
    assert apply(client, url, licence="MIT").status_code == 303
    assert len(ids_in(client.get("/").text)) == 8
    # Nor does opening the collection again take what was brought in for a file that is gone.
    _, again = open_app(pets)
    assert len(ids_in(again.get("/").text)) == 8


def test_what_was_brought_in_can_be_ranked_at_once(pets: Path) -> None:
    _, client = open_app(pets)
    assert client.get("/rank/next?label=cat").status_code == 200
    url = upload(client, [(f"fox/{n}.png", picture(5000 + n)) for n in range(2)])
    assert apply(client, url, licence="MIT").status_code == 303
    pair = client.get("/rank/next?label=fox").get_json()
    assert {pair["left"]["label"], pair["right"]["label"]} == {"fox"}


def test_what_others_said_of_brought_pictures_survives_an_undo_of_the_import(
    pets: Path, where: dict[str, str]
) -> None:
    app = open_shared(pets, **where)
    cleo, ada = client_of(app, "cleo"), client_of(app, "ada")
    url = upload(cleo, [("fox.png", NEW)])
    assert apply(cleo, url, licence="MIT").status_code == 303
    fox = max(ids_in(cleo.get("/").text))
    assert vote(ada, fox, "keep").status_code == 200
    assert post(cleo, "/undo").get_json()["changed"] == 1
    assert "some of the pictures are gone" in vote(ada, fox, "maybe").get_json()["error"]
    # Brought in again, by somebody else and as another class.
    url = upload(ada, [("wolf/fox.png", NEW)])
    assert apply(ada, url, licence="MIT", **{"class-wolf": "fox"}).status_code == 409  # renamed
    assert apply(ada, url).status_code == 303
    (again,) = (row for row in shown(ada).values() if row["sha256"] == digest_bytes(NEW))
    assert again["label"] == "fox"
    # Both brought it; as long as one of the two stands, it is there.
    assert post(cleo, "/redo").get_json()["changed"] == 1
    assert post(ada, "/undo").get_json()["changed"] == 1
    assert states_in(cleo.get("/").text)[fox] == "keep"


def test_pictures_that_others_were_merged_into_do_not_vanish_with_them(pets: Path) -> None:
    app = open_shared(pets)
    cleo = client_of(app, "cleo")
    url = upload(cleo, [("cat/better.webp", encoded(CAT_0)), ("x.png", NEW)])
    assert apply(cleo, url, licence="MIT", **{"kind-near": "take"}).status_code == 303
    better = shown(cleo)["cat/better.webp"]["id"]
    with writing(app_of(app).engine) as connection:
        ada = accounts.named(connection, "ada")
        assert ada
        merge = [Change(picture_id=1, field="merged_into", value=str(better))]
        actions.act(connection, ada.id, "merge", merge)
    before = shown(cleo)
    answer = post(cleo, "/undo")
    assert answer.status_code == 409
    assert "1 picture was merged into ones that would go" in answer.get_json()["error"]
    assert shown(cleo) == before
    assert post(client_of(app, "ada"), "/undo").get_json()["changed"] == 1
    assert post(cleo, "/undo").get_json()["changed"] == 2
    assert "cat/0000.png" in shown(cleo)


def test_look_alikes_are_told_within_an_import_and_with_what_came_since(pets: Path) -> None:
    _, client = open_app(pets)
    files = [("a.png", NEW), ("b.webp", encoded(NEW))]
    for number, colour in enumerate(("white", "ivory")):
        buffer = io.BytesIO()
        Image.new("RGB", (24, 24), colour).save(buffer, "PNG")
        files.append((f"plain-{number}.png", buffer.getvalue()))
    url = upload(client, files)
    assert names(client, url, "near") == {"b.webp": "skip"}
    assert names(client, url, "new").keys() == {"a.png", "plain-0.png", "plain-1.png"}
    later = upload(client, [("fox/c.jpg", encoded(picture(1001, 3), "JPEG"))])
    assert names(client, later, "new").keys() == {"fox/c.jpg"}
    assert apply(client, upload(client, [("fox/d.png", picture(1001, 3))]), licence="MIT")
    (near,) = told(client, later, "near")["items"]
    assert re.match(r"fox/d-", near["known"][0]["name"])
    assert "also among those that are brought" in client.get(f"{url}?kind=near").text


def test_a_plan_waits_through_a_restart_and_can_be_discarded(pets: Path) -> None:
    _, client = open_app(pets)
    url = upload(client, [("fox/0.png", NEW), ("fox/1.png", CAT_0)])
    post(client, f"{url}/choose", licence="MIT")
    other = upload(client, [("fox/2.png", picture(5001))])
    app, again = open_app(pets)
    assert told(again, url)["licence"] == "MIT"
    page = again.get(f"{url}?kind=new").text
    preview = re.findall(r'src="([^"]*thumbnail)"', page)[0]
    assert again.get(preview).mimetype == "image/png"
    assert again.get(preview.replace("thumbnail", "original")).data == NEW
    assert again.get(preview.replace(digest_bytes(NEW), digest_bytes(DOG_0))).status_code == 404
    assert post(again, f"{other}/discard").status_code == 303
    assert again.get(other).status_code == 404
    assert apply(again, url, **{"kind-conflict": "ours"}).status_code == 303
    assert len(shown(again)) == 7
    waiting = app_of(app).workspace.imports / url.rsplit("/", 1)[-1]
    assert [path.name for path in waiting.iterdir()] == ["import.json"]


def test_what_the_end_of_the_app_interrupted_is_told(pets: Path) -> None:
    app, client = open_app(pets)
    imports = merging.imports_of(app_of(app))
    reading = imports.begin(1, 1, "a zip")
    assert "The app ended while" in client.get(f"/bring-in/{reading.id}").text
    assert told(client, f"/bring-in/{reading.id}")["state"] == "interrupted"
    url = upload(client, [("fox/0.png", NEW)])
    imports.update(url.rsplit("/", 1)[-1], state="applying")
    assert apply(client, url, licence="MIT").status_code == 303
    assert post(client, f"/bring-in/{reading.id}/discard").status_code == 303
    assert [
        one["state"] for one in client.get("/bring-in/", headers=JSON).get_json()["imports"]
    ] == ["applied"]


def test_reading_and_bringing_in_go_on_in_the_background(pets: Path) -> None:
    open_app(pets)
    app = create_app(pets, Settings())
    client = app.test_client()

    def wait_for(url: str, state: str) -> dict[str, Any]:
        for _ in range(600):
            found = told(client, url)
            if found["state"] == state:
                return found
            assert found["state"] in ("reading", "applying")
            time.sleep(0.05)
        raise AssertionError(found)

    try:
        url = upload(client, [(f"fox/{n}.png", picture(5000 + n)) for n in range(40)])
        assert wait_for(url, "ready")["counts"]["new"] == 40
        assert apply(client, url, licence="MIT").status_code == 303
        assert wait_for(url, "applied")["result"] == "40 pictures brought in."
        bad = str(begin(client, "hub", hub="no such").headers["Location"])
        assert "is no data set on the hub" in wait_for(bad, "failed")["error"]
    finally:
        app_of(app).engine.dispose()


def test_an_import_that_is_discarded_while_it_is_read_ends(pets: Path) -> None:
    app, client = open_app(pets)
    imports = merging.imports_of(app_of(app))
    found = imports.begin(1, 1, "much")
    imports.works_at(found.id, Task(id="1", title="Reading much"))
    assert 'http-equiv="refresh"' in client.get(f"/bring-in/{found.id}").text
    read = threading.Event()

    def candidates() -> Any:
        for number in range(1000):
            if number == 3:
                assert post(client, f"/bring-in/{found.id}/discard").status_code == 303
                read.set()
            yield Candidate(name=str(number), reason="none")

    with pytest.raises(Exception, match="the import was discarded"):
        imports.keep(found.id, candidates())
    assert read.is_set()
    assert client.get(f"/bring-in/{found.id}").status_code == 404


def test_originals_that_nothing_refers_to_are_swept_after_a_day(tmp_path: Path, pets: Path) -> None:
    app, client = open_app(pets)
    parts = app_of(app)
    brought, waits, gone = NEW, picture(5001), picture(5002)
    assert apply(client, upload(client, [("fox/0.png", brought)]), licence="MIT")
    upload(client, [("fox/1.png", waits)])
    url = upload(client, [("fox/2.png", gone)])
    post(client, "/undo")  # hidden, but a redo would bring it back

    def kept() -> list[bool]:
        digests = (digest_bytes(data) for data in (brought, waits, gone))
        return [parts.workspace.originals.find(digest) is not None for digest in digests]

    post(client, f"{url}/discard")
    assert kept() == [True, True, True]
    for path in parts.workspace.originals.folder.rglob("*.png"):
        os.utime(path, (0, 0))
    # Another database's app that uses the same folder leaves it alone.
    other, _ = open_app(
        make_collection(tmp_path / "other", 1),
        workspace=parts.workspace.folder,
        database=tmp_path / "other.sqlite",
    )
    merging.sweep(app_of(other))
    assert kept() == [True, True, True]
    merging.sweep(parts)
    assert kept() == [True, True, False]
    assert post(client, "/redo").get_json()["changed"] == 1


def test_imports_are_their_curators_alone(pets: Path) -> None:
    app = open_shared(pets, import_roots=(pets,))
    cleo, ada, vic = (client_of(app, name) for name in ("cleo", "ada", "vic"))
    url = upload(cleo, [("fox/mine.png", NEW)])
    preview = f"{url}/pictures/{digest_bytes(NEW)}/thumbnail"
    assert cleo.get(preview).status_code == 200
    for other in (ada, vic):
        assert other.get(url).status_code in (403, 404)
        assert other.get(preview).status_code in (403, 404)
        assert "mine.png" not in other.get("/bring-in/").text
        assert other.get("/bring-in/", headers=JSON).get_json() == {"imports": []}
        for verb in ("choose", "apply", "discard"):
            assert post(other, f"{url}/{verb}", plan="x").status_code in (403, 404)
    assert names(cleo, url, "new") == {"fox/mine.png": "take"}
    # Viewers bring nothing in, and curators nothing by path.
    assert "Upload" not in vic.get("/bring-in/").text
    assert begin(vic, "hub", hub="a/b").status_code == 403
    assert "server" not in cleo.get("/bring-in/").text
    assert str(pets) in ada.get("/bring-in/").text
    assert begin(cleo, "path", path="cat").status_code == 403


def test_folders_zips_and_revisions_below_the_roots_are_read(tmp_path: Path, pets: Path) -> None:
    root = make_collection(tmp_path / "root", 1)
    (root / "more.zip").write_bytes(zipped([("fox/1.png", NEW)]))
    (root / "empty").mkdir()
    (tmp_path / "outside.zip").write_bytes(zipped([("fox/2.png", picture(5001))]))
    _, client = open_app(pets, import_roots=(root,))
    url = begin(client, "path", path="more.zip").headers["Location"]
    assert names(client, url, "new") == {"fox/1.png": "take"}
    url = begin(client, "path", path=f"{root}/").headers["Location"]
    assert names(client, url, "same").keys() == {"cat/0000.png", "dog/0000.png"}
    for path in ("../outside.zip", str(tmp_path / "outside.zip"), "/etc/passwd", "", "none"):
        answer = begin(client, "path", path=path)
        assert answer.status_code == 409
        assert "is not below a folder to import from" in answer.text
    url = begin(client, "path", path="empty").headers["Location"]
    assert told(client, url)["state"] == "failed"
    page = client.get(url).text
    assert "Not read:" in page
    without = open_app(pets)[1]
    assert "on the server" not in without.get("/bring-in/").text
    assert begin(without, "path", path=str(root)).status_code == 403


def test_urls_are_downloaded_with_their_classes_and_licences(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = open_app(pets)
    answers = {
        "/tom.png": says(NEW),
        "/rex.png": says(picture(5001)),
        "/page": says(b"<p>", "text/html"),
    }
    with serving(answers) as server:
        monkeypatch.setattr(
            view, "RULES", Rules(ports=frozenset([server.server_port]), networks=(HERE,))
        )
        urls = f"{server.url('/tom.png')} fox MIT\n{server.url('/page')}\n"
        url = begin(client, "urls", urls=urls).headers["Location"]
        assert names(client, url, "new") == {"tom.png": "take"}
        assert names(client, url, "refused") == {
            "page": "the server calls it text/html, not a picture"
        }
        assert apply(client, url).status_code == 303  # its licence is stated
        table = f"url,class,license\n{server.url('/rex.png')},fox,CC0-1.0\n".encode()
        listed = begin(client, "urls", list=(io.BytesIO(table), "list.csv")).headers["Location"]
        assert names(client, listed, "new") == {"rex.png": "take"}
        tom = shown(client)["fox/tom.png"]
        assert (tom["licence"], tom["source"]) == ("MIT", server.url("/tom.png"))
    for form in ({"urls": ""}, {"urls": "no url"}, {"list": (io.BytesIO(b"\xff\xfe"), "x.txt")}):
        assert begin(client, "urls", **form).status_code == 409
