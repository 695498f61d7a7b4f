"""Pairs in the browser: asked, judged, taken back, repeated; scores that follow from the log."""

from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text

from curation_app.judging import Judge
from curation_app.store import pictures
from curation_app.store.engine import writing
from curation_app.store.schema import comparisons
from curation_app.views.ranking import judge
from tests.curating import JSON, app_of, ids_in, make_collection, open_app, post


def opened(folder: Path, **settings: str) -> tuple[Flask, FlaskClient]:
    """An app whose judge draws from a seed: which pairs are asked, and which once more."""
    app, client = open_app(folder, **settings)
    parts = app_of(app)
    parts.parts["judge"] = Judge(parts.engine, parts.tasks, seed=1)
    parts.listeners.append(parts.parts["judge"].listen)
    return app, client


def ask(client: FlaskClient, label: str = "cat") -> dict[str, dict[str, int]]:
    answer = client.get(f"/rank/next?label={label}", headers=JSON)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def answer_by_id(client: FlaskClient, rounds: int, label: str = "cat") -> None:
    """Judge pairs: the higher id always wins."""
    for _ in range(rounds):
        pair = ask(client, label)
        left, right = pair["left"]["id"], pair["right"]["id"]
        outcome = "left" if left > right else "right"
        form = {"left": left, "right": right, "outcome": outcome, "repeats": pair["repeats"] or ""}
        assert post(client, "/rank/judge", **form).status_code == 200


def scores(client: FlaskClient) -> dict[int, float]:
    found = client.get("/?label=cat", headers=JSON).get_json()["pictures"]
    return {one["id"]: one["score"] for one in found}


def test_the_order_follows_from_the_pairs(tmp_path: Path, where: dict[str, str]) -> None:
    app, client = opened(make_collection(tmp_path / "pets", 8), **where)
    answer_by_id(client, 24)
    with app.app_context():
        judge().refit(1)
    found = scores(client)
    assert np.corrcoef(list(found), list(found.values()))[0, 1] > 0.9
    assert ids_in(client.get("/?label=cat&order=best").text)[:2] == [8, 7]
    # Dogs, of whom nobody said anything, are as unknown as before.
    dogs = client.get("/?label=dog", headers=JSON).get_json()["pictures"]
    assert {(one["score"], one["votes"]) for one in dogs} == {(0.0, 0)}


def test_scores_are_a_replay_of_the_log(tmp_path: Path, where: dict[str, str]) -> None:
    app, client = opened(make_collection(tmp_path / "pets", 6), **where)
    answer_by_id(client, 12)
    with app.app_context():
        judge().refit(1)
        unstarred = scores(client)
        post(client, "/act", picture=[1, 2], do="stars:5")
        judge().refit(1)
        before = scores(client)
        with writing(app_of(app).engine) as connection:
            connection.execute(text("UPDATE pictures SET score = 7, deviation = 7, votes = 7"))
        judge().refit(1)
    assert scores(client) == before
    assert before[1] > unstarred[1]


def test_undo_takes_a_judgement_out_of_the_scores(tmp_path: Path) -> None:
    _, client = opened(make_collection(tmp_path / "pets", 3))
    pair = ask(client)
    form = {"left": pair["left"]["id"], "right": pair["right"]["id"], "outcome": "left"}
    judged = post(client, "/rank/judge", **form).get_json()
    (winner,) = (one for one in judged["pictures"] if one["id"] == form["left"])
    assert (winner["votes"], winner["score"] > 0) == (1, True)
    assert winner["deviation"] < 10
    assert post(client, "/undo").get_json()["changed"] == 2
    ask(client)  # the scores are fitted anew when they are next needed
    assert set(scores(client).values()) == {0.0}
    post(client, "/redo")
    ask(client)
    assert scores(client)[winner["id"]] > 0


def test_stars_and_pairs_make_one_score(tmp_path: Path) -> None:
    app, client = opened(make_collection(tmp_path / "pets", 4))
    post(client, "/act", picture=1, do="stars:5")
    post(client, "/act", picture=2, do="stars:1")
    answer_by_id(client, 1, "dog")
    with app.app_context():
        judge().refit(1)
    found = scores(client)
    assert found[1] > found[3] == 0.0 > found[2]


def test_a_judgement_sent_twice_counts_once(tmp_path: Path) -> None:
    app, client = opened(make_collection(tmp_path / "pets", 3))
    form = {"left": 1, "right": 2, "outcome": "right", "key": "one-judgement-key"}
    first = post(client, "/rank/judge", **form).get_json()
    again = post(client, "/rank/judge", **form).get_json()
    assert (again["repeated"], again["action"]) == (True, first["action"])
    assert again["pictures"] == first["pictures"]
    with app_of(app).engine.connect() as connection:
        assert len(connection.execute(select(comparisons)).all()) == 1


def test_two_curators_are_not_asked_the_same(tmp_path: Path) -> None:
    _, client = opened(make_collection(tmp_path / "pets", 6))
    asked = [ask(client) for _ in range(3)]
    seen = [pair[side]["id"] for pair in asked for side in ("left", "right")]
    assert len(set(seen)) == 6


def test_some_pairs_come_back_with_their_sides_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, client = opened(make_collection(tmp_path / "pets", 30))
    monkeypatch.setattr("curation_app.judging._REPEATED", 0.3)
    answer_by_id(client, 80)
    with app_of(app).engine.connect() as connection:
        rows = connection.execute(select(comparisons)).all()
    by_id = {row.action_id: row for row in rows}
    repeats = [row for row in rows if row.repeats_id is not None]
    assert 8 <= len(repeats) <= 40
    assert len({row.repeats_id for row in repeats}) == len(repeats)
    for row in repeats:
        first = by_id[row.repeats_id]
        assert (row.left_id, row.right_id) == (first.right_id, first.left_id)
    # Apart from those, no pair is asked twice while others are left.
    pairs = [frozenset((row.left_id, row.right_id)) for row in rows if row.repeats_id is None]
    assert len(set(pairs)) == len(pairs)


def test_who_fetches_two_pairs_ahead_is_asked_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = opened(make_collection(tmp_path / "pets", 8))
    monkeypatch.setattr("curation_app.judging._REPEATED", 0.3)
    queue, asked = [ask(client), ask(client)], []
    while queue:  # over a fit, which comes after 25 votes, and up to the end of the class
        found = client.get("/rank/next?label=cat", headers=JSON)
        queue += [found.get_json()] if found.status_code == 200 else []
        pair = queue.pop(0)
        form = {side: pair[side]["id"] for side in ("left", "right")}
        form |= {"outcome": "left", "repeats": pair["repeats"] or ""}
        assert post(client, "/rank/judge", **form).status_code == 200
        asked.append((frozenset((form["left"], form["right"])), pair["repeats"]))
    plain = [pair for pair, repeats in asked if repeats is None]
    assert len(plain) == len(set(plain)) == 8 * 7 / 2
    repeated = [repeats for _, repeats in asked if repeats is not None]
    assert len(repeated) == len(set(repeated)) >= 3


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ({"left": 1, "right": 1, "outcome": "left"}, "compared with itself"),
        ({"left": 1, "right": 99, "outcome": "left"}, "two pictures of one collection"),
        ({"left": 1, "right": 2, "outcome": "best"}, "one of left, right, tie, skip"),
        ({"left": 1, "right": "x", "outcome": "left"}, "right is not a whole number"),
        ({"left": 1, "right": 2, "outcome": "tie", "repeats": 5}, "repeats no judgement"),
    ],
)
def test_a_judgement_that_makes_no_sense_is_refused(
    tmp_path: Path, form: dict[str, object], complaint: str
) -> None:
    _, client = opened(make_collection(tmp_path / "pets", 2))
    answer = post(client, "/rank/judge", **form)
    assert answer.status_code == 409
    assert complaint in answer.get_json()["error"]


def test_the_page_works_without_scripts(tmp_path: Path) -> None:
    app, client = opened(make_collection(tmp_path / "pets", 2))
    html = client.get("/rank/?label=dog").text
    assert "Which is better?" in html
    form = {"left": 3, "right": 4, "outcome": "left", "label": "dog"}
    answer = post(client, "/rank/judge", plain=True, **form)
    assert answer.headers["Location"] == "/rank/?collection=1&label=dog"
    with app_of(app).engine.connect() as connection:
        assert pictures.pictures_of(connection, [3])[0].votes == 1
    assert client.get("/rank/?label=owl").status_code == 400
    # One picture alone cannot be compared.
    post(client, "/act", picture=3, do="label:owl")
    assert "no pair left" in client.get("/rank/?label=owl").text
    # Nor are pictures that were all compared with each other.
    assert client.get("/rank/next?label=owl", headers=JSON).status_code == 404
