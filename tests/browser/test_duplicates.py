"""Copies in the browser: searched, seen in groups, merged, told apart, taken back, done again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import expect

from tests.browser.conftest import Open, assert_accessible, take_picture, wait_for_pictures
from tests.browser.stories import follow
from tests.curating import ids_in, open_app, post
from tests.photos import plant_copies, plant_equals
from tests.test_curation_app_quality import plant_bias

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]


def test_copies_are_found_merged_taken_back_and_merged_again(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, client = open_app(plant_copies(tmp_path / "pets"))
    page = open_page(f"{serve(app)}/duplicates/")
    expect(page.locator("#summary")).to_contain_text("Nobody has searched")
    page.get_by_role("button", name="Search for copies").click()
    expect(page.get_by_text("4 pairs of copies found")).to_be_visible()
    page.get_by_role("link", name="See it").click()
    expect(page.locator(".group")).to_have_count(4)
    expect(page.locator(".group legend").nth(3)).to_contain_text("mirrored")
    wait_for_pictures(page)
    take_picture(page, "duplicates")
    assert_accessible(page)
    # The slider: nearer copies alone, and back.
    page.locator("#distance").fill("2")
    expect(page.locator(".group")).to_have_count(3)
    expect(page.locator("output")).to_have_text("2")
    assert "distance=2" in page.url
    page.locator("#distance").fill("6")
    expect(page.locator(".group")).to_have_count(4)
    page.get_by_label("shifted, turned and mirrored ones").uncheck()
    expect(page.locator(".group")).to_have_count(3)
    page.get_by_label("shifted, turned and mirrored ones").check()
    expect(page.locator(".group")).to_have_count(4)
    # By keyboard: the first group has two classes, so that it waits for a decision.
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    expect(page.locator("#status")).to_contain_text("Choose the class first")
    page.locator(".group select").select_option("dog")
    page.locator(".group").first.get_by_role("button", name="Merge").click()
    expect(page.locator(".group")).to_have_count(3)
    expect(page.locator("#status")).to_contain_text("Merged")
    expect(page.locator("#every")).to_have_text("Merge all 3 shown")
    page.keyboard.press("2")
    page.keyboard.press("m")
    expect(page.locator(".group")).to_have_count(2)
    page.keyboard.press("n")
    expect(page.locator(".group")).to_have_count(1)
    for left in (2, 3, 4):
        page.keyboard.press("u")
        expect(page.locator(".group")).to_have_count(left)
    expect(page.locator("#undo")).to_be_disabled()
    assert len(ids_in(client.get("/").text)) == 9
    for left in (3, 2, 1):
        page.keyboard.press("y")
        expect(page.locator(".group")).to_have_count(left)
    page.get_by_role("button", name="Merge all 1 shown").click()
    expect(page.get_by_text("No copies to decide about")).to_be_visible()
    assert len(ids_in(client.get("/").text)) == 6
    page.get_by_role("link", name="merged").click()
    expect(page.locator(".group")).to_have_count(3)
    wait_for_pictures(page)
    assert_accessible(page)
    page.get_by_role("button", name="Take out").first.click()
    expect(page.locator(".group")).to_have_count(2)
    follow(page, page.get_by_role("link", name="told apart"))
    assert_accessible(page)
    page.get_by_role("button", name="They may be copies").click()
    expect(page.get_by_text("No pictures were told apart")).to_be_visible()


def test_without_scripts_on_a_phone(tmp_path: Path, serve: Serve, open_page: Open) -> None:
    app, client = open_app(plant_equals(tmp_path / "pets", 3))
    post(client, "/duplicates/search")
    page = open_page(
        f"{serve(app)}/duplicates/",
        width=360,
        height=740,
        color_scheme="dark",
        java_script_enabled=False,
    )
    expect(page.locator(".group")).to_have_count(3)
    page.locator('[name="keep-3"]').nth(1).check()
    page.locator("#group-3").get_by_role("button", name="Merge").click()
    expect(page.locator(".group")).to_have_count(2)
    assert page.url.endswith("#group-5")
    assert ids_in(client.get("/?merged=1").text) == [3]
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".group")).to_have_count(3)
    page.get_by_role("button", name="Merge all 3 shown").click()
    expect(page.get_by_text("No copies to decide about")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".group")).to_have_count(3)


def test_a_dark_phone(tmp_path: Path, serve: Serve, open_page: Open) -> None:
    app, client = open_app(plant_copies(tmp_path / "pets"))
    post(client, "/duplicates/search")
    address = serve(app)
    page = open_page(f"{address}/duplicates/", width=360, height=740, color_scheme="dark")
    expect(page.locator(".group")).to_have_count(4)
    wait_for_pictures(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert_accessible(page)
    take_picture(page, "duplicates-phone")


def test_the_quality_page_shows_the_frogs_on_white_first(
    tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, _ = open_app(plant_bias(tmp_path / "pets"))
    address = serve(app)
    for width, scheme in ((1280, "light"), (360, "dark")):
        page = open_page(f"{address}/quality/", width=width, color_scheme=scheme)
        first = page.locator(".class").first
        expect(first).to_contain_text("plain white background")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert_accessible(page)
        take_picture(page, f"quality-{width}")
    page.get_by_role("link", name="12 plain-background, frog").click()
    expect(page.locator(".tile")).to_have_count(12)
