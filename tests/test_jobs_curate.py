"""The curate command: a real server process, killed, interrupted, refused."""

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from curation_app.__main__ import main as module_main
from curation_app.store import actions, pictures
from curation_app.store.engine import open_database, writing
from curation_app.store.schema import actions as log
from curation_app.store.schema import changes
from jobs.curate import main
from tests.curating import make_collection, open_app

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def serving(*command: str, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A real server process, and its port."""
    process = subprocess.Popen(
        [sys.executable, *command, "--port", str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        for line in process.stdout:
            if found := re.search(r"open http://127.0.0.1:(\d+)/", line):
                yield process, int(found[1])
                break
        else:
            pytest.fail("the server did not start")
    finally:
        process.kill()
        process.communicate()


class Client:
    """A browser-like client that sends a request again, under its key, until it is answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.headers = {"Content-Type": "application/x-www-form-urlencoded"}

    def ask(self, method: str, path: str, **form: Any) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, urllib.parse.urlencode(form), self.headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, text
            if cookie := answer.getheader("Set-Cookie"):
                self.headers["Cookie"] = cookie.partition(";")[0]
            return text
        finally:
            connection.close()

    def enter(self) -> None:
        found = re.search(r'name="form-token" content="(\w+)"', self.insist("GET", "/"))
        assert found
        self.headers |= {"X-Form-Token": found[1], "Accept": "application/json"}

    def insist(self, method: str, path: str, **form: Any) -> str:
        while True:
            try:
                return self.ask(method, path, **form)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)


@pytest.mark.slow
def test_no_acknowledged_vote_is_lost_or_doubled_when_the_server_is_killed(tmp_path: Path) -> None:
    """Twenty times, under eight voting clients; the log's replay is what the pages show."""
    folder = make_collection(tmp_path / "pets", 40)
    open_app(folder)  # all of it is on record before the first vote
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    acknowledged: list[tuple[int, str, str]] = []  # action, key, state
    over = threading.Event()
    failed: list[BaseException] = []

    def vote_on(seed: int) -> None:
        choose = random.Random(seed)
        client = Client(port)
        try:
            client.enter()
            while not over.is_set():
                key = f"{seed}-{choose.random():.17f}"
                state = choose.choice(["keep", "maybe", "reject", "unseen"])
                form = {"picture": choose.randint(1, 80), "do": f"state:{state}", "key": key}
                answer = json.loads(client.insist("POST", "/act", **form))
                if answer["action"] is not None:
                    acknowledged.append((answer["action"], key, state))
        except BaseException as error:
            failed.append(error)

    clients = [threading.Thread(target=vote_on, args=(seed,)) for seed in range(8)]
    deadline = time.monotonic() + 240
    for round_number in range(20):
        with serving("-m", "curation_app", str(folder), port=port) as (process, _):
            if round_number == 0:
                for client in clients:
                    client.start()
            enough = len(acknowledged) + 12
            time.sleep(0.6)
            while len(acknowledged) < enough and not failed and time.monotonic() < deadline:
                time.sleep(0.02)
            if round_number == 19:
                over.set()
                for client in clients:
                    client.join(timeout=30)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(timeout=30) == -signal.SIGKILL
    assert not failed
    assert not any(client.is_alive() for client in clients)
    engine = open_database(folder / ".curation.sqlite")
    with engine.connect() as connection:
        rows = connection.execute(
            select(log.c.id, log.c.key, changes.c.value).join(changes).order_by(log.c.id)
        )
        recorded = {(row.id, row.key, row.value) for row in rows}
        shown = pictures.pictures_of(connection, range(1, 81))
    assert len(acknowledged) > 200
    assert set(acknowledged) <= recorded
    assert max(Counter(key for _, key, _ in recorded).values()) == 1
    with writing(engine) as connection:
        actions.replay(connection, 1)
        assert pictures.pictures_of(connection, range(1, 81)) == shown
    engine.dispose()


def test_ctrl_c_ends_it_and_the_module_runs_too(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    with serving("-m", "curation_app", str(folder)) as (process, port):
        while "cat/0000.png" not in Client(port).ask("GET", "/"):
            time.sleep(0.1)  # it is opened in the background
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_a_dry_run_prints_the_config_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    for arguments in ([str(folder)], ["--collection", str(folder)]):
        assert main([*arguments, "--dry-run"]) == 0
        assert json.loads(capsys.readouterr().out) == {"collection": [str(folder)]}
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        *("0000.png", "0000.png", "cat", "dog", "pets"),
    ]


def test_what_cannot_be_served_says_why_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(make_collection(tmp_path / "pets", 1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = [
            ([str(tmp_path / "nowhere")], "there is no folder"),
            ([folder, "--host", "0.0.0.0"], "--share"),
            ([folder, "--port", "70000"], "0 (any free one) to 65535"),
            ([folder, "--port", port], f"port {port} cannot be used (address already in use)"),
            ([str(tmp_path), "--port", "0", "--database", folder], "as the curation database"),
        ]
        for arguments, message in cases:
            for command in (main, module_main):
                assert command(arguments) == 2
                said = capsys.readouterr().err
                assert said.startswith("curate: error: ")
                assert message in said
                assert said.count("\n") == 1
    for command in (main, module_main):
        assert command([]) == 2
        assert "no collection is named" in capsys.readouterr().err
