"""Progress and the API's page: read in light and dark, on a phone, and by screen readers."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import expect

from curation_app.store import actions
from curation_app.store.engine import writing
from tests.browser.conftest import Open, assert_accessible, take_picture
from tests.curating import app_of, make_collection, open_app, post
from tests.test_curation_app_progress import add_curator, ids_of

pytestmark = pytest.mark.browser
Serve = Callable[[Flask], str]


@pytest.fixture
def judged(tmp_path: Path) -> Flask:
    """Two curators have compared all cats, and agree on most."""
    app, client = open_app(make_collection(tmp_path / "pets", 5))
    cats = ids_of(client, "cat")
    for name in ("ann", "bob"):
        curator = add_curator(app, name)
        with writing(app_of(app).engine) as connection:
            for number, pair in enumerate(itertools.combinations(cats, 2)):
                outcome = "right" if name == "bob" and number % 4 == 0 else "left"
                done = actions.compare(connection, curator, *pair, outcome)
                again = pair[::-1]
                actions.compare(connection, curator, *again, "right", repeats_id=done.action_id)
    post(client, "/rank/refit")
    return app


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_plots_and_tables_of_progress(
    judged: Flask, serve: Serve, open_page: Open, scheme: str, width: int
) -> None:
    page = open_page(serve(judged) + "/progress/", width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("Votes over time", "Consistency", "Agreement between curators", "Scores of cat"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    page.locator("summary").first.click()
    expect(page.get_by_role("rowheader", name="ann", exact=True)).to_be_visible()
    assert_accessible(page)
    take_picture(page, f"progress-{scheme}")
    page.get_by_role("link", name="cat", exact=True).click()
    expect(page.locator(".tile")).to_have_count(5)


def test_the_page_of_the_api(judged: Flask, serve: Serve, open_page: Open) -> None:
    page = open_page(serve(judged) + "/api/", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_text("Show it").click()
    expect(page.locator("details code")).to_be_visible()
    assert_accessible(page)
