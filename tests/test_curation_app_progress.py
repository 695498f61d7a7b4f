"""Progress: what was done, by class and curator, and how far the votes can be trusted."""

import itertools
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from curation_app.progress import figures as progress
from curation_app.progress import plots
from curation_app.progress.plots import Interval, Series
from curation_app.records import Change
from curation_app.store import accounts, actions
from curation_app.store.engine import writing
from curation_app.views import progress as views
from tests.curating import JSON, app_of, make_collection, open_app, post, vote

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _counted_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_KEPT_S", 0.0)
    monkeypatch.setattr(views, "_QUICK_S", 60.0)


@pytest.fixture
def app(tmp_path: Path, where: dict[str, str]) -> Flask:
    return open_app(make_collection(tmp_path / "pets", 5), **where)[0]


def figures(client: FlaskClient, url: str = "/progress/") -> dict[str, Any]:
    found = client.get(url, headers=JSON)
    assert found.status_code == 200, found.text
    return dict(found.json)


def ids_of(client: FlaskClient, label: str) -> list[int]:
    found = client.get("/", query_string={"label": label}, headers=JSON).json
    return [one["id"] for one in found["pictures"]]


def add_curator(app: Flask, name: str) -> int:
    with writing(app_of(app).engine) as connection:
        accounts.add_curator(connection, name, "curator", "no hash")
        return next(one.id for one in accounts.all_curators(connection) if one.name == name)


def compare(app: Flask, curator: int, left: int, right: int, outcome: str, **more: Any) -> int:
    with writing(app_of(app).engine) as connection:
        done = actions.compare(connection, curator, left, right, outcome, **more)
    assert done.action_id is not None
    return done.action_id


def undo(app: Flask, curator: int) -> None:
    with writing(app_of(app).engine) as connection:
        actions.undo(connection, curator)


def test_a_collection_that_nobody_has_touched(app: Flask) -> None:
    client = app.test_client()
    found = figures(client)
    assert [(one["label"], one["pictures"], one["decided"]) for one in found["classes"]] == [
        ("cat", 5, 0),
        ("dog", 5, 0),
    ]
    assert found["curators"] == found["between"] == found["over_time"]["times"] == []
    page = client.get("/progress/").text
    assert "Nobody has voted yet" in page
    assert "Agreement between curators" not in page


def test_what_each_curator_did_is_counted_without_what_was_taken_back(app: Flask) -> None:
    client = app.test_client()
    ann, bob = add_curator(app, "ann"), add_curator(app, "bob")
    cats = ids_of(client, "cat")
    for outcome in ("left", "right", "tie", "skip"):
        compare(app, ann, cats[0], cats[1], outcome)
    compare(app, bob, cats[2], cats[3], "left")
    undo(app, bob)
    with writing(app_of(app).engine) as connection:
        for number, field in enumerate(("stars", "stars", "tag:noise", "label")):
            value = {"stars": "4", "tag:noise": "1", "label": "tiger"}[field]
            change = Change(picture_id=cats[number], field=field, value=value)
            actions.act(connection, bob, field.partition(":")[0], [change])
    vote(client, cats[0], "keep")
    people = {one["name"]: one for one in figures(client)["curators"]}
    assert people["ann"]["done"]["comparisons"] == 4
    assert people["ann"]["outcomes"] == {"left": 1, "right": 1, "tie": 1, "skip": 1}
    assert people["bob"]["done"] == {
        "comparisons": 0,
        "stars": 2,
        "keep, maybe, reject": 0,
        "tags, classes, merges": 2,
    }
    assert (people["bob"]["taken_back"], people["ann"]["taken_back"]) == (1, 0)
    assert people["local"]["done"]["keep, maybe, reject"] == 1
    tiger = next(one for one in figures(client)["classes"] if one["label"] == "tiger")
    assert tiger["pictures"] == 1


def test_consistency_is_what_repeats_show(app: Flask) -> None:
    client = app.test_client()
    ann = add_curator(app, "ann")
    cats = ids_of(client, "cat")
    pairs = [(cats[0], other) for other in cats[1:]]
    for number, (one, other) in enumerate(pairs):
        before = compare(app, ann, one, other, "left")
        # Sides change: the same picture wins again, but for the last pair.
        answer = "left" if number == 3 else "right"
        compare(app, ann, other, one, answer, repeats_id=before)
    (found,) = figures(client)["curators"]
    assert (found["alike"]["cases"], found["alike"]["share"]) == (4, 0.75)
    assert found["alike"]["low"] < 0.75 < found["alike"]["high"]
    assert (found["left"]["cases"], found["left"]["share"]) == (8, 5 / 8)
    assert not found["biased"]
    page = client.get("/progress/").text
    assert "75 %" in page
    assert 'aria-label="Consistency.' in page


def test_curators_are_compared_on_the_pairs_that_both_judged(app: Flask) -> None:
    client = app.test_client()
    ann, bob = add_curator(app, "ann"), add_curator(app, "bob")
    cats, dogs = ids_of(client, "cat"), ids_of(client, "dog")
    for one, other in itertools.pairwise(cats):
        compare(app, ann, one, other, "left")
        compare(app, bob, other, one, "right")  # the same one won
    compare(app, ann, dogs[0], dogs[1], "left")
    compare(app, bob, dogs[0], dogs[1], "right")
    compare(app, bob, dogs[2], dogs[3], "right")  # ann did not see these
    (both,) = figures(client)["between"]
    assert (both["one"], both["other"]) == ("ann", "bob")
    assert (both["alike"]["cases"], both["alike"]["share"]) == (5, 0.8)
    assert 0 < both["kappa"] < 0.8


def test_more_votes_make_an_order_stable(app: Flask) -> None:
    client = app.test_client()
    ann = add_curator(app, "ann")
    cats = ids_of(client, "cat")
    before = {one["label"]: one for one in figures(client)["classes"]}
    for _ in range(8):
        for place, one in enumerate(cats):
            for other in cats[place + 1 :]:
                compare(app, ann, one, other, "left")
    post(client, "/rank/refit")
    after = {one["label"]: one for one in figures(client)["classes"]}
    assert after["cat"]["stability"] > before["cat"]["stability"] + 0.3
    assert after["cat"]["needed"] < after["dog"]["needed"]
    assert after["dog"]["stability"] == before["dog"]["stability"] == 0
    assert sum(after["cat"]["counts"]) == after["cat"]["voted"] == 5
    assert after["dog"]["voted"] == 0
    assert client.get("/progress/").text.count('aria-label="Scores of') == 1


def test_each_collection_has_figures_of_its_own(tmp_path: Path, where: dict[str, str]) -> None:
    folders = [make_collection(tmp_path / name, 3) for name in ("one", "two")]
    app, client = open_app(*folders, **({"database": tmp_path / "both.sqlite"} | where))
    first = client.get("/?collection=1", headers=JSON).json["pictures"]
    ann = add_curator(app, "ann")
    compare(app, ann, first[0]["id"], first[1]["id"], "left")
    vote(client, first[0]["id"], "keep")
    mine = figures(client, "/progress/?collection=1")
    other = figures(client, "/progress/?collection=2")
    assert {one["name"] for one in mine["curators"]} == {"ann", "local"}
    assert other["curators"] == []
    assert sum(sum(values) for values in mine["over_time"]["series"].values()) == 2
    assert "<option" in client.get("/progress/?collection=2").text
    assert client.get("/progress/?collection=77").status_code == 404


def test_a_large_log_is_counted_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"))
    monkeypatch.setattr(views, "_QUICK_ACTIONS", 0)
    monkeypatch.setattr(views, "_QUICK_S", 0.0)
    monkeypatch.setattr(views, "_RESTS", 1e9)
    app_of(app).tasks._at_once = False
    waiting = client.get("/progress/").text
    assert "being counted" in waiting
    for _ in range(100):
        page = client.get("/progress/").text
        if "being counted" not in page:
            break
        time.sleep(0.05)
    assert "Comparisons needed" in page
    assert 'http-equiv="refresh"' not in page
    assert client.get("/progress/?collection=1", headers=JSON).json["classes"]


def test_names_of_people_and_classes_are_shown_as_text(tmp_path: Path) -> None:
    nasty = '"><script>x</script>'
    app, client = open_app(make_collection(tmp_path / "pets"))
    ann, bob = add_curator(app, nasty), add_curator(app, nasty + "2")
    cats = ids_of(client, "cat")
    for one in (ann, bob):
        for other in cats[1:]:
            before = compare(app, one, cats[0], other, "left")
            compare(app, one, other, cats[0], "left", repeats_id=before)
    for one in cats:
        post(client, "/act", picture=one, do="label:<b>&amp;")
    post(client, "/rank/refit")
    figures(client)
    page = client.get("/progress/").text
    assert "<script>" not in page.replace("<script type", "")
    assert "<b>" not in page
    assert page.count("&lt;script&gt;") >= 6
    assert "Scores of &lt;b&gt;&amp;amp;amp;" in page or "Scores of &lt;b&gt;&amp;amp;" in page


@pytest.mark.parametrize(
    ("first", "last", "digits"),
    [
        ("2026-01-01T10:00:00.000+00:00", "2026-01-01T10:40:00.000+00:00", 16),
        ("2026-01-01T10:00:00.000+00:00", "2026-01-01T14:00:00.000+00:00", 15),
        ("2026-01-01T10:00:00.000+00:00", "2026-01-03T10:00:00.000+00:00", 13),
        ("2026-01-01T10:00:00.000+00:00", "2026-02-01T10:00:00.000+00:00", 10),
        ("2026-01-01T10:00:00.000+00:00", "2027-02-01T10:00:00.000+00:00", 7),
    ],
)
def test_time_is_cut_so_that_bars_can_be_told_apart(first: str, last: str, digits: int) -> None:
    assert progress.digits_for((first, last)) == digits
    times = progress.without_gaps([first[:digits], last[:digits]])
    assert (times[0], times[-1]) == (first[:digits], last[:digits])
    assert 2 <= len(times) <= 130
    assert len(set(times)) == len(times)
    assert {len(one) for one in times} == {digits}


def test_quiet_days_are_shown_as_such() -> None:
    rows: list[Any] = [
        SimpleNamespace(time=day, kind=kind, number=number)
        for day, kind, number in [
            ("2026-02-27", "compare", 5),
            ("2026-02-27", "state", 2),
            ("2026-03-02", "tag", 1),
        ]
    ]
    found = progress.over_time(rows)
    assert found.times == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert found.series["comparisons"] == [5, 0, 0, 0]
    assert found.series["tags, classes, merges"] == [0, 0, 0, 1]


def test_bars_are_as_tall_as_their_numbers() -> None:
    series = [Series(name="a", values=[10, 20, 0]), Series(name="b", values=[0, 10, 5])]
    drawn = plots.bars("Votes", "Told.", ["x", "y", "z"], series)
    root = ET.fromstring(drawn)
    assert (root.get("role"), root.get("aria-label")) == ("img", "Votes. Told.")
    assert root.findtext(f"{SVG}title") == "Votes"
    assert root.findtext(f"{SVG}desc") == "Told."
    rects = root.findall(f"{SVG}rect")
    heights = {rect.findtext(f"{SVG}title"): float(rect.get("height", "")) for rect in rects}
    assert set(heights) == {"x: 10 a", "y: 20 a", "y: 10 b", "z: 5 b"}
    assert heights["y: 20 a"] == pytest.approx(2 * heights["x: 10 a"], abs=0.2)
    # Stacked: the upper bar ends where the lower one begins.
    upper, lower = sorted(
        (rect for rect in rects if (rect.findtext(f"{SVG}title") or "").startswith("y")),
        key=lambda rect: float(rect.get("y", "")),
    )
    ends = float(upper.get("y", "")) + float(upper.get("height", ""))
    assert ends == pytest.approx(float(lower.get("y", "")), abs=0.2)


def test_intervals_lie_on_one_scale() -> None:
    rows = [
        Interval(name="<ann>", value=0.5, low=0.25, high=0.75),
        Interval(name="bob", value=1, low=0.5, high=1),
    ]
    root = ET.fromstring(plots.intervals("Consistency", "Told.", rows, mark=0.95))
    dots = [float(dot.get("cx", "")) for dot in root.findall(f"{SVG}circle")]
    first, second = (line for line in root.findall(f"{SVG}line") if line.get("class") == "reach")
    assert float(first.get("x1", "")) < dots[0] < float(first.get("x2", "")) < dots[1]
    assert float(second.get("x1", "")) == pytest.approx(dots[0], abs=0.1)
    assert "<ann>" in [text.text for text in root.findall(f"{SVG}text")]


@pytest.mark.parametrize("most", [0, 1, 3, 7, 99, 12345, 2_000_000])
def test_axes_reach_over_the_tallest_bar_in_round_steps(most: int) -> None:
    root = ET.fromstring(plots.histogram("Scores", "Told.", [0.0, 1.0], [most, 0]))
    for rect in root.findall(f"{SVG}rect"):
        assert plots.TOP - 0.1 <= float(rect.get("y", "")) <= plots.HEIGHT - plots.BOTTOM
    rules = [line for line in root.findall(f"{SVG}line") if line.get("class") == "rule"]
    assert 2 <= len(rules) <= 7
