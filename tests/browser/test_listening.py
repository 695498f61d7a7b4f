"""The page of a sound that was listened to: it plays, it loads nothing, everybody can read it."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from core.pretrained.listening.folder import ListenConfig, listen_to_files
from tests.browser.conftest import Open, assert_accessible, wait_for_pictures, wait_for_sound
from tests.hearing import write_call, write_tagger

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_sound_plays_in_the_page(tmp_path: Path, open_page: Open, scheme: str) -> None:
    config = ListenConfig(
        audio=(write_call(tmp_path / "rex & co.wav", "Dog", seconds=2.0),),
        yamnet=write_tagger(tmp_path / "tagger"),
    )
    page_path = listen_to_files(config, tmp_path / "heard")[0].folder / "timeline.html"
    page = open_page(page_path.as_uri(), color_scheme=scheme)
    player = page.locator("audio")
    wait_for_sound(page)
    assert player.evaluate("player => player.duration") == pytest.approx(2.0, abs=0.01)
    expect(page.get_by_role("cell", name="Dog")).to_be_visible()
    wait_for_pictures(page)
    assert page.locator("figure.plot img").evaluate("image => image.naturalWidth") > 400
    assert_accessible(page)
