"""The page's script in a real Chromium, driven through its DevTools pipe."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests.curating import app_of, ids_in, make_collection, open_app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and os.environ.get("CI", "").lower() not in ("1", "true"),
        reason="Chromium is not installed (in CI that fails instead)",
    ),
]


class Browser:
    """One tab; messages are JSON, ended by a NUL (Chromium's --remote-debugging-pipe)."""

    def __init__(self, to: int, back: int) -> None:
        self.to, self.back, self.session, self.sent = to, back, "", 0
        self.waiting = b""
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = found["sessionId"]
        self.call("Log.enable")
        self.call("Runtime.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(json.dumps(answer["params"]))
            if answer.get("id") == self.sent:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.waiting:
            data = os.read(self.back, 65536)
            assert data, "the browser has gone"
            self.waiting += data
        message, _, self.waiting = self.waiting.partition(b"\0")
        return dict(json.loads(message))

    def ask(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def until(self, expression: str, value: Any) -> None:
        end = time.monotonic() + 20
        while (found := self.ask(expression)) != value:
            assert time.monotonic() < end, f"{expression} is {found!r}, not {value!r}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()
    assert CHROMIUM
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
    flags += " --remote-debugging-pipe"
    # Chromium reads its commands from descriptor 3, and answers on 4.
    shell = f'exec "$0" "$@" 3<&{to_read} 4>&{back_write}'
    process = subprocess.Popen(
        ["bash", "-c", shell, CHROMIUM, *flags.split(), f"--user-data-dir={profile}"],
        pass_fds=(to_read, back_write),
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(back_write)
    try:
        yield Browser(to_write, back_read)
    finally:
        process.terminate()
        process.wait()
        os.close(to_write)
        os.close(back_read)


@contextmanager
def served(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/"
    finally:
        server.shutdown()
        thread.join()


def test_triage_with_the_keyboard_alone(tmp_path: Path) -> None:
    app, client = open_app(make_collection(tmp_path / "pets", 3))
    focused = "document.activeElement.closest('.tile')?.id"
    state = "document.getElementById('picture-{}').dataset.state".format
    with served(app) as address, browser(tmp_path / "profile") as tab:
        tab.call("Page.navigate", url=address)
        tab.until("document.readyState + document.getElementById('keys')?.hidden", "completefalse")
        tab.press("k")  # nothing is chosen yet: choose the first, and say nothing about it
        tab.until(focused, "picture-1")
        for key in ("k", "r", "m", "ArrowRight", "ArrowLeft"):
            tab.press(key)
        tab.until(focused, "picture-4")
        tab.until(state(3), "maybe")
        assert [tab.ask(state(number)) for number in (1, 2, 4)] == ["keep", "reject", "unseen"]
        assert tab.ask("document.querySelector('[data-count=unseen]').textContent") == "3"
        assert tab.ask("document.querySelector('#picture-2 [value=reject]').ariaPressed") == "true"
        tab.press("u")
        tab.until(state(3), "unseen")
        tab.until(focused, "picture-3")
        tab.until("document.getElementById('status').textContent", "cat/0002.png: back to unseen")
        tab.ask("document.querySelector('#picture-6 [value=keep]').click()")
        tab.until(state(6), "keep")
        loaded = "[...document.images].every((image) => image.complete && image.naturalWidth)"
        tab.until(loaded, True)
        assert not tab.complaints
        # What is not recorded is not shown as if it were.
        app_of(app).shelf.database.rename(tmp_path / "away")
        tab.press("r")
        tab.until("document.getElementById('status').className", "failed")
        assert tab.ask(state(3)) == "unseen"
        (tmp_path / "away").rename(app_of(app).shelf.database)
    assert ids_in(client.get("/?state=keep").text) == [1, 6]
