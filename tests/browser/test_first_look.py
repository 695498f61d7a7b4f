"""A first look through the starter animals, in a bright and in a dark room."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import expect

from core.data.starter import LABELS
from tests.browser.conftest import Open, assert_accessible, take_picture, wait_for_pictures
from tests.browser.stories import animals
from tests.curating import JSON, open_app

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]
KEYS = "k k 4 ArrowRight k m k r k 5 ArrowRight k k 3 ArrowRight r k k"
"""For the first pictures, one after the other; stars do not move on."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_classes_are_looked_through(
    tmp_path: Path, serve: Serve, open_page: Open, scheme: str
) -> None:
    app, client = open_app(animals(tmp_path / "animals", 4, LABELS, size_px=192))
    page = open_page(serve(app), width=1200, height=800, color_scheme=scheme)
    page.keyboard.press("ArrowRight")
    for key in KEYS.split():
        page.keyboard.press(key)
    page.locator("#picture-8 .view").focus()
    page.keyboard.press("t")
    page.locator("#tagging input").fill("extra ear")
    page.keyboard.press("Enter")
    expect(page.locator("#picture-8 .tag:not(.flag)")).to_have_text(["extra ear"])
    wait_for_pictures(page)
    assert_accessible(page)
    page.evaluate("window.scrollTo(0, 0)")
    take_picture(page, f"triage-{scheme}")
    listed = client.get("/?stars=1", headers=JSON).get_json()["pictures"]
    assert sorted(one["stars"] for one in listed) == [3, 4, 5]
    tagged = client.get("/?tag=extra+ear", headers=JSON).get_json()["pictures"]
    assert [one["id"] for one in tagged] == [8]

    for number in (5, 6, 8):
        page.locator(f"#picture-{number} .view").focus()
        page.keyboard.press("x")
    page.keyboard.press("c")
    expect(page.locator("#zoom figure")).to_have_count(3)
    wait_for_pictures(page)
    assert_accessible(page)
    take_picture(page, f"compare-{scheme}")
