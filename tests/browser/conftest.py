"""Chromium, driven by Playwright, and the app served as it is in production."""

import io
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect
from waitress.channel import HTTPChannel

from curation_app.server import make_server
from tests.needs import missing

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
Open = Callable[..., Page]
SEEN_MS = 20_000
"""How long a test waits for what a page is to do; it goes on as soon as that is seen."""
expect.set_options(timeout=SEEN_MS)


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    if CHROMIUM is None:
        message = "Chromium is not installed: apt-get install chromium"
        missing(message)
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
    )
    yield browser
    browser.close()


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The app behind its production server; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, listening)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.task_dispatcher.shutdown(timeout=60)
        left: list[Any] = []
        # In the server's own thread, which then ends: nobody else may close what it looks at.
        server.trigger.pull_trigger(lambda: left.extend(_emptied(server._map)))
        thread.join(timeout=60)
        assert not thread.is_alive()
        for one in left:  # a channel's own way closes files that were half sent, too
            one.handle_close() if isinstance(one, HTTPChannel) else one.close()


def _emptied(held: dict[int, Any]) -> list[Any]:
    values = list(held.values())
    held.clear()
    return values


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], str]]:
    """Serve an app until the test ends."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(served(app))


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Open]:
    """Open a page in a browser window of its own; whatever it complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_one(
        url: str, *, width: int = 1280, height: int = 900, failing: bool = False, **more: Any
    ) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SEEN_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if not failing:  # else the browser tells of each answer that is an error
            page.on("console", lambda line: line.type == "error" and complaints.append(line.text))
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not complaints


def assert_accessible(page: Page) -> None:
    """No serious finding by axe, against WCAG 2.1 A and AA."""
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    found = Axe().run(page, options=options)
    serious = [
        f"{one['id']}: {one['help']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]
    assert not serious, "\n".join(serious)


def wait_for_pictures(page: Page) -> None:
    """Until the page is whole: its scripts listen, and every picture is there."""
    page.wait_for_load_state()
    page.wait_for_function(  # a function: text would be evaluated anew, which the app's CSP forbids
        "() => [...document.images].every((image) => image.complete && image.naturalWidth)"
    )


def wait_for_sound(page: Page) -> None:
    """Until the page's first sound can be played, as far as it is known yet."""
    page.wait_for_function("() => document.querySelector('audio').readyState >= 1")


def take_picture(page: Page, name: str) -> None:
    """Keep a screenshot where MENAGERIE_SCREENSHOTS says so, for people to look at."""
    folder = os.environ.get("MENAGERIE_SCREENSHOTS")
    if folder:
        with Image.open(io.BytesIO(page.screenshot())) as image:
            palette = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        palette.save(Path(folder) / f"{name}.png", optimize=True)
