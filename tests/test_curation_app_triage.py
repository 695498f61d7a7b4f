"""What curators say about pictures: recorded, taken back, brought back, replayed."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from curation_app.store import actions, pictures
from curation_app.store.engine import writing
from curation_app.store.schema import actions as log
from curation_app.store.schema import changes
from curation_app.views.pictures import PAGE_SIZE
from tests.curating import (
    JSON,
    app_of,
    ids_in,
    make_collection,
    open_app,
    post,
    states_in,
    vote,
)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return make_collection(tmp_path / "pets")


def state_of(client: FlaskClient, picture_id: int) -> str:
    return str(client.get(f"/pictures/{picture_id}", headers=JSON).get_json()["state"])


def test_votes_change_and_are_taken_back_one_by_one(pets: Path, where: dict[str, str]) -> None:
    app, client = open_app(pets, **where)
    first = vote(client, 1, "keep").get_json()
    assert (first["pictures"][0]["name"], first["pictures"][0]["state"]) == ("cat/0000.png", "keep")
    assert first["counts"] == {"unseen": 5, "keep": 1, "maybe": 0, "reject": 0}
    vote(client, 1, "reject")
    vote(client, 4, "maybe")
    shown = states_in(client.get("/").text)
    assert {key: state for key, state in shown.items() if state != "unseen"} == {
        1: "reject",
        4: "maybe",
    }
    seen = []
    for _ in range(4):
        answer = post(client, "/undo").get_json()
        seen.append((answer["changed"], state_of(client, 1), state_of(client, 4)))
    assert seen == [
        (1, "reject", "unseen"),
        (1, "keep", "unseen"),
        (1, "unseen", "unseen"),
        (0, "unseen", "unseen"),
    ]
    assert not answer["can_undo"]
    assert answer["can_redo"]
    # Forwards again, in the order in which things were done.
    seen = []
    for _ in range(4):
        answer = post(client, "/redo").get_json()
        seen.append((answer["changed"], state_of(client, 1), state_of(client, 4)))
    assert seen == [
        (1, "keep", "unseen"),
        (1, "reject", "unseen"),
        (1, "reject", "maybe"),
        (0, "reject", "maybe"),
    ]
    # Nothing was deleted: the log holds every vote, undo and redo.
    with app_of(app).engine.connect() as connection:
        kinds = connection.execute(select(log.c.kind).order_by(log.c.id)).scalars().all()
    assert kinds == ["state"] * 3 + ["undo"] * 3 + ["redo"] * 3


def test_something_new_ends_what_could_be_redone(pets: Path) -> None:
    _, client = open_app(pets)
    vote(client, 1, "keep")
    assert post(client, "/undo").get_json()["can_redo"]
    assert not vote(client, 2, "keep").get_json()["can_redo"]
    assert post(client, "/redo").get_json()["changed"] == 0
    assert state_of(client, 1) == "unseen"


def test_a_request_sent_twice_acts_once(pets: Path, where: dict[str, str]) -> None:
    app, client = open_app(pets, **where)
    once = vote(client, 2, "keep", key="a-key-of-this-vote").get_json()
    again = vote(client, 2, "keep", key="a-key-of-this-vote").get_json()
    assert (once["repeated"], again["repeated"]) == (False, True)
    assert again["action"] == once["action"]
    undone = post(client, "/undo", key="a-key-of-the-undo").get_json()
    assert post(client, "/undo", key="a-key-of-the-undo").get_json()["action"] == undone["action"]
    # What holds already is not recorded either.
    assert vote(client, 3, "maybe").get_json()["changed"] == 1
    assert vote(client, 3, "maybe").get_json()["changed"] == 0
    with app_of(app).engine.connect() as connection:
        assert len(connection.execute(select(log.c.id)).all()) == 3
    assert "8 to 64" in vote(client, 2, "keep", key="short").get_json()["error"]


def test_a_batch_is_one_action(pets: Path) -> None:
    _, client = open_app(pets)
    answer = post(client, "/act", picture=[1, 2, 5], do="tag", text="  extra   ear ").get_json()
    assert answer["changed"] == 3
    assert answer["pictures"][0]["tags"] == ["extra ear"]
    assert ids_in(client.get("/?tag=extra+ear").text) == [1, 2, 5]
    assert post(client, "/act", picture=[2], do="untag:extra ear").get_json()["changed"] == 1
    assert ids_in(client.get("/?tag=extra+ear").text) == [1, 5]
    post(client, "/undo")
    post(client, "/undo")
    assert ids_in(client.get("/?tag=extra+ear").text) == []


def test_all_that_a_filter_finds_moves_to_another_class(pets: Path) -> None:
    _, client = open_app(pets)
    answer = post(client, "/act?label=dog", all=1, do="label", text="wolf").get_json()
    assert answer["changed"] == 3
    assert ids_in(client.get("/?label=wolf").text) == [4, 5, 6]
    assert "was <bdi>dog</bdi>" in client.get("/pictures/4").text
    post(client, "/undo")
    assert ids_in(client.get("/?label=dog").text) == [4, 5, 6]


def test_another_curators_later_word_survives_an_undo(pets: Path, where: dict[str, str]) -> None:
    app, client = open_app(pets, **where)
    vote(client, 1, "keep")
    with writing(app_of(app).engine) as connection:
        connection.execute(
            text("INSERT INTO curators (name, role, active, at) VALUES ('ada', 'curator', :t, '')"),
            {"t": True},
        )
        ada = connection.execute(text("SELECT id FROM curators WHERE name = 'ada'")).scalar_one()
        vote_of_ada = [actions.Change(picture_id=1, field="state", value="reject")]
        actions.act(connection, ada, "state", vote_of_ada)
    post(client, "/undo")
    assert state_of(client, 1) == "reject"


def test_the_pages_show_a_replay_of_the_log(pets: Path, where: dict[str, str]) -> None:
    app, client = open_app(pets, **where)
    for do in ("state:keep", "stars:4", "tag:noise", "label:lynx"):
        post(client, "/act", picture=[1, 2], do=do)
    post(client, "/act", picture=[2], do="stars:1")
    post(client, "/undo")
    with app_of(app).engine.connect() as connection:
        before = pictures.pictures_of(connection, [1, 2, 3])
    with writing(app_of(app).engine) as connection:
        connection.execute(text("UPDATE pictures SET state = 'maybe', stars = 3, label = 'x'"))
        connection.execute(text("DELETE FROM tags"))
        actions.replay(connection, 1)
        assert pictures.pictures_of(connection, [1, 2, 3]) == before
    assert (before[1].stars, before[1].tags, before[1].label) == (4, ("noise",), "lynx")


def test_the_log_cannot_be_changed(pets: Path, where: dict[str, str]) -> None:
    app, client = open_app(pets, **where)
    vote(client, 1, "keep")
    engine = app_of(app).engine
    for statement in (log.delete(), changes.update().values(value="reject")):
        with pytest.raises(DBAPIError, match="append-only"), writing(engine) as connection:
            connection.execute(statement)
    assert state_of(client, 1) == "keep"


@pytest.mark.parametrize(
    ("do", "complaint"),
    [
        ("state:best", "the state is 'best': one of unseen, keep, maybe, reject"),
        ("stars:6", "stars is '6': 1 to 5, or 0 for none"),
        ("tag:", "the tag has 0 characters: 1 to 60 are allowed"),
        ("tag:" + "x" * 61, "the tag has 61 characters"),
        ("tag:a\u202eb", "holds a control character"),
        ("label:../etc", "begins with a dot or holds a slash"),
        ("sing:loudly", "give state:…, stars:…"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(pets: Path, do: str, complaint: str) -> None:
    _, client = open_app(pets)
    answer = post(client, "/act", picture=1, do=do)
    assert answer.status_code == 409
    assert complaint in answer.get_json()["error"]
    assert post(client, "/act", do="state:keep").get_json()["error"].startswith("no picture")


def test_pages_are_keyed_and_votes_shift_none(tmp_path: Path, where: dict[str, str]) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", per_class=PAGE_SIZE), **where)
    first = ids_in(client.get("/?state=unseen").text)
    assert first == list(range(1, PAGE_SIZE + 1))
    post(client, "/act", picture=first[:30], do="state:keep")
    rest = ids_in(client.get(f"/?state=unseen&after={first[-1]}").text)
    assert rest == list(range(PAGE_SIZE + 1, 2 * PAGE_SIZE + 1))
    back = ids_in(client.get(f"/?state=unseen&before={rest[0]}").text)
    assert back == first[30:]
    with writing(app_of(app).engine) as connection:
        connection.execute(text("UPDATE pictures SET score = id % 7"))
    walked: list[int] = []
    page = client.get("/?order=best").text
    while True:
        walked += ids_in(page)
        if 'rel="next"' not in page:
            break
        page = client.get(f"/?order=best&after={walked[-1]}").text
    assert walked == sorted(range(1, 2 * PAGE_SIZE + 1), key=lambda one: (-(one % 7), -one))


def test_a_plain_form_comes_back_to_its_page(pets: Path) -> None:
    _, client = open_app(pets)
    answer = post(client, "/act", plain=True, picture=2, do="state:keep", to="/?label=cat")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?label=cat#picture-2")
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil", "/\t/evil", ""):
        answer = post(client, "/act", plain=True, picture=2, do="state:maybe", to=elsewhere)
        assert answer.headers["Location"].startswith("/#") or "evil" not in answer.headers[
            "Location"
        ].split("#")[0].lstrip("/")


def test_what_was_recorded_with_a_lost_answer_is_found_again(pets: Path) -> None:
    """Two requests with one key at the same moment: the second finds the first one's action."""
    app, client = open_app(pets)
    with writing(app_of(app).engine) as connection:
        connection.execute(
            insert(log).values(curator_id=1, kind="state", key="a-lost-request", at="")
        )
    answer = vote(client, 1, "keep", key="a-lost-request").get_json()
    assert answer["repeated"]
