import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from curation_app.pictures import PAGE_SIZE
from tests.curating import (
    JSON,
    app_of,
    ids_in,
    make_collection,
    open_app,
    secret_in,
    states_in,
    vote,
)


def take_back(client: FlaskClient, event: object) -> TestResponse:
    form = {"secret": secret_in(client), "event": str(event)}
    return client.post("/undo", data=form, headers=JSON)


def events(database: Path) -> list[tuple[int, str, int | None]]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT picture_id, state, undoes FROM events ORDER BY id")
        return list(rows)


def test_votes_change_and_are_taken_back_one_by_one(tmp_path: Path) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"))
    first = vote(client, 1, "keep").get_json()
    assert (first["name"], first["state"]) == ("cat/0000.png", "keep")
    assert first["counts"] == {"unseen": 5, "keep": 1, "maybe": 0, "reject": 0}
    second = vote(client, 1, "reject").get_json()
    third = vote(client, 4, "maybe").get_json()
    assert states_in(client.get("/").text) == {1: "reject", 2: "unseen", 3: "unseen"} | {
        4: "maybe",
        5: "unseen",
        6: "unseen",
    }
    # Backwards through all of it, each answer naming the next vote to take back.
    answer = take_back(client, third["last_vote"]).get_json()
    assert (answer["id"], answer["state"], answer["last_vote"]) == (4, "unseen", 2)
    answer = take_back(client, answer["last_vote"]).get_json()
    assert (answer["id"], answer["state"], answer["last_vote"]) == (1, "keep", 1)
    answer = take_back(client, answer["last_vote"]).get_json()
    assert (answer["id"], answer["state"], answer["last_vote"]) == (1, "unseen", None)
    assert second["last_vote"] == 2
    assert set(states_in(client.get("/").text).values()) == {"unseen"}
    # Nothing was deleted: the log holds every vote and every undo.
    assert events(app_of(app).shelf.database) == [
        *((1, "keep", None), (1, "reject", None), (4, "maybe", None)),
        *((4, "unseen", 3), (1, "keep", 2), (1, "unseen", 1)),
    ]


def test_a_repeated_request_records_nothing_twice(tmp_path: Path) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"))
    event = vote(client, 2, "keep").get_json()["last_vote"]
    assert vote(client, 2, "keep").get_json()["last_vote"] == event
    assert take_back(client, event).get_json()["state"] == "unseen"
    assert take_back(client, event).get_json()["state"] == "unseen"
    assert len(events(app_of(app).shelf.database)) == 2


def test_a_vote_that_was_overruled_cannot_be_taken_back(tmp_path: Path) -> None:
    _, client = open_app(make_collection(tmp_path / "pets"))
    event = vote(client, 2, "keep").get_json()["last_vote"]
    vote(client, 2, "reject")
    answer = take_back(client, event)
    assert answer.status_code == 409
    assert "cat/0001.png was voted on since" in answer.get_json()["error"]
    assert states_in(client.get("/").text)[2] == "reject"
    assert take_back(client, 999).status_code == 404


def test_the_log_can_only_grow_and_its_replay_is_the_state(tmp_path: Path) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"))
    for picture_id, state in ((1, "keep"), (2, "maybe"), (1, "maybe"), (3, "reject")):
        vote(client, picture_id, state)
    take_back(client, 3)
    replay = dict.fromkeys(range(1, 7), "unseen")
    for picture_id, state, _ in events(app_of(app).shelf.database):
        replay[picture_id] = state
    assert states_in(client.get("/").text) == replay
    with closing(sqlite3.connect(app_of(app).shelf.database)) as connection:
        for forbidden in ("DELETE FROM events", "UPDATE events SET state = 'keep'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(forbidden)


def test_plain_forms_do_without_javascript(tmp_path: Path) -> None:
    _, client = open_app(make_collection(tmp_path / "pets"))
    html = client.get("/?label=dog&state=unseen").text
    assert set(ids_in(html)) == {4, 5, 6}
    actions = re.findall(r'method="post"\s+action="([^"]+)"', html)
    assert actions[0] == "/pictures/4/vote?label=dog&amp;state=unseen"
    form = {"secret": secret_in(client), "state": "keep"}
    answer = client.post("/pictures/4/vote?label=dog&state=unseen", data=form)
    assert answer.status_code == 303
    assert answer.location == "/?label=dog&state=unseen#picture-4"
    html = client.get("/?label=dog&state=unseen").text
    assert ids_in(html) == [5, 6]
    assert 'name="event" value="1"' in html
    answer = client.post("/undo?label=dog", data={"secret": secret_in(client), "event": "1"})
    assert answer.location == "/?label=dog#picture-4"
    assert ids_in(client.get("/?label=dog&state=unseen").text) == [4, 5, 6]


def links(html: str, rel: str) -> list[str]:
    found = re.findall(rf'rel="{rel}" href="([^"]+)"', html)
    return [link.replace("&amp;", "&") for link in found]


def test_pages_show_every_picture_once_there_and_back(tmp_path: Path) -> None:
    per_class = PAGE_SIZE + 5
    _, client = open_app(make_collection(tmp_path / "many", per_class))
    pages = [client.get("/").text]
    while following := links(pages[-1], "next"):
        pages.append(client.get(following[0]).text)
    assert [ids_in(html) for html in pages] == [
        list(range(1, 61)),
        list(range(61, 121)),
        list(range(121, 131)),
    ]
    assert not links(pages[0], "prev")
    back = client.get(links(pages[2], "prev")[0]).text
    assert ids_in(back) == ids_in(pages[1])
    assert ids_in(client.get(links(back, "prev")[0]).text) == ids_in(pages[0])


def test_voting_pictures_out_of_the_filter_skips_none(tmp_path: Path) -> None:
    _, client = open_app(make_collection(tmp_path / "many", PAGE_SIZE))
    secret, seen, address = secret_in(client), [], "/?state=unseen"
    while True:
        html = client.get(address).text
        seen += ids_in(html)
        for picture_id in ids_in(html)[::2]:
            form = {"secret": secret, "state": "reject"}
            assert client.post(f"/pictures/{picture_id}/vote", data=form).status_code == 303
        following = links(html, "next")
        if not following:
            break
        address = following[0]
    assert seen == list(range(1, 2 * PAGE_SIZE + 1))
    assert "fits this filter" in client.get("/?state=maybe").text


def test_two_people_at_once_lose_no_vote(tmp_path: Path) -> None:
    app, client = open_app(make_collection(tmp_path / "many", 20))
    secret = secret_in(client)
    failed: list[int] = []

    def work(mine: range, state: str) -> None:
        own = app.test_client()
        for picture_id in mine:
            form = {"secret": secret, "state": state}
            answer = own.post(f"/pictures/{picture_id}/vote", data=form, headers=JSON)
            if answer.status_code != 200:
                failed.append(answer.status_code)

    threads = [
        threading.Thread(target=work, args=(range(1, 41, 2), "keep")),
        threading.Thread(target=work, args=(range(2, 41, 2), "reject")),
        threading.Thread(target=work, args=(range(1, 21), "maybe")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    log = events(app_of(app).shelf.database)
    assert len(log) == 60
    assert states_in(client.get("/").text) == {number: state for number, state, _ in log}
