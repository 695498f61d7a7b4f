import subprocess
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.curating import JSON, make_collection, open_app, picture, secret_in, states_in


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return open_app(make_collection(tmp_path / "pets", 1))[1]


def test_every_answer_carries_the_headers(client: FlaskClient) -> None:
    for address in ("/", "/revisions/", "/pictures/1/thumbnail", "/static/app.css", "/nowhere"):
        with client.get(address) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "Access-Control-Allow-Origin" not in answer.headers


def test_pages_need_no_inline_script_or_style(client: FlaskClient) -> None:
    for address in ("/", "/revisions/", "/nowhere"):
        html = client.get(address).text
        assert "<style" not in html
        assert " style=" not in html
        assert " on" + "click" not in html
        assert html.count("<script") == html.count("<script src=")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "192.168.1.7:8000"])
def test_other_host_names_get_nothing(client: FlaskClient, host: str) -> None:
    for address in ("/", "/pictures/1/original", "/nowhere"):
        answer = client.get(address, headers={"Host": host})
        assert answer.status_code == 400
        assert "pets" not in answer.text
    assert client.get("/", headers={"Host": "127.0.0.1:4321"}).status_code == 200


def test_a_form_without_the_secret_changes_nothing(client: FlaskClient) -> None:
    for address in ("/pictures/1/vote", "/undo", "/revisions/"):
        for form in ({}, {"secret": ""}, {"secret": "guess"}, {"secret": "é"}):
            answer = client.post(address, data={"state": "keep", "event": "1"} | form)
            assert answer.status_code == 403
            assert "secret" not in answer.text
    # Nor does a secret in the address, which logs and histories keep.
    answer = client.post(f"/pictures/1/vote?secret={secret_in(client)}", data={"state": "keep"})
    assert answer.status_code == 403
    assert set(states_in(client.get("/").text).values()) == {"unseen"}
    assert client.get("/pictures/1/vote").status_code == 405


@pytest.mark.parametrize(
    "address",
    [
        "/pictures/../../etc/passwd/original",
        "/pictures/..%2f..%2fetc%2fpasswd/thumbnail",
        "/pictures/1%00/original",
        "/pictures/-1/original",
        "/pictures/9223372036854775808/original",
        "/pictures/" + "9" * 5000 + "/original",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
    ],
)
def test_addresses_lead_to_no_file(client: FlaskClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_nonsense_is_refused_politely(client: FlaskClient) -> None:
    secret = secret_in(client)
    for address in ("/?state=loved", "/?after=x", "/?before=-1", "/?after=" + "9" * 19):
        assert client.get(address).status_code == 400
    for form in ({"state": "unseen"}, {"state": "x'; DROP TABLE events"}, {}):
        answer = client.post("/pictures/1/vote", data={"secret": secret} | form, headers=JSON)
        assert answer.status_code == 400
        assert "keep, maybe, reject" in answer.get_json()["error"]
    injected = client.get("/", query_string={"label": "' OR 1=1 --"})
    assert states_in(injected.text) == {}
    large = {"secret": secret, "state": "keep", "more": "x" * 20_000}
    assert client.post("/pictures/1/vote", data=large).status_code == 413


def test_names_from_strangers_stay_text(tmp_path: Path) -> None:
    nasty = "<script>alert(1)<"
    folder = tmp_path / '"><img src=x>' / f"{nasty}"
    folder.mkdir(parents=True)
    (folder / "'\"><b>.png").write_bytes(picture(1))
    (folder / "<i>\\.png").write_bytes(picture(2))  # left out, and listed with its name
    _, client = open_app(folder.parent)
    for address in ("/", f"/?label={nasty}", "/revisions/"):
        html = client.get(address).text
        assert "<script>" not in html
        assert "<b>" not in html
        assert "<i>" not in html
        assert "<img src=x" not in html
    assert states_in(client.get("/", query_string={"label": nasty}).text) == {1: "unseen"}


def test_the_app_loads_without_the_heavy_libraries() -> None:
    code = (
        "import sys, curation_app.__main__, jobs.curate; "
        "sys.exit(bool({'torch', 'cv2', 'diffusers', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
