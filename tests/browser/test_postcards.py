"""Postcards in the browser: they play, turn over, fetch nothing, and everybody can use them."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from core.parts import make_everything
from exporters.postcard.config import PostcardsConfig
from exporters.postcard.work import PostcardsWork
from tests.browser.conftest import (
    Open,
    assert_accessible,
    take_picture,
    wait_for_pictures,
    wait_for_sound,
)
from tests.samplesets import animal, write_sample_set

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("postcards")
    write_sample_set(folder / "samples", [[animal("cat", 5), animal("frog", 3)]])
    work = PostcardsWork(PostcardsConfig(samples=folder / "samples"), folder / "cards")
    make_everything(work)
    return work.folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_visitor_listens_and_turns_a_card_by_keyboard(
    cards: Path, open_page: Open, scheme: str
) -> None:
    page = open_page((cards / "index.html").as_uri(), color_scheme=scheme)
    wait_for_pictures(page)
    assert_accessible(page)
    take_picture(page, f"postcards-{scheme}")
    card = page.locator(".postcard").first
    name = card.get_attribute("data-name")
    wait_for_sound(page)
    play = card.get_by_role("button", name=f"Play the call of {name}")
    sound = card.locator("audio")
    sound.evaluate("sound => { sound.loop = true }")  # it does not end while it is looked at
    play.focus()
    page.keyboard.press("Enter")
    expect(card.get_by_role("button", name=f"Stop the call of {name}")).to_be_focused()
    expect(card.locator(".wave path.heard").first).to_be_attached()
    sound.evaluate("sound => { sound.loop = false }")
    expect(card.get_by_role("button", name=f"Play the call of {name}")).to_be_visible()
    expect(card.get_by_role("img", name="Front:")).to_be_visible()
    turn = card.get_by_role("button", name="Turn over")
    turn.focus()
    page.keyboard.press("Space")
    expect(card.get_by_role("img", name="Back:")).to_be_visible()
    expect(card.get_by_role("img", name="Front:")).not_to_be_visible()
    expect(card.get_by_role("button", name="Show the front")).to_be_focused()
    assert_accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_card_alone_opens_on_a_phone_from_wherever_it_lies(
    cards: Path, tmp_path: Path, open_page: Open, scheme: str
) -> None:
    alone = tmp_path / "sent to a friend.html"
    alone.write_bytes((cards / "frog_000003" / "card.html").read_bytes())
    page = open_page(alone.as_uri(), width=320, color_scheme=scheme)
    wait_for_pictures(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    wait_for_sound(page)
    assert page.locator("blockquote[lang='art-x-menagerie']").inner_text().startswith("“")
    page.get_by_text("Where this comes from").click()
    assert_accessible(page)
    take_picture(page, f"postcard-alone-{scheme}")


def test_without_scripts_there_are_players_and_both_sides(cards: Path, open_page: Open) -> None:
    page = open_page((cards / "index.html").as_uri(), java_script_enabled=False)
    card = page.locator(".postcard").first
    expect(card.get_by_role("img", name="Front:")).to_be_visible()
    expect(card.get_by_role("img", name="Back:")).to_be_visible()
    expect(card.locator("audio[controls]")).to_be_visible()
    expect(card.get_by_role("button", name="Play")).not_to_be_visible()
