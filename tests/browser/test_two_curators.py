"""Two curators at the same collection at once, each in a browser of their own; and a viewer."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from curation_app.store import actions, pictures, ranking
from curation_app.store.engine import writing
from curation_app.store.schema import actions as events
from curation_app.store.schema import changes
from tests.browser.conftest import Open, assert_accessible, take_picture
from tests.browser.stories import animals, follow, judge, table_rows
from tests.curating import app_of
from tests.sharing import PASSWORD, open_shared

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]


def enter(page: Page, name: str) -> Page:
    """Log in through the form that every page leads to."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    follow(page, page.get_by_role("button", name="Log in"))
    expect(page.locator(".who")).to_have_text(name)
    return page


def press(page: Page, number: int, key: str) -> None:
    page.locator(f"#picture-{number} .view").focus()
    page.keyboard.press(key)


def states(page: Page) -> list[str]:
    page.reload()
    return list(page.locator(".tile").evaluate_all("all => all.map(one => one.dataset.state)"))


def stored(app: Flask, count: int) -> list[str]:
    with app_of(app).engine.connect() as connection:
        return [one.state for one in pictures.pictures_of(connection, range(1, count + 1))]


def last_word(app: Flask, number: int) -> str:
    """What the last of all actions on a picture made of it."""
    found = (
        changes.select()
        .join(events, events.c.id == changes.c.action_id)
        .where(changes.c.picture_id == number, changes.c.field == "state")
        .order_by(events.c.id.desc())
    )
    with app_of(app).engine.connect() as connection:
        rows = connection.execute(found).all()
    assert len(rows) == 2
    return str(rows[0].value)


@pytest.fixture
def shared(tmp_path: Path) -> Flask:
    """Six cats and six dogs, with accounts."""
    return open_shared(animals(tmp_path / "pets", 6))


def test_each_sees_what_the_other_decided_and_takes_back_only_their_own(
    shared: Flask, serve: Serve, open_page: Open
) -> None:
    address = serve(shared)
    ada, cleo = (enter(open_page(address), name) for name in ("ada", "cleo"))
    press(ada, 1, "k")
    press(cleo, 2, "r")
    expect(ada.locator("#picture-1")).to_have_attribute("data-state", "keep")
    expect(cleo.locator("#picture-2")).to_have_attribute("data-state", "reject")
    assert states(ada)[:3] == states(cleo)[:3] == ["keep", "reject", "unseen"]
    assert_accessible(ada)

    # Both about the same picture: Cleo's word is the later one, and stays when Ada takes hers back.
    press(ada, 3, "k")
    expect(ada.locator("#picture-3")).to_have_attribute("data-state", "keep")
    press(cleo, 3, "m")
    expect(cleo.locator("#picture-3")).to_have_attribute("data-state", "maybe")
    ada.keyboard.press("u")
    expect(ada.locator("#status")).to_contain_text("taken back")
    assert states(ada)[:3] == states(cleo)[:3] == ["keep", "reject", "maybe"]
    # Nor does Cleo's undo bring back what Ada has taken back.
    press(cleo, 3, "u")
    expect(cleo.locator("#picture-3")).to_have_attribute("data-state", "unseen")
    press(cleo, 2, "u")
    expect(cleo.locator("#picture-2")).to_have_attribute("data-state", "unseen")
    expect(cleo.locator("#undo")).to_be_disabled()
    assert states(ada)[:3] == stored(shared, 3) == ["keep", "unseen", "unseen"]


def test_what_both_decide_at_once_ends_as_the_log_has_it(
    shared: Flask, serve: Serve, open_page: Open
) -> None:
    address = serve(shared)
    pages = [enter(open_page(address), name) for name in ("ada", "cleo")]
    for number in range(1, 13):
        # Not waiting for any answer; who is first changes from picture to picture.
        for page, key in list(zip(pages, "kr", strict=True))[:: 1 if number % 2 else -1]:
            press(page, number, key)
    for page in pages:
        expect(page.locator("#picture-12")).not_to_have_attribute("data-state", "unseen")
    after = [states(page) for page in pages]
    log = [last_word(shared, number) for number in range(1, 13)]
    assert after == [log, log]
    assert stored(shared, 12) == log
    # Derived from the log anew, it is the same.
    with writing(app_of(shared).engine) as connection:
        actions.replay(connection, 1)
    assert stored(shared, 12) == log


def test_two_rank_one_class_and_progress_tells_of_both(
    shared: Flask, serve: Serve, open_page: Open
) -> None:
    address = serve(shared)
    pages = {name: enter(open_page(address), name) for name in ("ada", "cleo")}
    for page in pages.values():
        page.goto(f"{address}/rank/?label=cat")
    for count in range(1, 5):
        for page in pages.values():
            judge(page, "ArrowLeft")
            expect(page.locator("#status")).to_have_text(f"{count} judged")
    pages["cleo"].keyboard.press("u")
    expect(pages["cleo"].locator("#status")).to_contain_text("taken back")
    with app_of(shared).engine.connect() as connection:
        names = {2: "ada", 3: "cleo"}
        log = [names[one.curator_id] for one in ranking.all_comparisons(connection, 1)]
    assert log == ["ada", "cleo"] * 3 + ["ada"]

    page = pages["ada"]
    page.goto(address)
    press(page, 7, "k")
    expect(page.locator("#picture-7")).to_have_attribute("data-state", "keep")
    follow(page, page.get_by_role("link", name="Progress"))
    rows = table_rows(page, "Table of curators")
    told = ("comparisons", "keep, maybe, reject", "Taken back")
    assert {name: tuple(row[one] for one in told) for name, row in rows.items()} == {
        "ada": ("4", "1", "0"),
        "cleo": ("3", "0", "1"),
    }
    assert_accessible(page)
    take_picture(page, "two-curators")


def test_a_viewer_looks_and_decides_nothing(shared: Flask, serve: Serve, open_page: Open) -> None:
    address = serve(shared)
    page = enter(open_page(address, failing=True), "vic")
    expect(page.locator(".tile")).to_have_count(12)
    expect(page.locator(".votes, #undo, #batch")).to_have_count(0)
    press(page, 1, "k")
    page.keyboard.press("ArrowRight")
    assert_accessible(page)
    page.goto(f"{address}/rank/?label=cat")
    expect(page.get_by_role("button", name="the left one is better")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    page.goto(f"{address}/revisions/")
    expect(page.get_by_role("button", name="Freeze")).to_have_count(0)
    # Nor by sending what a curator's page would send.
    for url, form in {
        "/act": {"picture": "1", "do": "state:keep"},
        "/rank/judge": {"left": "1", "right": "2", "outcome": "left"},
        "/undo": {},
        "/revisions/": {},
    }.items():
        token = page.locator("meta[name=form-token]").get_attribute("content")
        answer = page.request.post(address + url, form={"secret": token or "", **form})
        assert answer.status == 403, url
    assert set(stored(shared, 12)) == {"unseen"}
    with app_of(shared).engine.connect() as connection:
        assert not connection.execute(events.select()).all()
