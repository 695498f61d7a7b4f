"""The gallery and a pack's own page: from a disk, from a strict server, accessible to all."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from exporters.gallery.site import build_gallery
from tests.browser.conftest import Open, assert_accessible, take_picture
from tests.test_curation_app_packs import exported

pytestmark = pytest.mark.browser
__all__ = ["exported"]
STRICT = "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'"


class _Strict(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", STRICT)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture(scope="module")
def site(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gallery") / "site"
    return build_gallery([exported], out, title="Zoo").folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(_Strict, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_visitor_finds_a_cat_and_takes_the_pack(
    address: str, exported: Path, open_page: Open
) -> None:
    page = open_page(address)
    assert_accessible(page)
    take_picture(page, "gallery")
    page.get_by_role("searchbox", name="Search stickers").fill("orange CAT")
    expect(page.get_by_role("status")).to_have_text("1 sticker found")
    expect(page.locator(".strip > li:visible")).to_have_count(1)
    stage = page.locator(".strip > li:visible .stage")
    page.get_by_role("radio", name="Dark").check()
    expect(stage).to_have_css("background-color", "rgb(22, 22, 26)")
    with page.expect_download() as download:
        page.get_by_role("link", name="SVG of cat_000001").click()
    assert (
        Path(download.value.path()).read_bytes()
        == (exported / "svg" / "cat_000001.svg").read_bytes()
    )
    page.get_by_role("searchbox", name="Search stickers").fill("")
    page.get_by_role("link", name="Little animals", exact=True).click()
    expect(page.locator(".strip > li:visible .stage").first).to_have_css(
        "background-color", "rgb(22, 22, 26)"
    )
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    assert Path(download.value.path()).read_bytes() == exported.with_suffix(".zip").read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_a_disk_on_a_phone(site: Path, open_page: Open, scheme: str) -> None:
    page = open_page(f"{site.as_uri()}/index.html", width=320, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    expect(page.get_by_role("button", name="cat: on")).to_be_visible()
    page.get_by_role("button", name="cat: on").click()
    expect(page.get_by_role("button", name="cat: back")).to_be_enabled()
    take_picture(page, f"gallery-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_packs_own_page_is_searched_and_accessible(
    exported: Path, open_page: Open, scheme: str
) -> None:
    page = open_page(f"{exported.as_uri()}/index.html", color_scheme=scheme)
    assert_accessible(page)
    page.get_by_role("searchbox", name="Search stickers").fill("fish")
    expect(page.get_by_role("status")).to_have_text("1 sticker")
    expect(page.locator("figure:visible")).to_have_count(1)
    take_picture(page, f"pack-page-{scheme}")
