"""Ranking in the browser: a run by keyboard, what it makes of the order, and what is taken back."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Page, expect

from curation_app.judging import Judge
from curation_app.records import Comparison
from curation_app.store import ranking
from tests.browser.conftest import Open, assert_accessible, take_picture, wait_for_pictures
from tests.browser.stories import animals, follow, judge, table_rows
from tests.curating import JSON, app_of, open_app

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]
NAMES = [f"{number:02d}.png" for number in range(8)]
"""Of the cats; the curator likes the first one best, and each next one a little less."""


def shown(page: Page) -> tuple[str, str]:
    """File names of the pair, left and right."""
    left, right = page.locator(".pair figcaption bdi").all_inner_texts()
    return left.rpartition("/")[2], right.rpartition("/")[2]


def doubts(page: Page) -> dict[str, float]:
    """The ± that the page shows beside each picture that has votes."""
    notes = page.locator(".pair figcaption span").all_inner_texts()
    pairs = zip(shown(page), notes, strict=True)
    return {name: float(note.partition("±")[2]) for name, note in pairs if "±" in note}


def better(pair: tuple[str, str]) -> str:
    return "ArrowLeft" if pair[0] < pair[1] else "ArrowRight"


def judged(app: Flask) -> list[Comparison]:
    """What stands in the log."""
    with app_of(app).engine.connect() as connection:
        return ranking.all_comparisons(connection, 1)


def order(client: FlaskClient) -> list[str]:
    found = client.get("/?label=cat&order=best", headers=JSON).get_json()["pictures"]
    return [one["name"].rpartition("/")[2] for one in found]


@pytest.fixture
def ranked(tmp_path: Path) -> tuple[Flask, FlaskClient]:
    """Eight cats and eight dogs; which pairs are asked for once more comes from a seed."""
    app, client = open_app(animals(tmp_path / "pets", len(NAMES), size_px=384))
    parts = app_of(app)
    parts.parts["judge"] = Judge(parts.engine, parts.tasks, seed=4)
    parts.listeners.append(parts.parts["judge"].listen)
    return app, client


def test_each_key_says_what_it_says_and_can_be_taken_back(
    ranked: tuple[Flask, FlaskClient], serve: Serve, open_page: Open
) -> None:
    app, _ = ranked
    page = open_page(serve(app) + "/rank/?label=cat")
    expect(page.locator("#keys")).to_be_visible()
    expect(page.get_by_text("no votes yet")).to_have_count(2)
    wait_for_pictures(page)
    assert_accessible(page)
    first = shown(page)
    keys = {"ArrowLeft": "left", "ArrowRight": "right", "ArrowDown": "tie", "s": "skip"}
    sent = [judge(page, key) for key in keys]
    expect(page.locator("#status")).to_have_text("3 judged")
    log = judged(app)
    assert [one.outcome for one in log] == list(keys.values())
    assert [(str(one.left_id), str(one.right_id)) for one in log] == [
        (one["left"], one["right"]) for one in sent
    ]
    # Taken back one by one: each pair is there again as it stood, to be judged anew.
    for one in sent[::-1]:
        judge(page, "u")
        assert page.locator("[name=left]").input_value() == one["left"]
        assert page.locator("[name=right]").input_value() == one["right"]
    assert shown(page) == first
    expect(page.locator("#undo")).to_be_disabled()
    assert not judged(app)
    page.get_by_role("button", name="the right one is better").click()
    expect(page.locator("#status")).to_have_text("1 judged")
    assert [(one.outcome, str(one.left_id)) for one in judged(app)] == [("right", sent[0]["left"])]


def test_a_run_to_the_end_of_a_class(
    ranked: tuple[Flask, FlaskClient], serve: Serve, open_page: Open
) -> None:
    app, client = ranked
    page = open_page(
        serve(app) + "/rank/?label=cat", width=1200, height=960, failing=True
    )  # the last answer: no pair left
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    sent = []
    while page.locator("#judge").count():
        if len(sent) == 25:
            assert float(page.locator("#votes").inner_text()) == pytest.approx(50 / 8, abs=0.8)
            expect(page.locator("#unseen")).to_have_text("0")
            take_picture(page, "ranking")
        first, last = doubts(page) | first, last | doubts(page)
        sent.append(judge(page, better(shown(page))))
        if sent[-1]["repeats"] and sum(bool(one["repeats"]) for one in sent) == 1:
            # Taken back, a repeat stays one.
            judge(page, "u")
            key = {"key": sent[-1]["key"]}
            assert judge(page, better(shown(page))) | key == sent[-1]
    expect(page.get_by_text("There is no pair left to compare in this class")).to_be_visible()
    assert_accessible(page)

    log = judged(app)
    assert len(log) == len(sent)
    check_repeats(log)
    assert set(first) == set(last) == set(NAMES)
    assert all(last[name] < 0.9 * first[name] for name in NAMES)
    follow(page, page.get_by_role("link", name="See the order").first)
    assert order(client) == NAMES
    names = page.locator(".tile .name bdi").all_inner_texts()
    assert [name.rpartition("/")[2] for name in names] == NAMES

    follow(page, page.get_by_role("link", name="Progress"))
    row = table_rows(page, "Table of curators")["local"]
    again = sum(one.repeats_id is not None for one in log)
    assert row["comparisons"] == str(len(log))
    assert row["Taken back"] == "1"
    assert row["Repeats answered alike"].startswith("100 %")
    assert row["Repeats answered alike"].endswith(f"of {again})")
    votes = table_rows(page, "Table of classes")["cat"]["Votes per picture"]
    assert votes == f"{2 * len(log) / len(NAMES):.1f}"
    assert_accessible(page)
    take_picture(page, "ranking-progress")


def check_repeats(log: list[Comparison]) -> None:
    """Some pairs came once more with their sides changed, won by the same picture; each was met."""
    by_id = {one.action_id: one for one in log}
    again = [one for one in log if one.repeats_id is not None]
    assert again
    for one in again:
        before = by_id[one.repeats_id or 0]
        assert (before.left_id, before.right_id) == (one.right_id, one.left_id)
        assert before.outcome != one.outcome
    pairs = {frozenset((one.left_id, one.right_id)) for one in log}
    assert len(pairs) == len(NAMES) * (len(NAMES) - 1) / 2
