import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation_app.__main__ import main as module_main
from curation_app.store import Store
from jobs.curate import main
from tests.curating import make_collection

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def serving(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A real server process, and its address."""
    process = subprocess.Popen(
        [sys.executable, *command, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        for line in process.stdout:
            if found := re.search(r"open (http://\S+/)", line):
                yield process, found[1]
                break
        else:
            pytest.fail("the server did not start")
    finally:
        process.kill()
        process.communicate()


def ask(address: str, form: dict[str, str] | None = None) -> str:
    data = None if form is None else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(address, data, {"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


def secret_at(address: str) -> str:
    found = re.search(r'name="secret" value="(\w+)"', ask(address))
    assert found
    return found[1]


def test_no_acknowledged_vote_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 6)
    acknowledged = {}
    for round_number in range(2):
        with serving("jobs/curate.py", str(folder)) as (process, address):
            secret = secret_at(address)
            for picture_id in range(1 + 6 * round_number, 7 + 6 * round_number):
                state = ("keep", "reject")[picture_id % 2]
                form = {"secret": secret, "state": state}
                answer = json.loads(ask(f"{address}pictures/{picture_id}/vote", form))
                acknowledged[answer["id"]] = answer["state"]
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait(timeout=30) == -signal.SIGKILL
    with Store(folder / ".curation.sqlite") as store:
        recorded = {number: store.picture(number) for number in acknowledged}
    assert {k: found.state for k, found in recorded.items() if found} == acknowledged
    assert len(acknowledged) == 12


def test_ctrl_c_ends_it_and_the_module_runs_too(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    with serving("-m", "curation_app", str(folder)) as (process, address):
        assert "cat/0000.png" in ask(address)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_a_dry_run_prints_the_config_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    for arguments in ([str(folder)], ["--collection", str(folder)]):
        assert main([*arguments, "--dry-run"]) == 0
        assert json.loads(capsys.readouterr().out) == {"collection": str(folder)}
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
            ([folder, "--host", "0.0.0.0"], "the app has no log-in"),
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
    assert main([]) == 2
    assert "collection" in capsys.readouterr().err
