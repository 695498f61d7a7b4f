"""Copies: found in the background, shown in groups, merged, told apart, taken back."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from curation_app import security
from curation_app.copies.finding import grouped, pack, undecided, unpack
from curation_app.copies.joining import best
from curation_app.records import Change, Picture
from curation_app.store import accounts, actions, ranking
from curation_app.store.engine import writing
from curation_app.store.pictures import pictures_of
from curation_app.store.schema import actions as log
from curation_app.store.schema import curators
from curation_app.thumbnails import thumbnail_path
from curation_app.views import duplicates as page
from tests.curating import JSON, app_of, ids_in, open_app, post, vote
from tests.photos import photo, plant_copies, plant_equals, save


def search(client: FlaskClient) -> dict[str, Any]:
    """Search for copies; the finished task."""
    answer = post(client, "/duplicates/search")
    assert answer.status_code == 303
    task = client.get(answer.headers["Location"], headers=JSON).get_json()
    assert task["finished"]
    assert not task["error"]
    return dict(task)


def listed(client: FlaskClient, arguments: str = "") -> dict[str, Any]:
    answer = client.get(f"/duplicates/?{arguments}", headers=JSON)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def groups(client: FlaskClient, arguments: str = "") -> list[list[int]]:
    return [one["ids"] for one in listed(client, arguments)["groups"]]


def merge(client: FlaskClient, *ids: int, **form: Any) -> dict[str, Any]:
    answer = post(client, "/duplicates/merge", group=" ".join(map(str, ids)), **form).get_json()
    return dict(answer)


def shown(client: FlaskClient, picture_id: int) -> dict[str, Any]:
    return dict(client.get(f"/pictures/{picture_id}", headers=JSON).get_json())


def votes(app: Flask) -> ranking.Votes:
    with app_of(app).engine.connect() as connection:
        return ranking.votes(connection, 1)


def token_of(app: Flask) -> str:
    with app.app_context(), app_of(app).engine.connect() as connection:
        return security.script_token(accounts.local_curator(connection))


def another_curator(app: Flask) -> int:
    with writing(app_of(app).engine) as connection:
        values = {"name": "ada", "role": "curator", "active": True, "at": ""}
        connection.execute(curators.insert().values(values))
        found = connection.execute(select(curators.c.id).where(curators.c.name == "ada"))
        return int(found.scalar_one())


@pytest.fixture
def equals(tmp_path: Path, where: dict[str, str]) -> tuple[Flask, FlaskClient]:
    """Ids 1, 2, 3 are equal, and so are 4, 5, 6; 7 is like no other. Copies were searched for."""
    app, client = open_app(plant_equals(tmp_path / "pets", 2, 3), **where)
    search(client)
    return app, client


def test_each_kind_of_copy_is_found_and_the_slider_limits_near_ones(
    tmp_path: Path, where: dict[str, str]
) -> None:
    _, client = open_app(plant_copies(tmp_path / "pets"), **where)
    assert listed(client)["searched_at"] is None
    assert "Nobody has searched" in client.get("/duplicates/").text
    assert search(client)["result"] == "4 pairs of copies found"
    found = listed(client)
    names = [
        (one["kind"], sorted(each["name"] for each in one["pictures"])) for one in found["groups"]
    ]
    assert names == [
        ("exact", ["cat/0.png", "dog/same.png"]),
        ("encoded", ["cat/1.png", "cat/encoded.jpg"]),
        ("near", ["cat/2.png", "cat/near.png"]),
        ("augmented", ["cat/3.png", "cat/moved.png"]),
    ]
    assert found["groups"][0]["labels"] == ["cat", "dog"]
    kinds = [one["kind"] for one in listed(client, "distance=2")["groups"]]
    assert kinds == ["exact", "encoded", "augmented"]
    kinds = [one["kind"] for one in listed(client, "augmented=0")["groups"]]
    assert kinds == ["exact", "encoded", "near"]
    assert len(groups(client, "augmented=0&augmented=1")) == 4  # as a ticked box is sent
    assert [one["kind"] for one in listed(client, "kind=near")["groups"]] == ["near"]
    assert groups(client, "label=dog") == [found["groups"][0]["ids"]]


def test_the_page_shows_which_one_is_kept_and_says_when_it_is_out_of_date(tmp_path: Path) -> None:
    folder = plant_copies(tmp_path / "pets")
    _, client = open_app(folder)
    search(client)
    text = client.get("/duplicates/").text
    first = listed(client)["groups"][0]
    assert f'id="group-{first["ids"][0]}"' in text
    assert f'name="keep-{first["ids"][0]}" value="{first["keep"]}" checked' in text
    assert "They are in several classes" in text
    assert "have come since" not in text
    save(photo(4), folder / "dog" / "four.png")  # what was cat/4.png alone
    _, client = open_app(folder)
    assert listed(client)["news"] == 1
    assert "1\n      picture has come since: search again" in client.get("/duplicates/").text
    assert len(groups(client)) == 4  # the old search serves meanwhile
    search(client)
    assert (listed(client)["news"], len(groups(client))) == (0, 5)


def test_a_missing_preview_is_made_again(tmp_path: Path) -> None:
    app, client = open_app(plant_copies(tmp_path / "pets"))
    previews = app_of(app).workspace.previews
    shutil.rmtree(previews)
    search(client)
    assert len(groups(client)) == 4
    moved = next(one for one in listed(client)["groups"] if one["kind"] == "augmented")
    assert thumbnail_path(previews, moved["pictures"][0]["sha256"]).is_file()


def test_a_merge_is_one_action_and_comes_and_goes_as_one(equals: tuple[Flask, FlaskClient]) -> None:
    app, client = equals
    assert groups(client) == [[1, 2, 3], [4, 5, 6]]
    post(client, "/act", picture=2, do="tag:cut off")
    post(client, "/act", picture=3, do="stars:4")
    vote(client, 3, "keep")
    answer = merge(client, 1, 2, 3, keep=1)
    assert answer["changed"] == 3
    kept = shown(client, 1)
    assert (kept["tags"], kept["stars"], kept["state"]) == (["cut off"], 4, "keep")
    assert [shown(client, one)["merged_into"] for one in (1, 2, 3)] == [None, 1, 1]
    assert ids_in(client.get("/").text) == [1, 4, 5, 6, 7]
    assert ids_in(client.get("/?tag=cut+off").text) == [1]
    assert ids_in(client.get("/?merged=1").text) == [2, 3]
    assert groups(client) == [[4, 5, 6]]
    (merged,) = client.get("/duplicates/merged", headers=JSON).get_json()["merged"]
    assert (merged["kept_id"], [one["id"] for one in merged["others"]]) == (1, [2, 3])
    post(client, "/undo")
    assert groups(client) == [[1, 2, 3], [4, 5, 6]]
    kept = shown(client, 1)
    assert (kept["tags"], kept["stars"], kept["state"]) == ([], 0, "unseen")
    post(client, "/redo")
    assert ids_in(client.get("/").text) == [1, 4, 5, 6, 7]
    assert shown(client, 1)["tags"] == ["cut off"]
    with app_of(app).engine.connect() as connection:
        kinds = connection.execute(select(log.c.kind).order_by(log.c.id)).scalars().all()
    assert kinds[-3:] == ["merge", "undo", "redo"]


def test_merged_pictures_are_in_no_revision_and_no_ranking(
    equals: tuple[Flask, FlaskClient],
) -> None:
    app, client = equals
    post(client, "/act?label=cat", all=1, do="state:keep")
    merge(client, 1, 2, 3)
    post(client, "/revisions/")
    frozen = client.get("/revisions/", headers=JSON).get_json()["revisions"]
    assert frozen[0]["counts"] == {"cat": 5}
    with app_of(app).engine.connect() as connection:
        assert [one for one, _ in ranking.members(connection, 1)] == [1, 4, 5, 6, 7]


def test_votes_on_merged_pictures_count_for_the_kept_one(
    equals: tuple[Flask, FlaskClient],
) -> None:
    app, client = equals
    with writing(app_of(app).engine) as connection:
        for left, right, outcome in (
            (2, 7, "left"),
            (1, 2, "right"),
            (7, 3, "tie"),
            (1, 7, "skip"),
        ):
            actions.compare(connection, 1, left, right, outcome)
    post(client, "/act", picture=2, do="stars:5")
    post(client, "/act", picture=3, do="stars:2")
    assert votes(app).pairs.tolist() == [[2, 7, 1, 1], [1, 2, -1, 1], [7, 3, 0, 1]]
    merge(client, 1, 2, 3, keep=1)
    # 1 against 2 is nobody's judgement any more; of stars, a curator's last word counts.
    assert votes(app).pairs.tolist() == [[1, 7, 1, 1], [7, 1, 0, 1]]
    assert votes(app).stars.tolist() == [[1, 2, 1]]
    post(client, "/undo")
    assert votes(app).pairs.tolist() == [[2, 7, 1, 1], [1, 2, -1, 1], [7, 3, 0, 1]]
    assert votes(app).stars.tolist() == [[2, 5, 1], [3, 2, 1]]


def test_the_ranking_follows_merges_and_what_takes_them_back(
    equals: tuple[Flask, FlaskClient],
) -> None:
    _, client = equals
    for left, right in ((1, 7), (2, 6), (3, 7)):
        post(client, "/rank/judge", left=left, right=right, outcome="left")
    post(client, "/act", picture=1, do="stars:5")

    def rested_on() -> list[int]:
        client.get("/rank/next?label=cat")  # scores are fitted anew when they are next needed
        return [shown(client, one)["votes"] for one in (1, 2, 3, 6, 7)]

    assert rested_on() == [2, 1, 1, 1, 2]
    merge(client, 1, 2, 3, keep=2)
    assert rested_on()[1] == 4
    assert shown(client, 2)["score"] > 0
    post(client, "/undo")
    assert rested_on() == [2, 1, 1, 1, 2]


def test_what_was_merged_into_a_picture_goes_along_with_it(
    equals: tuple[Flask, FlaskClient],
) -> None:
    app, client = equals
    with writing(app_of(app).engine) as connection:
        actions.compare(connection, 1, 2, 7, "left")
    merge(client, 1, 2, keep=1)
    merge(client, 1, 4, keep=4)
    assert [shown(client, one)["merged_into"] for one in (1, 2)] == [4, 4]
    assert votes(app).pairs.tolist() == [[4, 7, 1, 1]]
    post(client, "/undo")
    assert [shown(client, one)["merged_into"] for one in (1, 2)] == [None, 1]
    assert votes(app).pairs.tolist() == [[1, 7, 1, 1]]


def test_redoing_an_older_merge_makes_a_chain_and_never_a_circle(
    equals: tuple[Flask, FlaskClient],
) -> None:
    """Two curators: one takes a merge back and does it again, the other merges in between."""
    app, client = equals
    ada = another_curator(app)

    def merge_as_ada(one: int, kept: int) -> None:
        into = Change(picture_id=one, field="merged_into", value=str(kept))
        stays = Change(picture_id=kept, field="merged_into", value="")
        with writing(app_of(app).engine) as connection:
            actions.act(connection, ada, "merge", [into, stays])

    merge(client, 1, 2, keep=1)
    post(client, "/undo")
    merge_as_ada(1, 2)
    post(client, "/redo")
    assert [shown(client, one)["merged_into"] for one in (1, 2)] == [2, None]
    merge(client, 4, 5, keep=4)
    post(client, "/undo")
    merge_as_ada(4, 6)
    with writing(app_of(app).engine) as connection:
        actions.compare(connection, 1, 5, 7, "left")
    post(client, "/undo")  # of the comparison
    post(client, "/redo")
    with writing(app_of(app).engine) as connection:
        actions.act(connection, 1, "merge", [Change(picture_id=5, field="merged_into", value="4")])
    assert [shown(client, one)["merged_into"] for one in (4, 5)] == [6, 4]
    assert votes(app).pairs.tolist() == [[6, 7, 1, 1]]


def test_another_one_can_be_kept_and_all_shown_merged_at_once(
    equals: tuple[Flask, FlaskClient],
) -> None:
    _, client = equals
    form = {"group": ["1 2 3", "4 5 6"], "keep-1": 3, "keep-4": 5}
    assert post(client, "/duplicates/merge", **form).get_json()["changed"] == 6
    assert ids_in(client.get("/").text) == [3, 5, 7]
    post(client, "/undo")
    plain = post(client, "/duplicates/merge", plain=True, only=1, to="/duplicates/", **form)
    assert plain.headers["Location"] == "/duplicates/#group-4"
    assert ids_in(client.get("/").text) == [3, 4, 5, 6, 7]


def test_two_curators_who_merge_at_the_same_moment_lose_no_picture(
    equals: tuple[Flask, FlaskClient],
) -> None:
    app, client = equals
    token = token_of(app)

    def merge_into(kept: int) -> int:
        form = {"group": "1 2 3", "keep": kept}
        headers = JSON | {"Authorization": f"Bearer {token}"}
        return app.test_client().post("/duplicates/merge", data=form, headers=headers).status_code

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(merge_into, (1, 2, 3)))
    assert sorted(answers) == [200, 409, 409]
    assert len(ids_in(client.get("/").text)) == 5
    assert len(ids_in(client.get("/?merged=1").text)) == 2


def test_a_request_sent_twice_merges_once(equals: tuple[Flask, FlaskClient]) -> None:
    _, client = equals
    once = merge(client, 1, 2, 3, key="a-key-of-this-merge")
    again = merge(client, 1, 2, 3, key="a-key-of-this-merge")
    assert (once["repeated"], again["repeated"]) == (False, True)
    assert once["action"] == again["action"]
    assert "merged by somebody else" in merge(client, 1, 2, 3)["error"]
    # A group that lost one of its pictures meanwhile is merged without it.
    assert merge(client, 3, 1, 4, keep=4)["changed"] == 4  # what was merged into 1 goes along


def test_classes_that_disagree_must_be_decided(tmp_path: Path, where: dict[str, str]) -> None:
    folder = plant_equals(tmp_path / "pets", 2)
    (folder / "dog").mkdir()
    (folder / "cat" / "00-1.png").rename(folder / "dog" / "00.png")
    _, client = open_app(folder, **where)
    search(client)
    (dogs,) = (one["ids"] for one in listed(client)["groups"] if one["labels"] == ["cat", "dog"])
    (cats,) = (one for one in groups(client) if one != dogs)
    assert "are in several classes (cat, dog): choose one" in merge(client, *dogs)["error"]
    assert "none of theirs: cat, dog" in merge(client, *dogs, label="frog")["error"]
    both = {"group": [" ".join(map(str, one)) for one in (dogs, cats)]}
    assert post(client, "/duplicates/merge", **both).get_json()["changed"] == 2
    assert groups(client) == [dogs]
    assert merge(client, *dogs, keep=dogs[0], label="dog")["changed"] == 2
    assert shown(client, dogs[0])["label"] == "dog"
    post(client, "/undo")
    assert shown(client, dogs[0])["label"] == "cat"


def test_groups_that_are_told_apart_are_not_shown_again(equals: tuple[Flask, FlaskClient]) -> None:
    _, client = equals
    answer = post(client, "/duplicates/apart", group="1 2 3").get_json()
    assert answer["changed"] == 3
    assert groups(client) == [[4, 5, 6]]
    search(client)
    assert groups(client) == [[4, 5, 6]]
    apart = client.get("/duplicates/apart", headers=JSON).get_json()["apart"]
    assert [[each["id"] for each in one["pictures"]] for one in apart] == [[1, 2, 3]]
    post(client, "/undo")
    assert groups(client) == [[1, 2, 3], [4, 5, 6]]
    post(client, "/redo")
    # Only two of them are no copies of each other: a third one may join both.
    post(client, "/undo")
    post(client, "/duplicates/apart", group="2 3")
    assert groups(client) == [[1, 2, 3], [4, 5, 6]]
    post(client, "/duplicates/apart", group="1 2 3")
    assert groups(client) == [[4, 5, 6]]
    assert post(client, "/duplicates/together", group="1 2 3").get_json()["changed"] == 3
    assert groups(client) == [[1, 2, 3], [4, 5, 6]]
    assert not client.get("/duplicates/apart", headers=JSON).get_json()["apart"]


def test_merged_pictures_can_be_taken_out_again(equals: tuple[Flask, FlaskClient]) -> None:
    _, client = equals
    merge(client, 1, 2, 3, keep=1)
    vote(client, 7, "keep")
    assert post(client, "/duplicates/separate", picture=2).get_json()["changed"] == 1
    assert ids_in(client.get("/").text) == [1, 2, 4, 5, 6, 7]
    merge(client, 1, 2, keep=1)
    text = client.get("/duplicates/merged").text
    assert 'name="kept" value="1"' in text
    assert post(client, "/duplicates/separate", kept=1).get_json()["changed"] == 2
    assert groups(client) == [[1, 2, 3], [4, 5, 6]]
    assert "no picture is named" in post(client, "/duplicates/separate").get_json()["error"]


def test_pages_of_groups_are_keyed_and_merging_shifts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE_GROUPS", 3)
    _, client = open_app(plant_equals(tmp_path / "pets", 8))
    search(client)
    first = listed(client)
    assert [one["ids"][0] for one in first["groups"]] == [1, 3, 5]
    assert (first["found"], first["earlier"], first["later"]) == (8, False, True)
    merge(client, 3, 4)
    assert [one[0] for one in groups(client, "after=5")] == [7, 9, 11]
    last = listed(client, "after=11")
    assert ([one["ids"][0] for one in last["groups"]], last["later"]) == ([13, 15], False)
    back = listed(client, "before=7")
    assert [one["ids"][0] for one in back["groups"]] == [1, 5]
    assert (back["earlier"], back["later"]) == (False, True)
    monkeypatch.setattr(page, "PAGE_PICTURES", 3)
    assert [one[0] for one in groups(client, "before=13")] == [9, 11]


def test_the_best_one_is_kept_by_score_then_size_and_rejected_ones_last() -> None:
    def one(number: int, **values: Any) -> Picture:
        plain: dict[str, Any] = dict.fromkeys(Picture.__dataclass_fields__, "")
        plain |= {"width_px": 100, "height_px": 100, "size_bytes": 9, "score": 0.0}
        return Picture(**plain | {"id": number, "state": "unseen"} | values)

    assert best([one(1), one(2, score=1.0), one(3, width_px=500)]).id == 2
    assert best([one(1), one(2, width_px=500), one(3, size_bytes=99)]).id == 2
    assert best([one(1, size_bytes=8), one(2), one(3)]).id == 2
    assert best([one(1), one(2, score=1.0, state="reject")]).id == 1
    assert best([one(1, state="reject"), one(2, score=1.0, state="reject")]).id == 2


def test_what_a_search_found_is_kept_as_it_was(tmp_path: Path) -> None:
    app, client = open_app(plant_equals(tmp_path / "pets", 2, 3))
    search(client)
    with app_of(app).engine.connect() as connection:
        labels = {one.id: one.label for one in pictures_of(connection, range(1, 8))}
    with app.app_context():
        page.finder().listing(1, 6, augmented=True)
        kept = page.finder()._searches[1]
    again = unpack(pack(kept.ids, kept.links), kept.at)
    for one in (kept, again):
        groups = grouped(undecided(one, labels, {}), 6, augmented=True)
        assert [group.ids for group in groups] == [(1, 2, 3), (4, 5, 6)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("distance=17", "distance is 17: 0 to 16 bits"),
        ("distance=-1", "distance is not a whole number"),
        ("kind=twin", "kind is 'twin': one of exact, encoded, near, augmented"),
        ("after=x", "after is not a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, arguments: str, complaint: str
) -> None:
    _, client = open_app(plant_equals(tmp_path_factory.mktemp("x") / "pets", 1))
    answer = client.get(f"/duplicates/?{arguments}", headers=JSON)
    assert (answer.status_code, answer.get_json()["error"]) == (400, complaint)


def test_forms_that_make_no_sense_change_nothing(tmp_path: Path) -> None:
    _, client = open_app(plant_equals(tmp_path / "pets", 2))
    for form, complaint in (
        ({}, "give at least one group"),
        ({"group": " "}, "group is empty"),
        ({"group": "1 2", "only": 2}, "begins none of the groups"),
        ({"group": "1 2", "keep": [1, 2]}, "several pictures of one group are to be kept"),
        ({"group": ["1 2", "2 3"]}, "in several of these groups"),
        ({"group": "1 999"}, "nothing was merged"),
        ({"group": "1 x"}, "group is not a whole number"),
    ):
        answer = post(client, "/duplicates/merge", **form)
        assert answer.status_code == 409
        assert complaint in answer.get_json()["error"]
    apart = post(client, "/duplicates/apart", group="1").get_json()
    assert apart["error"].startswith("it takes two pictures")
    assert ids_in(client.get("/").text) == [1, 2, 3, 4, 5]
