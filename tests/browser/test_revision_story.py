"""Freezing in the browser, `prepare` by the command on the page, and what has changed since."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from core.collection import collection_digest, read_collection
from core.data.pinned import open_pinned
from core.files import read_json
from tests.browser.conftest import Open, assert_accessible, take_picture, wait_for_pictures
from tests.browser.stories import CLIPBOARD, animals, copy_command, follow, run_command
from tests.curating import JSON, open_app

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]


def go_to(page: Page, name: str) -> None:
    follow(page, page.get_by_role("navigation", name="Pages").get_by_role("link", name=name))


def freeze(page: Page, button: str) -> None:
    """Press the button on the page of revisions, wait, and go to what came of it."""
    go_to(page, "Revisions")
    page.get_by_role("button", name=button).click()
    page.get_by_role("link", name="See it").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Revision ")


def test_freeze_prepare_change_one_thing_and_compare(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, client = open_app(animals(tmp_path / "my pets", 8))
    page = open_page(serve(app), permissions=CLIPBOARD)
    # All at once are kept, but for one.
    page.get_by_text("Several at once").click()
    page.get_by_label("all that this filter finds").check()
    page.locator("#batch").get_by_role("button", name="keep").click()
    expect(page.locator("[data-count=keep]")).to_have_text("16")
    page.locator("#picture-3").get_by_role("button", name="reject").click()
    expect(page.locator("[data-count=keep]")).to_have_text("15")
    go_to(page, "Revisions")
    expect(page.get_by_text("Nothing is frozen yet")).to_be_visible()
    assert_accessible(page)
    freeze(page, "Freeze 15 kept pictures")
    assert_accessible(page)

    command = copy_command(page)
    (first,) = client.get("/revisions/", headers=JSON).get_json()["revisions"]
    assert command == first["command"]
    assert "0 pictures rejected" in run_command(command, tmp_path / "work")
    check_traced(tmp_path / "work" / "datasets" / f"{first['slug']}-64", first)

    # A dog falls out and a cat becomes a dog: another revision, and the page tells them apart.
    go_to(page, "Pictures")
    page.locator("#picture-12").get_by_role("button", name="reject").click()
    page.locator("#picture-1 input[type=checkbox]").check()
    page.get_by_text("1 chosen").click()
    page.get_by_label("Tag or class").fill("dog")
    page.get_by_role("button", name="move to class").click()
    expect(page.locator("#picture-1 .tag.label")).to_have_text("dog")
    freeze(page, "Freeze 14 kept pictures")
    page.get_by_label("Compare with").select_option(first["slug"])
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("heading", name="1 removed")).to_be_visible()
    changed = page.locator(".changed")
    expect(changed).to_have_count(2)
    gone, moved = changed.all()
    expect(gone).to_contain_text("dog/03.png")
    expect(moved).to_contain_text("cat/00.png")
    expect(moved.locator(".what")).to_have_text("cat → dog")
    wait_for_pictures(page)
    assert_accessible(page)
    take_picture(page, "revision-difference")

    # The old one is as it was, and its command still makes the same data.
    listed = client.get("/revisions/", headers=JSON).get_json()["revisions"]
    assert [one["pictures"] for one in listed] == [14, 15]
    assert listed[1] == first
    go_to(page, "Revisions")
    assert_accessible(page)
    follow(page, page.get_by_role("link", name=first["slug"]))
    assert copy_command(page) == command
    assert "nothing to do" in run_command(command, tmp_path / "work")


def check_traced(dataset: Path, revision: dict[str, Any]) -> None:
    """A pinned dataset holds the revision's pictures, byte for byte, and is named after it."""
    folder = dataset.parents[2] / "my pets-revisions" / revision["slug"]
    items, _ = read_collection(folder)
    assert collection_digest(items) == revision["digest"]
    data = open_pinned(dataset, verify=True)
    facts = read_json(dataset / "dataset.json")
    assert facts["source"]["collection_digest"] == revision["digest"]
    pinned = {(item.file_name, item.sha256, item.label) for item in data.items()}
    assert pinned == {(item.file_name, item.sha256, item.label) for item in items}
    assert len(pinned) == 15
