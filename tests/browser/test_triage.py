"""Looking through pictures: keyboard, undo, several at once, endless scrolling, phone width."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Dialog, Page, Route, expect

from tests.browser.conftest import Open, assert_accessible, take_picture, wait_for_pictures
from tests.browser.stories import follow
from tests.curating import app_of, ids_in, make_collection, open_app, vote

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.closest('.tile')?.id"))


def test_triage_with_the_keyboard_alone(tmp_path: Path, serve: Serve, open_page: Open) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", 3))
    page = open_page(serve(app))
    page.keyboard.press("k")
    expect(page.locator("#status")).to_contain_text("go to one with an arrow key")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "picture-1"
    for key in ("k", "r", "m", "4", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert focused(page) == "picture-4"
    expect(page.locator("#picture-3")).to_have_attribute("data-state", "maybe")
    expect(page.locator("#picture-4 .stars")).to_have_text("★★★★")
    states = page.locator(".tile").evaluate_all("all => all.map(one => one.dataset.state)")
    assert states == ["keep", "reject", "maybe", "unseen", "unseen", "unseen"]
    expect(page.locator("[data-count=unseen]")).to_have_text("3")
    for _ in range(4):
        page.keyboard.press("u")
    expect(page.locator("#picture-1")).to_have_attribute("data-state", "unseen")
    expect(page.locator("#undo")).to_be_disabled()
    assert focused(page) == "picture-1"
    page.keyboard.press("y")
    expect(page.locator("#picture-1")).to_have_attribute("data-state", "keep")
    page.locator("#picture-6").get_by_role("button", name="keep").click()
    expect(page.locator("#picture-6")).to_have_attribute("data-state", "keep")
    wait_for_pictures(page)
    assert_accessible(page)
    assert ids_in(client.get("/?state=keep").text) == [1, 6]


def test_several_at_once_are_one_step(tmp_path: Path, serve: Serve, open_page: Open) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", 3))
    page = open_page(serve(app))
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("x")
    expect(page.locator("#chosen")).to_have_text("3 chosen")
    page.keyboard.press("c")
    expect(page.locator("#zoom figure")).to_have_count(3)
    take_picture(page, "compare")
    page.keyboard.press("Escape")
    expect(page.locator("#zoom")).to_be_hidden()
    page.keyboard.press("t")
    page.locator("#tagging input").fill("extra ear")
    page.keyboard.press("Enter")
    expect(page.locator("#picture-3 .tag:not(.flag)")).to_have_text(["extra ear"])
    assert ids_in(client.get("/?tag=extra+ear").text) == [1, 2, 3]
    page.keyboard.press("u")
    expect(page.locator(".tag:not(.flag)")).to_have_count(0)


def test_scrolling_goes_on_to_the_last_picture(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, _ = open_app(make_collection(tmp_path / "pets", 80))
    page = open_page(serve(app))
    page.wait_for_function(
        "() => { window.scrollTo(0, document.body.scrollHeight);"
        " return document.querySelectorAll('.tile').length >= 160; }"
    )
    ids = page.locator(".tile").evaluate_all("all => all.map(one => Number(one.dataset.id))")
    assert ids == list(range(1, 161))
    expect(page.locator('[rel="next"]')).to_have_count(0)


def test_a_phone_and_a_dark_room(tmp_path: Path, serve: Serve, open_page: Open) -> None:
    app, _ = open_app(make_collection(tmp_path / "pets", 3))
    address = serve(app)
    page = open_page(address, width=360, height=740, has_touch=True, color_scheme="dark")
    expect(page.locator(".tile")).to_have_count(6)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#picture-2").get_by_role("button", name="reject").tap()
    expect(page.locator("#picture-2")).to_have_attribute("data-state", "reject")
    assert_accessible(page)
    take_picture(page, "phone")
    page.goto(f"{address}/pictures/2")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert_accessible(page)


def test_without_scripts_everything_is_a_form(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", 3))
    page = open_page(serve(app), java_script_enabled=False)
    page.locator("#picture-5").get_by_role("button", name="keep").click()
    expect(page.locator("#picture-5")).to_have_attribute("data-state", "keep")
    assert page.url.endswith("#picture-5")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#picture-5")).to_have_attribute("data-state", "unseen")
    for number in (1, 2):
        page.locator(f"#picture-{number} input[type=checkbox]").check()
    page.get_by_text("Several at once").click()
    page.get_by_label("Tag or class").fill("missing fin")
    follow(page, page.get_by_role("button", name="add tag"))
    assert ids_in(client.get("/?tag=missing+fin").text) == [1, 2]


def test_what_is_not_recorded_is_not_shown_as_if_it_were(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, _ = open_app(make_collection(tmp_path / "pets", 3))
    page = open_page(serve(app), failing=True)
    page.route("**/act", lambda route: route.fulfill(status=409, json={"error": "no room"}))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("r")
    expect(page.locator("#status")).to_have_text("Not recorded: no room")
    expect(page.locator("#picture-1")).to_have_attribute("data-state", "unseen")
    page.unroute("**/act")
    # A server that is away for a moment: the request is sent again, under its key.
    answers = iter([True, True, False])
    page.route("**/act", lambda route: route.abort() if next(answers) else route.continue_())
    page.keyboard.press("k")
    expect(page.locator("#picture-2")).to_have_attribute("data-state", "keep")
    assert app_of(app).engine


def test_what_another_window_did_is_not_taken_back_unseen(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", 3))
    page = open_page(serve(app), failing=True)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("k")
    expect(page.locator("#picture-1")).to_have_attribute("data-state", "keep")
    assert vote(client, 5, "reject").status_code == 200  # in another window
    page.keyboard.press("u")
    expect(page.locator("#status")).to_contain_text("something else was done since")
    page.keyboard.press("m")
    expect(page.locator("#picture-2")).to_have_attribute("data-state", "maybe")
    page.keyboard.press("u")
    expect(page.locator("#picture-2")).to_have_attribute("data-state", "unseen")
    page.keyboard.press("u")  # that one is the other window's
    expect(page.locator("#status")).to_contain_text("something else was done since")
    page.reload()
    page.keyboard.press("u")
    expect(page.locator("#picture-5")).to_have_attribute("data-state", "unseen")
    assert ids_in(client.get("/?state=keep").text) == [1]


def test_keys_wait_for_a_page_that_is_on_its_way(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", 40))
    page = open_page("about:blank")
    held: list[Route] = []
    page.route("**/*part=1*", lambda route: held.append(route))
    page.goto(serve(app))
    page.locator("#picture-60 .view").focus()
    page.keyboard.press("k")
    page.keyboard.press("r")  # meant for the next one, which is not there yet
    expect(page.locator("#picture-60")).to_have_attribute("data-state", "keep")
    held[0].continue_()
    expect(page.locator("#picture-61 .view")).to_be_focused()
    page.keyboard.press("r")
    expect(page.locator("#picture-61")).to_have_attribute("data-state", "reject")
    assert ids_in(client.get("/?state=keep").text) == [60]


def test_leaving_with_votes_on_their_way_is_asked_about(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", 3))
    page = open_page(serve(app))
    held: list[Route] = []
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.route("**/act", lambda route: held.append(route))
    page.keyboard.press("ArrowRight")
    with page.expect_request("**/act"):
        page.keyboard.press("k")
    with page.expect_event("dialog"):
        page.get_by_role("link", name="Progress").click()
    assert asked == ["beforeunload"]
    held[0].continue_()
    expect(page.locator("#picture-1")).to_have_attribute("data-state", "keep")
    follow(page, page.get_by_role("link", name="Progress"))
    assert asked == ["beforeunload"]
    assert ids_in(client.get("/?state=keep").text) == [1]
