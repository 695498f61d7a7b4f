"""The API: every route of the pages for scripts, and a description of it that is true."""

import contextlib
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import waitress
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from curation_app import security
from curation_app.api.openapi import BASE, api_path, api_rules
from curation_app.api.operations import OPERATIONS, PEOPLE_ONLY
from curation_app.store import accounts
from tests.curating import app_of, make_collection, open_app
from tests.test_curation_app_packs import exported

__all__ = ["exported"]


@pytest.fixture(scope="module")
def opened(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Flask, FlaskClient]:
    """An app with pictures, a revision, a pack and finished work."""
    pets = make_collection(tmp_path_factory.mktemp("api") / "pets")
    app, client = open_app(pets, packs=(exported.parent,))
    for picture in ask(client, "/pictures").json["pictures"][:2]:
        assert tell(app, client, "/act", do="state:keep", picture=picture["id"]).status_code == 200
    assert tell(app, client, "/revisions/").status_code == 303
    return app, client


@pytest.fixture(scope="module")
def document(opened: tuple[Flask, FlaskClient]) -> dict[str, Any]:
    found = opened[1].get("/api/openapi.json")
    assert found.mimetype == "application/json"
    return dict(found.json)


def ask(client: FlaskClient, path: str) -> TestResponse:
    return client.get(BASE + path)


def tell(
    app: Flask, client: FlaskClient, path: str, headers: Any = (), **form: Any
) -> TestResponse:
    """Send a form as a script does."""
    token = {"Authorization": f"Bearer {token_of(app)}"}
    return client.post(BASE + path, data=form, headers=token | dict(headers))


def token_of(app: Flask) -> str:
    with app.app_context(), app_of(app).engine.connect() as connection:
        return security.script_token(accounts.local_curator(connection))


def samples(client: FlaskClient) -> dict[str, list[Any]]:
    """Something real for each place in a route."""
    pack = ask(client, "/packs/").json["packs"][0]["digest"]
    revision = ask(client, "/revisions/").json["revisions"][0]
    pictures = ask(client, "/pictures?state=keep").json["pictures"]
    return {
        "picture_id": [pictures[0]["id"]],
        "digest": [pack],
        "number": [0],
        "side_px": [64],
        "what": ["licence", "disclosure", "facts", "preview"],
        "task_id": [ask(client, "/tasks/").json["tasks"][0]["id"]],
        "slug": [revision["slug"]],
        "sha256": [pictures[0]["sha256"]],
    }


def urls_of(path: str, parameters: list[dict[str, Any]], known: dict[str, list[Any]]) -> list[str]:
    """The route with samples in its places; with 1 where this test knows none."""
    urls = [path]
    for one in (one for one in parameters if one["in"] == "path"):
        values = known.get(one["name"], [1])
        urls = [url.replace(f"{{{one['name']}}}", str(value)) for url in urls for value in values]
    return urls


def test_the_description_is_valid_and_names_every_route_that_scripts_may_use(opened, document):
    validate(document)
    app, _ = opened
    described = {
        (path, method.upper()) for path, methods in document["paths"].items() for method in methods
    }
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(("static", "api.")) or rule.endpoint in PEOPLE_ONLY:
            continue
        path = rule.rule if rule.rule.startswith(f"{BASE}/") else api_path(rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert (re.sub(r"<(?:[^<>:]*:)?(\w+)>", r"{\1}", path), method) in described


def test_what_is_said_about_routes_is_said_about_routes_that_are_there(opened):
    offered = {rule.endpoint for rule in api_rules(opened[0])}
    assert offered >= OPERATIONS.keys()
    assert not offered & PEOPLE_ONLY


def test_every_get_answers_as_it_is_described(opened, document):
    _, client = opened
    known = samples(client)
    asked = 0
    for path, methods in document["paths"].items():
        if "get" not in methods:
            continue
        operation = methods["get"]
        for url in urls_of(path, operation["parameters"], known):
            with client.get(url) as answer:
                check(document, operation, answer, url)
            asked += answer.status_code == 200
    assert asked >= 20


def check(
    document: dict[str, Any], operation: dict[str, Any], answer: TestResponse, url: str
) -> None:
    """The status, media type and body are among those described."""
    assert str(answer.status_code) in operation["responses"], (url, answer.text[:200])
    content = operation["responses"][str(answer.status_code)]["content"]
    assert answer.mimetype in content, (url, answer.mimetype)
    if answer.mimetype == "application/json" and "schema" in content[answer.mimetype]:
        schema = content[answer.mimetype]["schema"] | {"components": document["components"]}
        problems = list(Draft202012Validator(schema).iter_errors(answer.json))
        assert not problems, (url, problems[0].message)


def test_every_route_answers_mistakes_in_json(opened, document):
    _, client = opened
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            places = [one for one in operation["parameters"] if one["in"] == "path"]
            nowhere = re.sub(r"{[^}]*}", "999999", path) if places else f"{path.rstrip('/')}/999999"
            answer = client.open(nowhere, method=method)
            assert answer.status_code in (400, 403, 404, 405), nowhere
            assert answer.mimetype == "application/json", nowhere
            assert answer.json["error"], nowhere
            if method == "post":
                refused = client.post(path, headers={"Authorization": "Bearer made-up"})
                assert refused.status_code in (403, 404), path


def test_a_script_votes_once_even_when_it_asks_twice_and_takes_it_back(opened):
    app, client = opened
    picture = ask(client, "/pictures?state=unseen").json["pictures"][0]
    key = {"Idempotency-Key": "a-key-of-its-own"}
    votes = [
        tell(app, client, "/act", key, do="state:maybe", picture=picture["id"]) for _ in range(2)
    ]
    assert [vote.json["repeated"] for vote in votes] == [False, True]
    assert votes[0].json["action"] == votes[1].json["action"]
    assert ask(client, f"/pictures/{picture['id']}").json["state"] == "maybe"
    assert tell(app, client, "/undo").json["changed"] == 1
    assert ask(client, f"/pictures/{picture['id']}").json["state"] == "unseen"


def test_answers_to_posts_are_as_described(opened, document):
    app, client = opened
    picture = ask(client, "/pictures").json["pictures"][0]["id"]
    for path, form, status in (
        ("/act", {"do": "tag:extra ear", "picture": picture}, 200),
        ("/undo", {}, 200),
        ("/redo", {}, 200),
        ("/act", {"do": "nonsense", "picture": picture}, 409),
        ("/revisions/", {}, 303),
    ):
        answer = tell(app, client, path, **form)
        assert answer.status_code == status, path
        check(document, document["paths"][BASE + path]["post"], answer, path)


def test_a_script_that_begins_work_is_told_where_to_ask_for_it(opened):
    app, client = opened
    begun = tell(app, client, "/revisions/")
    assert begun.headers["Location"] == begun.json["see"]
    assert urlsplit(begun.json["see"]).path.startswith(f"{BASE}/tasks/")
    assert client.get(begun.json["see"]).json["finished"]


def test_who_asks_and_what_there_is(opened):
    _, client = opened
    assert ask(client, "/me").json["role"] == "admin"
    (pets,) = ask(client, "/collections").json["collections"]
    assert (pets["name"], pets["kind"], pets["opened"]) == ("pets", "pictures", True)
    assert sum(pets["counts"]["cat"].values()) == 3


def test_pages_link_to_pages_and_not_into_the_api(opened):
    _, client = opened
    for page in ("/", "/packs/", "/revisions/", "/tasks/"):
        links = re.findall(r'(?:href|src|action)="([^"]*)"', client.get(page).text)
        assert not [link for link in links if link.startswith(BASE)]


def test_the_page_for_people_shows_the_token_and_examples_that_run(opened, monkeypatch, capsys):
    app, client = opened
    page = client.get("/api/").text
    assert token_of(app) in page
    (example,) = re.findall(r"<pre[^>]*>(import.*?)</pre>", page, re.S)
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=2)

    def serve():
        with contextlib.suppress(OSError):  # closed while it waits
            server.run()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        code = example.replace("&lt;", "<").replace("&#34;", '"').replace("&#39;", "'")
        code = code.replace("http://localhost", f"http://127.0.0.1:{server.effective_port}")
        monkeypatch.setenv("TOKEN", token_of(app))
        exec(compile(code, "example", "exec"), {})
    finally:
        server.close()
        thread.join(5)
    states = ask(client, "/pictures").json["pictures"]
    assert {one["state"] for one in states} == {"keep", "reject"}
