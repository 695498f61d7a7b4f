"""The pages for game developers: a sticker found, looked at on its grounds, and copied."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import expect

from tests.browser.conftest import Open, assert_accessible, take_picture, wait_for_pictures
from tests.curating import make_collection, open_app
from tests.test_curation_app_packs import exported

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]
__all__ = ["exported"]


def test_a_game_developer_copies_a_cat(
    exported: Path, tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    app, _ = open_app(make_collection(tmp_path / "pets", 1), packs=(exported.parent,))
    page = open_page(serve(app) + "/packs/", permissions=["clipboard-read", "clipboard-write"])
    assert_accessible(page)
    page.get_by_role("searchbox", name="Find").fill("orange cat")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="1 sticker found")).to_be_visible()
    stage = page.locator(".sticker .stage")
    page.get_by_role("radio", name="dark").check()
    expect(stage).to_have_css("background-color", "rgb(22, 22, 26)")
    page.get_by_role("radio", name="light").check()
    expect(stage).to_have_css("background-color", "rgb(255, 255, 255)")
    page.get_by_role("button", name="Copy cat_000001 as SVG").click()
    expect(page.locator("#status")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == (exported / "svg" / "cat_000001.svg").read_text()
    assert_accessible(page)
    page.get_by_role("link", name="Little animals").click()
    expect(page.locator(".sticker")).to_have_count(3)
    wait_for_pictures(page)
    assert_accessible(page)
    take_picture(page, "pack")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    assert Path(download.value.path()).read_bytes() == exported.with_suffix(".zip").read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_sticker_on_a_phone(
    exported: Path, tmp_path: Path, serve: Serve, open_page: Open, scheme: str
) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", 1), packs=(exported.parent,))
    pack = client.get("/api/v1/packs").json["packs"][0]
    page = open_page(f"{serve(app)}{pack['url']}0", width=390, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator(".stage img")).to_have_count(3)
    assert_accessible(page)
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", name="fish_000002")).to_be_visible()
