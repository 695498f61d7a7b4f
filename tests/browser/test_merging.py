"""Bringing pictures in: two collections with conflicts, a drop, no scripts, a phone in the dark."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open, assert_accessible, take_picture, wait_for_pictures
from tests.browser.stories import follow
from tests.curating import ids_in, make_collection, open_app, picture, vote

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A collection that has some of the same pictures, one of them in another class."""
    folder = make_collection(tmp_path / "zoo", 2)
    (folder / "lynx").mkdir()
    (folder / "cat" / "0001.png").rename(folder / "lynx" / "tufty.png")
    for number in range(2):
        (folder / "lynx" / f"{number}.png").write_bytes(picture(5000 + number))
    return folder


def test_two_collections_are_merged_and_what_contradicts_is_decided(
    tmp_path: Path, other: Path, serve: Serve, open_page: Open
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"), other)
    assert vote(client, 11, "keep").status_code == 200
    page = open_page(serve(app))
    page.get_by_role("link", name="Bring in").click()
    page.get_by_role("button", name="Compare it").click()
    kinds = page.get_by_role("group", name="Kinds of pictures")
    expect(kinds.locator("[aria-current]")).to_have_text("Here in another class 1")
    cards = page.locator(".merge")
    expect(cards).to_have_count(1)
    expect(cards.get_by_role("img")).to_have_count(2)
    expect(page.get_by_label("keep ours: cat")).to_be_checked()
    wait_for_pictures(page)
    assert_accessible(page)
    # A choice is kept as it is made: nothing is lost by leaving the page.
    page.get_by_label("take theirs: lynx").check()
    expect(page.locator("#status")).to_contain_text("2 pictures without a licence")
    expect(page.locator("#apply")).to_contain_text("and move 1 to another class")
    page.reload()
    expect(page.get_by_label("take theirs: lynx")).to_be_checked()
    take_picture(page, "merge-conflict")
    follow(page, kinds.get_by_role("button", name="New 2"))
    expect(cards).to_have_count(2)
    cards.nth(1).get_by_label("Class").fill("bobcat")
    cards.nth(1).get_by_label("Class").press("Tab")
    page.get_by_label("Licence of pictures that state none").fill("CC0-1.0")
    page.get_by_label("Licence of pictures that state none").press("Tab")
    expect(page.locator("#status")).to_have_text("Kept.")
    wait_for_pictures(page)
    assert_accessible(page)
    take_picture(page, "merge-new")
    page.get_by_role("button", name="Bring in 2 pictures").click()
    expect(page.get_by_text("2 pictures brought in, 1 moved to another class.")).to_be_visible()
    assert_accessible(page)
    follow(page, page.get_by_role("link", name="See the new pictures"))
    expect(page.locator(".tile")).to_have_count(2)
    expect(page.locator(".tile[data-state=keep]")).to_have_count(1)
    wait_for_pictures(page)
    assert ids_in(client.get("/?collection=1&label=bobcat").text)
    assert ids_in(client.get("/?collection=1&label=lynx&text=0001").text)
    page.keyboard.press("u")
    expect(page.locator(".tile")).to_have_count(0)
    expect(page.locator("#redo")).to_be_enabled()
    assert not ids_in(client.get("/?collection=1&label=lynx").text)
    page.get_by_role("button", name="Redo").click()
    expect(page.locator("#redo")).to_be_disabled()
    page.reload()
    expect(page.locator(".tile")).to_have_count(2)


DROP = """async ([where, files]) => {
  const transfer = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  const target = document.querySelector(where);
  const about = { dataTransfer: transfer, bubbles: true, cancelable: true };
  const event = (kind) => new DragEvent(kind, about);
  target.dispatchEvent(event("dragover"));
  const marked = document.documentElement.classList.contains("dropping");
  target.dispatchEvent(event("drop"));
  return marked;
}"""


def drop(page: Page, *files: tuple[str, bytes]) -> bool:
    rows = [[name, base64.b64encode(data).decode()] for name, data in files]
    return bool(page.evaluate(DROP, ["main", rows]))


def test_files_are_dropped_anywhere_on_the_page(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"))
    page = open_page(f"{serve(app)}/bring-in/")
    expect(page.get_by_text("or drop pictures, folders and zips")).to_be_visible()
    assert_accessible(page)
    take_picture(page, "bring-in")
    svg = b"<svg onload='alert(1)'/>"
    assert drop(page, ("tom.png", picture(5000)), ("rex.png", picture(5001)), ("x.svg", svg))
    expect(page.get_by_role("heading", name="3 files")).to_be_visible()
    expect(page.locator(".merge")).to_have_count(2)
    follow(page, page.get_by_role("button", name="Refused 1"))
    expect(page.locator(".refused li")).to_have_text(
        "x.svg: an SVG drawing, not pixels: render it to PNG first"
    )
    assert_accessible(page)
    follow(page, page.get_by_role("button", name="New 2"))
    page.get_by_label("our class for unlabelled").fill("fox")
    page.get_by_label("Licence of pictures that state none").fill("unknown")
    follow(page, page.get_by_role("button", name="Save and compare again"))
    wait_for_pictures(page)
    page.get_by_role("button", name="Bring in 2 pictures").click()
    expect(page.get_by_text("2 pictures brought in.")).to_be_visible()
    assert len(ids_in(client.get("/?label=fox").text)) == 2


def test_a_form_waits_for_what_was_chosen_before_it(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    """Else an older choice, which takes longer, would be kept last."""
    app, _ = open_app(make_collection(tmp_path / "pets"))
    page = open_page(f"{serve(app)}/bring-in/")
    assert drop(page, ("tom.png", picture(5000)))
    expect(page.locator(".merge")).to_have_count(1)
    wait_for_pictures(page)
    sent: list[Route] = []

    def hold_first(route: Route) -> None:
        sent.append(route)
        if len(sent) > 1:
            route.continue_()

    page.route("**/choose", hold_first)
    with page.expect_request("**/choose"):
        page.get_by_role("radio", name="leave out").check()
    page.get_by_role("button", name="New 1").click()
    page.wait_for_timeout(200)
    assert len(sent) == 1  # the form has not been sent
    with page.expect_navigation():
        sent[0].continue_()
    expect(page.get_by_role("radio", name="leave out")).to_be_checked()


def test_what_is_refused_at_the_door_is_told_there(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, _ = open_app(make_collection(tmp_path / "pets"))
    page = open_page(f"{serve(app)}/bring-in/", failing=True)
    page.evaluate("document.getElementById('drop').dataset.limit = 0.0001")
    drop(page, ("tom.png", picture(5000)))
    expect(page.locator("#status")).to_contain_text("MB at once, of at most 0.0001")
    page.evaluate("document.getElementById('drop').dataset.limit = 512")
    answer = {"error": "the upload was not kept: the disk is full; send it again"}
    page.route("**/bring-in/?**", lambda route: route.fulfill(status=409, json=answer))
    drop(page, ("tom.png", picture(5000)))
    expect(page.locator("#status")).to_have_text(f"Not recorded: {answer['error']}")


def test_without_scripts_all_steps_are_forms(tmp_path: Path, serve: Serve, open_page: Open) -> None:
    app, client = open_app(make_collection(tmp_path / "pets"))
    # Pictures may still be on their way when the page goes on, and the plan with them.
    page = open_page(f"{serve(app)}/bring-in/", java_script_enabled=False, failing=True)
    files = [
        {"name": f"{number}.png", "mimeType": "image/png", "buffer": picture(5000 + number)}
        for number in range(50)
    ]
    page.get_by_label("Choose some").set_input_files(files)  # type: ignore[arg-type]
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="50 files")).to_be_visible()
    page.locator(".merge").first.get_by_label("leave out").check()
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".merge")).to_have_count(2)
    page.get_by_label("Licence of pictures that state none").fill("MIT")
    page.get_by_role("button", name="Previous").click()
    expect(page.locator(".merge").first.get_by_label("leave out")).to_be_checked()
    page.get_by_role("button", name="Bring in 49 pictures").click()
    expect(page.get_by_text("49 pictures brought in.")).to_be_visible()
    assert len(client.get("/?label=unlabelled").text.split('class="tile"')) == 50


def test_a_phone_in_a_dark_room(tmp_path: Path, other: Path, serve: Serve, open_page: Open) -> None:
    app, _ = open_app(make_collection(tmp_path / "pets"), other, import_roots=(other,))
    address = serve(app)
    page = open_page(
        f"{address}/bring-in/", width=360, height=740, has_touch=True, color_scheme="dark"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert_accessible(page)
    page.get_by_role("button", name="Compare it").tap()
    expect(page.locator(".merge")).to_have_count(1)
    wait_for_pictures(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert_accessible(page)
    take_picture(page, "merge-phone")
    page.get_by_role("button", name="Discard").tap()
    expect(page.get_by_text("Your imports")).to_have_count(0)
