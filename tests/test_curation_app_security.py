"""Attacks on every page there is: routes are taken from the app's own map, also those to come."""

import io
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import request
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from curation_app import security
from curation_app.security import MAX_FORM_BYTES, takes_uploads
from curation_app.store import accounts
from curation_app.store.engine import writing
from curation_app.store.schema import metadata
from tests.attacks import (
    ARGUMENTS,
    EVIL,
    PLACE,
    changing,
    crawl,
    faults_in,
    filled,
    rules,
    views,
)
from tests.curating import (
    JSON,
    app_of,
    ids_in,
    make_collection,
    open_app,
    picture,
    post,
    states_in,
    token_in,
)
from tests.sharing import client_of, open_shared

SECRET = "the-text-of-a-file-that-nobody-serves"
TABLES = metadata.sorted_tables
FREE = {"static", "accounts.login", "accounts.enter"}
"""What strangers reach."""
OWN = {"accounts.enter", "accounts.leave", "accounts.leave_everywhere", "accounts.change_password"}
"""What viewers may send: about their own account."""
ADMINS = {"accounts.add", "accounts.change_role", "accounts.change_active"}
ADMINS |= {"accounts.reset_password"}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text(SECRET)
    return make_collection(tmp_path / "pets", 1)


@pytest.fixture
def client(pets: Path) -> FlaskClient:
    return open_app(pets)[1]


def test_every_answer_carries_the_headers(pets: Path) -> None:
    app, client = open_app(pets)
    answers = crawl(app, client) | {"/nowhere": client.get("/nowhere")}
    answers["/undo"] = client.post("/undo")
    for url, answer in answers.items():
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, url
        if answer.mimetype == "text/html":
            assert policy == security.HEADERS["Content-Security-Policy"], url
            assert answer.headers["Cache-Control"] == "no-store", url
        assert "script-src 'self'" in policy or "script-src" not in policy, url
        assert answer.headers["X-Content-Type-Options"] == "nosniff", url
        assert answer.headers["X-Frame-Options"] == "DENY", url
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin", url
        assert "public" not in answer.headers.get("Cache-Control", ""), url
        assert "Access-Control-Allow-Origin" not in answer.headers, url
    with client.get("/static/app.css") as style:
        assert style.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "192.168.1.7:8000", "evil.example:80", "@"]
)
def test_other_host_names_get_nothing(pets: Path, host: str) -> None:
    for app in (open_app(pets)[0], open_shared(pets)):
        client = app.test_client()
        for url in ("/", "/pictures/1/original", "/login", "/nowhere"):
            for answer in (client.get(url, headers={"Host": host}),
                           client.post(url, headers={"Host": host})):  # fmt: skip
                assert answer.status_code == 400
                assert answer.mimetype == "text/plain"
                assert not {"pets", host} & set(answer.text.split())
                assert "Set-Cookie" not in answer.headers
        forwarded = {"Host": "localhost", "X-Forwarded-Host": host}
        assert host not in client.get("/login?next=/", headers=forwarded).text
    app, client = open_app(pets, trusted_hosts=("pictures.example",))
    assert client.get("/", headers={"Host": "pictures.example"}).status_code == 200
    assert client.get("/", headers={"Host": "127.0.0.1:4321"}).status_code == 200


def test_nothing_changes_without_the_token_of_the_page(pets: Path) -> None:
    local, browser = open_app(pets)
    shared = open_shared(pets)
    stranger = token_in(local.test_client())  # of another session
    for app, client in ((local, browser), (shared, client_of(shared, "ada"))):
        token = token_in(client)
        for endpoint, method, url in changing(app):
            attempts: list[dict[str, Any]] = [
                {},
                {"data": {"secret": ""}},
                {"data": {"secret": "é"}},
                {"data": {"secret": stranger}},
                {"headers": {"X-Form-Token": stranger}},
                {"query_string": {"secret": token}},  # logs and histories keep addresses
                {"json": {"secret": token}},
                {"data": f"secret={token}", "content_type": "text/plain"},
                {"headers": {"Authorization": "Bearer guess"} | JSON},
            ]
            for attempt in attempts:
                answer = client.open(url, method=method, **attempt)
                refused = (401, 403) if "Authorization" in str(attempt) else (403,)
                assert answer.status_code in refused, (endpoint, attempt)
                assert token not in answer.text.replace(f'content="{token}"', "").replace(
                    f'value="{token}"', ""
                )
    assert set(states_in(browser.get("/").text).values()) == {"unseen"}


def test_pages_change_nothing_when_they_are_merely_opened(pets: Path) -> None:
    app, client = open_app(pets)

    def rows() -> dict[str, int]:
        with app_of(app).engine.connect() as connection:
            sizes = {table.name: select(func.count()).select_from(table) for table in TABLES}
            return {name: connection.execute(size).scalar_one() for name, size in sizes.items()}

    before = rows()
    crawl(app, client)
    for endpoint, _, url in changing(app):
        assert client.get(url).status_code < 500, endpoint
    assert rows() == before
    assert before["pictures"] == 2


def test_strangers_get_no_further_than_the_log_in(pets: Path) -> None:
    app = open_shared(pets)
    client = app.test_client()
    for rule in rules(app, "GET", "POST", "PUT", "PATCH", "DELETE"):
        if rule.endpoint in FREE:
            continue
        for method in sorted((rule.methods or set()) & {"GET", "HEAD", "POST", "PUT", "DELETE"}):
            plain = client.open(filled(rule), method=method)
            sent_away = plain.headers.get("Location", "").startswith("/login?")
            assert sent_away or (plain.status_code == 401 and "/api/" in rule.rule), rule
            script = client.open(filled(rule), method=method, headers=JSON)
            assert script.status_code == 401, rule
            assert "pets" not in plain.text + script.text
    assert "pets" not in client.get("/login").text


def test_viewers_change_nothing_and_curators_no_accounts(pets: Path) -> None:
    app = open_shared(pets)
    vic, cleo = client_of(app, "vic"), client_of(app, "cleo")
    for endpoint, method, url in changing(app):
        if endpoint in OWN:
            continue
        form = {"secret": token_in(vic), "role": "admin", "active": "1", "password": "x" * 20}
        answer = vic.open(url, method=method, data=form)
        assert answer.status_code == 403, endpoint
        assert "role" in answer.text, endpoint  # and not the form's token
        if endpoint in ADMINS:
            answer = cleo.open(url, method=method, data=form | {"secret": token_in(cleo)})
            assert answer.status_code == 403, endpoint
    with app_of(app).engine.connect() as connection:
        people = {one.name: one.role for one in accounts.all_curators(connection)}
    assert people == {"ada": "admin", "cleo": "curator", "vic": "viewer", "local": "admin"}
    assert "Everybody" not in cleo.get("/accounts/").text
    assert cleo.get("/accounts/", headers=JSON).get_json()["accounts"] == []


def test_nobody_takes_back_what_another_did(pets: Path) -> None:
    app = open_shared(pets)
    cleo, ada = client_of(app, "cleo"), client_of(app, "ada")
    one = ids_in(cleo.get("/").text)[0]
    key = "a-key-of-cleos"
    assert post(cleo, "/act", picture=one, do="state:keep", key=key).status_code == 200
    assert post(ada, "/undo").get_json()["changed"] == 0
    assert post(ada, "/undo", key=key).status_code == 409
    assert states_in(cleo.get("/").text)[one] == "keep"


TRAVERSALS = [
    *("..", "../secret.txt", "../../../../../../../../etc/passwd", "..\\..\\secret.txt"),
    *("%2e%2e", "%2e%2e/secret.txt", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "..%5csecret.txt"),
    *("%252e%252e%252fsecret.txt", "..%c0%afsecret.txt", "1%00", "%00", "secret.txt%00.png"),
    *("/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "file:///etc/passwd", "C:\\secret.txt"),
    *("..\\..\\..\\..\\..\\.", "~root", "-1", "9" * 19, "9" * 5000, "1e3", "."),
]  # fmt: skip


def test_addresses_lead_to_no_file(pets: Path) -> None:
    app, client = open_app(pets)
    absolute = str(pets.parent / "secret.txt")
    for rule in rules(app, "GET", "POST"):
        if not PLACE.search(rule.rule):
            continue
        for text in (*TRAVERSALS, absolute, quote(absolute, safe="")):
            url = filled(rule, text)
            answer = client.get(url)
            assert 300 <= answer.status_code < 500, url
            assert SECRET not in answer.text, url
            assert "root:" not in answer.text, url
            if "POST" in (rule.methods or set()):
                sent = client.post(url, headers={"X-Form-Token": token_in(client)})
                assert 300 <= sent.status_code < 500, url
    for text in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "..\\app.py"):
        assert client.get(f"/static/{text}").status_code == 404


def test_no_argument_becomes_a_file(pets: Path) -> None:
    app, client = open_app(pets)
    absolute = str(pets.parent / "secret.txt")
    for url in (rule.rule for rule in views(app, "GET") if not PLACE.search(rule.rule)):
        for text in ("../secret.txt", absolute, f"file://{absolute}", "/etc/passwd"):
            answer = client.get(url, query_string=dict.fromkeys(ARGUMENTS, text))
            assert SECRET not in answer.text, url
            assert "root:" not in answer.text, url


def write_nasty(folder: Path) -> tuple[Path, Path]:
    """Two collections all of whose words are markup, by class folders and by metadata.jsonl."""
    loose, stated = folder / EVIL, folder / f"{EVIL}2"
    (loose / EVIL).mkdir(parents=True)
    (loose / EVIL / f"{EVIL}.png").write_bytes(picture(1))
    (loose / EVIL / f"{EVIL}\\.png").write_bytes(picture(2))  # left out, and listed by its name
    stated.mkdir()
    (stated / "one.png").write_bytes(picture(3))
    row = {"file_name": "one.png", "label": EVIL, "tags": [EVIL], "source": EVIL, "licence": EVIL}
    (stated / "metadata.jsonl").write_text(json.dumps(row | {EVIL: EVIL}) + "\n")
    return loose, stated


def test_words_of_strangers_stay_words_on_every_page(tmp_path: Path) -> None:
    app = open_shared(*write_nasty(tmp_path))
    with writing(app_of(app).engine) as connection:
        accounts.add_curator(connection, EVIL, "curator", "no hash")
    client = client_of(app, "ada")
    for one in (1, 2):
        for do in (f"tag:{EVIL}", f"label:{EVIL}3", "state:keep"):
            assert post(client, "/act", picture=one, do=do).status_code == 200
    app_of(app).tasks.start("probe", EVIL, lambda task: task.report(1, 2))
    pages = crawl(app, client, "/?collection=2")
    assert {"/pictures/1", "/pictures/2", "/accounts/", "/tasks/"} <= pages.keys()
    for url in ("/?collection=1", "/?collection=2", "/pictures/2", "/accounts/", "/tasks/"):
        assert "&lt;xss-probe" in client.get(url).text, url
    for url, answer in pages.items():
        assert answer.status_code < 500, url
        assert faults_in(answer) == [], url
        assert faults_in(client.get(url, headers=JSON)) == [], url


def test_words_of_a_request_stay_words_in_the_answer(pets: Path) -> None:
    app, client = open_app(pets)
    text = f"javascript:alert(1)//{EVIL}"
    for rule in views(app, "GET"):
        asked = [{name: text} for name in ARGUMENTS]
        requests = [(filled(rule), one) for one in asked] + [(filled(rule, quote(text, "")), {})]
        for url, arguments in requests:
            answer = client.get(url, query_string=arguments)
            assert answer.status_code < 500, (url, arguments)
            assert faults_in(answer) == [], (url, arguments)
    for _, method, url in changing(app):
        form = dict.fromkeys(("do", "name", "text", "label", "url", "key", "to"), EVIL)
        answer = client.open(url, method=method, data=form | {"secret": token_in(client)})
        assert answer.status_code < 500, url
        assert faults_in(answer) == [], url
        assert "xss-probe" not in answer.headers.get("Location", "")


@pytest.mark.parametrize(
    "to",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "evil",
     "/\r\nSet-Cookie: a=b", "javascript:alert(1)"],
)  # fmt: skip
def test_forms_lead_back_to_our_own_pages_alone(client: FlaskClient, to: str) -> None:
    answer = post(client, "/undo", plain=True, to=to)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert post(client, "/undo", plain=True, to="/?state=keep").headers["Location"] == (
        "/?state=keep"
    )


SCRIPTED = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert("xss-probe")</script></svg>'


def test_drawings_and_pages_in_disguise_are_never_served_as_such(tmp_path: Path) -> None:
    pets = make_collection(tmp_path / "pets", 1)
    page = b"<!doctype html><script>alert('xss-probe')</script>"
    files = {
        "drawing.svg": SCRIPTED,
        "drawing.png": SCRIPTED,
        "page.png": page,
        "page.gif": b"GIF89a/*" + page,
        "both.png": picture(7) + page,
    }
    for name, data in files.items():
        (pets / "cat" / name).write_bytes(data)
    app, client = open_app(pets)
    assert "drawing.png" in str(app_of(app).unusable)
    for url, answer in crawl(app, client).items():
        if answer.mimetype != "text/html":
            assert answer.mimetype not in ("image/svg+xml", "text/xml", "application/xhtml+xml")
        if b"xss-probe" in answer.data:  # a picture with something behind it: its bytes, no page
            assert url.endswith("/original")
            assert answer.mimetype == "image/png"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_bodies_have_a_size_that_is_told(pets: Path) -> None:
    app = open_shared(pets)
    client = client_of(app, "ada")
    token = {"X-Form-Token": token_in(client)} | JSON
    for endpoint, method, url in changing(app):
        large = getattr(app.view_functions[endpoint], security._UPLOADS, False)
        size = security.MAX_UPLOAD_BYTES if large else MAX_FORM_BYTES
        length = {"CONTENT_LENGTH": str(size + 1)}
        answer = client.open(url, method=method, headers=token, environ_overrides=length)
        assert answer.status_code == 413, endpoint
        assert "at most" in answer.get_json()["error"]
    many = {f"field {number}": "x" for number in range(2000)}
    parts = client.post("/act", data=many, content_type="multipart/form-data", headers=JSON)
    long = client.post("/act", data={"x": "y" * MAX_FORM_BYTES}, headers=JSON)
    for answer in (parts, long):
        assert answer.status_code == 413
        assert answer.get_json()["error"] == (
            "That is too much at once: at most 256 kB in 1000 parts are taken here."
        )


def test_only_views_for_uploads_take_files_and_only_from_curators(pets: Path) -> None:
    app = open_shared(pets)

    @takes_uploads
    def upload() -> dict[str, int]:
        return {"bytes": sum(len(file.read()) for file in request.files.getlist("file"))}

    app.add_url_rule("/upload-probe", "upload_probe", upload, methods=["POST"])
    size = MAX_FORM_BYTES + 1000

    def send(name: str) -> TestResponse:
        client = client_of(app, name)
        form = {"file": (io.BytesIO(b"x" * size), "one.png"), "secret": token_in(client)}
        return client.post("/upload-probe", headers=JSON, data=form)

    assert send("cleo").get_json() == {"bytes": size}
    assert send("vic").status_code == 413


INJECTIONS = ("' OR 1=1 --", "9" * 30, "a\0b", "'; DROP TABLE pictures; --", "-1", "nan", "\ufffe")


def test_filters_are_values_and_never_sql(pets: Path, where: dict[str, str]) -> None:
    app, client = open_app(pets, **where)
    before = sorted(states_in(client.get("/").text))
    for url in (rule.rule for rule in views(app, "GET") if not PLACE.search(rule.rule)):
        some = INJECTIONS if url == "/" else INJECTIONS[:3]
        for name, text in itertools.product(ARGUMENTS, some):
            answer = client.get(url, query_string={name: text}, headers=JSON)
            assert answer.status_code < 500, (url, name, text)
    for odd in (
        "label[]=cat",
        "label[$ne]=x",
        "label=%FF%FE",
        "after[]=1",
        "label=%ED%A0%80",
        "&&=",
    ):
        assert client.get(f"/?{odd}").status_code in (200, 400), odd
    for number in ("1" * 19, "1" * 20, "-1", "1.5", "' OR 1=1", "1\0"):
        answer = post(client, "/act", picture=[number], do="state:keep")
        assert answer.status_code in (200, 409), number
    for text in ("'); DELETE FROM tags; --", "%", "a\\b"):
        assert post(client, "/act", picture=before, do=f"tag:{text}").status_code == 200
        assert sorted(states_in(client.get("/", query_string={"tag": text}).text)) == before
    assert post(client, "/act", picture=before, do="state:keep' OR '1'='1").status_code == 409
    assert states_in(client.get("/").text) == dict.fromkeys(before, "unseen")


def test_wildcards_stand_for_themselves(tmp_path: Path, where: dict[str, str]) -> None:
    pets = make_collection(tmp_path / "pets", 1)
    for number, name in enumerate(("100%", "a_b", "aXb")):
        (pets / "cat" / f"{name}.png").write_bytes(picture(number + 50))
    client = open_app(pets, **where)[1]

    def found(text: str) -> list[str]:
        rows = client.get("/", query_string={"text": text}, headers=JSON).get_json()["pictures"]
        return [row["name"] for row in rows]

    assert found("%") == ["cat/100%.png"]
    assert found("a_b") == ["cat/a_b.png"]
    assert found("A_B.PNG") == ["cat/a_b.png"]
    assert found("' OR ''='") == found("\\") == found("0%.p_g") == []


def test_apps_on_other_ports_leave_each_others_cookies_alone(tmp_path: Path) -> None:
    one, client = open_app(make_collection(tmp_path / "one", 1))
    two, _ = open_app(make_collection(tmp_path / "two", 1))
    token = token_in(client)
    cookies = client.get("/").request.headers["Cookie"]
    both = two.test_client().get("/", headers={"Cookie": cookies})
    assert both.headers["Set-Cookie"].split("=")[0] not in cookies
    assert one.secret_key != two.secret_key
    assert client.post("/undo", data={"secret": token}, headers=JSON).status_code == 200


def test_the_app_loads_without_the_heavy_libraries() -> None:
    code = (
        "import sys, curation_app.__main__, jobs.curate; "
        "sys.exit(bool({'torch', 'cv2', 'diffusers', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
