"""What windows, curators and work in the background do at the same time: nothing of it is lost."""

import datetime
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.files import digest_bytes
from curation_app import app as apps
from curation_app import judging, opening
from curation_app.context import App
from curation_app.imports import merging
from curation_app.imports.waiting import Decisions, Imports
from curation_app.indexing.facts import Facts
from curation_app.intake.plan import Near
from curation_app.judging import Judge, judge_of
from curation_app.records import Change
from curation_app.store import actions
from curation_app.store.engine import writing
from curation_app.tasks import Task
from tests.bringing_in import told, upload
from tests.curating import JSON, app_of, make_collection, open_app, picture, post, vote
from tests.photos import plant_equals

STARS = Change(picture_id=4, field="stars", value="5")


def shown(client: Any, picture_id: int) -> dict[str, Any]:
    return dict(client.get(f"/pictures/{picture_id}", headers=JSON).get_json())


def test_an_undo_takes_back_what_its_page_shows_as_the_last(
    tmp_path: Path, where: dict[str, str]
) -> None:
    _, client = open_app(make_collection(tmp_path / "pets"), **where)
    first = vote(client, 1, "keep").get_json()["action"]
    second = vote(client, 2, "keep").get_json()["action"]  # in another window
    refused = post(client, "/undo", expected=first)
    assert refused.status_code == 409
    assert "something else was done since" in refused.get_json()["error"]
    assert [shown(client, one)["state"] for one in (1, 2)] == ["keep", "keep"]
    assert f'name="expected" value="{second}"' in client.get("/").text
    answer = post(client, "/undo", expected=second).get_json()
    assert (answer["changed"], answer["undoes"]) == (1, first)
    assert [shown(client, one)["state"] for one in (1, 2)] == ["keep", "unseen"]
    assert post(client, "/undo").get_json()["undoes"] is None  # scripts need not say what
    assert post(client, "/undo", expected=first).get_json()["changed"] == 0
    assert post(client, "/undo", expected="x").status_code == 409


def test_scores_asked_for_while_a_collection_opens_know_all_pictures_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens, carry_out = apps._open, opening.carry_out
    known: list[App] = []
    early: list[int] = []

    def noted(parts: App, collection: Any) -> None:
        known.append(parts)
        opens(parts, collection)

    def looked_at(engine: Any, workspace: Any, planned: opening.Plan, report: Any) -> None:
        def asked(done: int, total: int) -> None:
            report(done, total)
            if 0 < done < total:
                early.append(len(judge_of(known[0]).board(planned.collection.id).ids))

        carry_out(engine, workspace, planned, asked)

    monkeypatch.setattr(apps, "_open", noted)
    monkeypatch.setattr(opening, "carry_out", looked_at)
    monkeypatch.setattr(opening, "CHUNK", 4)
    _, client = open_app(make_collection(tmp_path / "pets", 4))
    assert early == [4]  # the cats
    assert client.get("/rank/?label=dog").status_code == 200
    assert client.get("/rank/next?label=dog", headers=JSON).status_code == 200


def test_a_class_that_came_since_the_fit_has_no_pair_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_SMALL", 0)  # as if the collection were a large one
    monkeypatch.setattr(judging, "_RESTS", 10**9)
    _, client = open_app(make_collection(tmp_path / "pets"))
    assert client.get("/rank/?label=cat").status_code == 200
    post(client, "/act", picture=[1, 2], do="label:fox")
    assert "no pair left" in client.get("/rank/?label=fox").text
    assert client.get("/rank/next?label=fox", headers=JSON).status_code == 404


def test_a_fit_under_way_knows_when_pictures_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = open_app(make_collection(tmp_path / "pets"))
    parts = app_of(app)
    judge = Judge(parts.engine, parts.tasks)
    fitted = judge._fitted

    def overtaken(collection_id: int) -> judging.Board:
        board = fitted(collection_id)
        judge.forget(collection_id)
        return board

    monkeypatch.setattr(judge, "_fitted", overtaken)
    assert judge.refit(1).stale
    monkeypatch.undo()
    assert not judge.refit(1).stale


def test_scores_are_fitted_again_after_a_fit_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_SMALL", 0)
    monkeypatch.setattr(judging, "_RESTS", 0)
    app, client = open_app(make_collection(tmp_path / "pets"))
    judge = judge_of(app_of(app))
    fitted, tries = judge._fitted, []

    def failing(collection_id: int) -> judging.Board:
        tries.append(collection_id)
        if len(tries) == 1:
            raise OSError("the database is away")
        return fitted(collection_id)

    judge.board(1)
    monkeypatch.setattr(judge, "_fitted", failing)
    post(client, "/act", picture=1, do="stars:3")
    judge.board(1)  # the background fails
    judge.board(1)
    assert len(tries) == 2
    assert not judge.board(1).stale
    assert len(tries) == 2


def test_nobody_waits_for_a_first_fit_to_vote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"))
    parts = app_of(app)
    judge = judge_of(parts)
    pair = client.get("/rank/next?label=cat", headers=JSON).get_json()
    fitted, others = judge._fitted, []

    def beside_a_vote(collection_id: int) -> judging.Board:
        with writing(parts.engine) as connection:  # of somebody else, meanwhile
            others.append(actions.act(connection, 1, "stars", [STARS]).action_id)
        return fitted(collection_id)

    monkeypatch.setattr(judge, "_fitted", beside_a_vote)
    judge.forget(1)  # as an import does at its end
    form = {"left": pair["left"]["id"], "right": pair["right"]["id"], "outcome": "tie"}
    assert post(client, "/rank/judge", **form).status_code == 200
    assert others[0] is not None


def test_a_file_that_changes_while_it_is_looked_at_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets = make_collection(tmp_path / "pets")
    changing, later = pets / "cat/0000.png", picture(77, side_px=48)
    look_many = opening.look_many

    def overtaken(paths: Sequence[Path], *more: Any, **options: Any) -> Iterator[Facts]:
        for path, facts in zip(paths, look_many(paths, *more, **options), strict=True):
            if path.samefile(changing):
                changing.write_bytes(later)
            yield facts

    monkeypatch.setattr(opening, "look_many", overtaken)
    open_app(pets)
    monkeypatch.undo()
    _, client = open_app(pets)
    found = {one["name"]: one["id"] for one in client.get("/", headers=JSON).get_json()["pictures"]}
    assert client.get(f"/pictures/{found['cat/0000.png']}/original").data == later


def test_merging_all_that_is_shown_leaves_out_what_was_just_told_apart(
    tmp_path: Path, where: dict[str, str]
) -> None:
    _, client = open_app(plant_equals(tmp_path / "pets", 2, 3), **where)
    post(client, "/duplicates/search")
    post(client, "/duplicates/apart", group="2 3")  # by somebody else, after the page was made
    answer = post(client, "/duplicates/merge", group=["1 2 3", "4 5 6"]).get_json()
    assert {one["id"] for one in answer["pictures"]} == {4, 5, 6}
    # Who merges that very group means it.
    assert post(client, "/duplicates/merge", group="1 2 3").get_json()["changed"] == 3


@pytest.fixture
def imports(tmp_path: Path) -> Imports:
    return Imports(tmp_path / "imports")


def test_what_was_decided_otherwise_meanwhile_is_not_carried_out(imports: Imports) -> None:
    imports.begin(1, 1, "a zip")
    (found,) = imports.of(1)
    found = imports.update(found.id, state="ready") or found
    assert imports.choose(found, Decisions(licence="MIT"))
    assert not imports.claim(found)
    (found,) = imports.of(1)
    assert imports.claim(found)
    assert not imports.discard(found.id)
    assert not imports.claim(found)
    imports.give_up(found.id, "the disk is full")
    assert imports.discard(found.id)
    assert not imports.claim(found)


def test_look_alikes_that_another_request_has_found_stay(imports: Imports) -> None:
    found = imports.begin(1, 1, "a zip")
    assert imports.keep_near(found, [Near(sha256="a", other="b")], 5200)
    # It began before, among fewer pictures, and ends later.
    assert not imports.keep_near(found, [], 5000)
    (now,) = imports.of(1)
    assert now.seen_id == 5200
    assert imports.keep_near(now, [], 5300)


def test_an_import_that_is_being_carried_out_cannot_be_discarded(tmp_path: Path) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"))
    url = upload(client, [("fox/0.png", picture(5000))])
    imports = merging.imports_of(app_of(app))
    (found,) = imports.of(1)
    assert imports.claim(found)
    late = post(client, f"{url}/discard")
    assert late.status_code == 409
    assert "undo that afterwards" in late.get_json()["error"]
    assert told(client, url)["state"] == "applying"


def test_what_a_long_reading_has_kept_so_far_is_not_swept(tmp_path: Path) -> None:
    app, _ = open_app(make_collection(tmp_path / "pets"))
    parts = app_of(app)
    imports, originals = merging.imports_of(parts), parts.workspace.originals
    merging.sweep(parts)  # the folder is this app's from now on
    kept = digest_bytes(picture(5000))
    originals.keep(picture(5000), kept)
    two_days_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    day_ago_s = (two_days_ago + datetime.timedelta(days=0.9)).timestamp()
    for path in originals.folder.rglob("*.png"):
        os.utime(path, (day_ago_s, day_ago_s))
    found = imports.begin(1, 1, "200,000 URLs")
    imports.update(found.id, at=two_days_ago.isoformat(timespec="seconds"))
    reading = Task(id="reading", title="Reading 200,000 URLs")
    imports.works_at(found.id, reading)
    merging.sweep(parts)
    assert originals.find(kept) is not None
    reading.finished = True
    merging.sweep(parts)
    assert originals.find(kept) is None
