import contextlib
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from core.errors import UserError
from curation_app.accounts import BY_NAME, add_admin, check_password
from curation_app.server import ServeSettings
from curation_app.store import accounts
from curation_app.store.engine import writing
from curation_app.store.schema import attempts, curators
from tests.curating import JSON, app_of, ids_in, make_collection, open_app, post, token_in
from tests.sharing import PASSWORD, client_of, log_in, open_shared

STRANGER = "203.0.113.7"
OTHER = "five other words entirely"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return make_collection(tmp_path / "pets", 1)


@pytest.fixture
def app(pets: Path) -> Flask:
    return open_shared(pets)


def stored(app: Flask, name: str) -> Any:
    with app_of(app).engine.connect() as connection:
        return connection.execute(select(curators).where(curators.c.name == name)).one()


def let_time_pass(app: Flask, seconds: float) -> None:
    with writing(app_of(app).engine) as connection:
        connection.execute(update(attempts).values(at_s=attempts.c.at_s - seconds))


def script_token_in(client: FlaskClient) -> str:
    found = re.search(r'id="script-token">([^<]+)<', client.get("/accounts/").text)
    assert found
    return found[1]


def is_in(client: FlaskClient) -> bool:
    return client.get("/", headers=JSON).status_code == 200


def post_form(client: FlaskClient, url: str, **form: str) -> Any:
    page = "/login" if url == "/login" else "/accounts/"
    return client.post(url, data={"secret": token_in(client, page)} | form)


def test_logging_in_leads_to_the_page_that_was_wanted_and_logging_out_ends_it(app: Flask) -> None:
    client = app.test_client()
    sent_away = client.get("/?state=keep")
    assert sent_away.status_code == 302
    form = client.get(sent_away.headers["Location"]).text
    assert 'name="next" value="/?state=keep"' in form
    assert "pets" not in form  # a stranger learns nothing of what is curated here
    values = {"name": "cleo", "password": PASSWORD, "next": "/?state=keep"}
    entered = post_form(client, "/login", **values)
    assert (entered.status_code, entered.headers["Location"]) == (303, "/?state=keep")
    assert "cleo" in client.get("/").text
    assert post_form(client, "/logout").headers["Location"] == "/login"
    assert not is_in(client)


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example",
     "javascript:alert(1)", "evil.example", " //evil.example", ""],
)  # fmt: skip
def test_logging_in_leads_to_no_other_site(app: Flask, elsewhere: str) -> None:
    client = app.test_client()
    assert "evil" not in client.get("/login", query_string={"next": elsewhere}).text
    values = {"name": "cleo", "password": PASSWORD, "next": elsewhere}
    assert post_form(client, "/login", **values).headers["Location"] == "/"


def test_wrong_names_and_wrong_passwords_are_told_alike(app: Flask) -> None:
    client = app.test_client()
    wrong = log_in(client, "cleo", "not the password")
    unknown = log_in(client, "nobody", "not the password")
    without = log_in(client, "local", "")
    with writing(app_of(app).engine) as connection:
        accounts.change_curator(connection, stored(app, "vic").id, active=False)
    inactive = log_in(client, "vic")
    answers = {(one.status_code, one.text) for one in (wrong, unknown, without, inactive)}
    assert len(answers) == 1
    assert wrong.status_code == 401
    assert not is_in(client)


def test_an_unknown_name_takes_as_long_as_a_known_one(app: Flask) -> None:
    client = app.test_client()

    def took_s(name: str) -> float:
        start_s = time.perf_counter()
        assert log_in(client, name, "not the password").status_code == 401
        return time.perf_counter() - start_s

    took_s("the first one makes the hash that stands for nobody's")
    # In turns, so that both meet what else the machine does.
    turns = []
    for _ in range(7):
        turns.append((took_s("cleo"), took_s("nobody")))
        let_time_pass(app, BY_NAME.within_s)
    known, unknown = map(min, zip(*turns, strict=True))
    assert known / 3 < unknown < known * 3


def test_a_session_prepared_by_another_is_worth_nothing_after_the_log_in(app: Flask) -> None:
    client = app.test_client()
    planted = token_in(client, "/login")
    assert log_in(client, "cleo").status_code == 200
    assert token_in(client) != planted
    assert client.post("/undo", data={"secret": planted}, headers=JSON).status_code == 403


def test_changing_the_password_ends_all_other_sessions_and_script_tokens(app: Flask) -> None:
    here, elsewhere = client_of(app, "cleo"), client_of(app, "cleo")
    script = {"Authorization": f"Bearer {script_token_in(here)}"} | JSON
    assert app.test_client().get("/", headers=script).status_code == 200
    change: dict[str, Any] = {"current": PASSWORD, "password": OTHER, "again": OTHER}
    wrong = post(here, "/accounts/password", **change | {"current": "not the password"})
    assert wrong.status_code == 403
    assert "current password is wrong" in wrong.get_json()["error"]
    assert post(here, "/accounts/password", **change | {"again": "x" * 12}).status_code == 409
    assert is_in(elsewhere)
    assert post(here, "/accounts/password", **change).status_code == 200
    assert is_in(here)
    assert not is_in(elsewhere)
    assert app.test_client().get("/", headers=script).status_code == 401
    assert log_in(elsewhere, "cleo").status_code == 401
    assert log_in(elsewhere, "cleo", OTHER).status_code == 200


def test_logging_out_everywhere_leaves_this_browser_in(app: Flask) -> None:
    here, elsewhere = client_of(app, "vic"), client_of(app, "vic")
    token = script_token_in(here)
    assert post(here, "/logout/everywhere").status_code == 200
    assert is_in(here)
    assert not is_in(elsewhere)
    assert script_token_in(here) != token


@pytest.mark.parametrize(
    ("name", "password", "fault"),
    [
        ("ada", "nine char", "9 characters"),
        ("ada", "x" * 1001, "1001 characters"),
        ("ada", "AdaAdaAdaAda", "little more than the name"),
        ("administrator", "Administrator1", "little more than the name"),
    ],
)
def test_passwords_that_are_easy_to_guess_are_refused(name: str, password: str, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        check_password(password, name)
    assert check_password("gar\u0061\u0308nge 12", name) == "gar\u00e4nge 12"  # typed either way


def test_an_administrator_adds_promotes_resets_and_deactivates(app: Flask) -> None:
    admin = client_of(app, "ada")
    for fault in ({"name": "CLEO"}, {"name": ""}, {"role": "king"}, {"password": "short"}):
        form: dict[str, Any] = {"name": "nina", "role": "viewer", "password": PASSWORD} | fault
        assert post(admin, "/accounts/", **form).status_code == 409
    assert (
        post(admin, "/accounts/", name="nina", role="viewer", password=PASSWORD).status_code == 200
    )
    nina, nina_id = client_of(app, "nina"), stored(app, "nina").id
    one = ids_in(nina.get("/").text)[0]
    assert post(nina, "/act", picture=one, do="state:keep").status_code == 403
    assert post(admin, f"/accounts/{nina_id}/role", role="curator").status_code == 200
    assert not is_in(nina)  # the session was a viewer's
    nina = client_of(app, "nina")
    assert post(nina, "/act", picture=one, do="state:keep").status_code == 200
    assert post(admin, f"/accounts/{nina_id}/password", password=OTHER).status_code == 200
    assert not is_in(nina)
    assert log_in(nina, "nina", OTHER).status_code == 200
    assert post(admin, f"/accounts/{nina_id}/active", active=0).status_code == 200
    assert not is_in(nina)
    assert log_in(nina, "nina", OTHER).status_code == 401
    listed = admin.get("/accounts/", headers=JSON).get_json()["accounts"]
    assert {"id": nina_id, "name": "nina", "role": "curator", "active": False} in listed
    assert "local" not in {one["name"] for one in listed}


def test_the_last_administrator_stays(app: Flask) -> None:
    admin, me = client_of(app, "ada"), stored(app, "ada").id
    ways: dict[str, dict[str, Any]] = {"role": {"role": "viewer"}, "active": {"active": 0}}
    for url, form in ways.items():
        refused = post(admin, f"/accounts/{me}/{url}", **form)
        assert refused.status_code == 409
        assert "last administrator" in refused.get_json()["error"]
    assert is_in(admin)
    cleo = stored(app, "cleo").id
    assert post(admin, f"/accounts/{cleo}/role", role="admin").status_code == 200
    assert post(admin, f"/accounts/{me}/role", role="viewer").status_code == 200
    assert is_in(admin)  # as a viewer, in a session that is new
    assert post(admin, f"/accounts/{cleo}/role", role="viewer").status_code == 403


def test_two_administrators_who_demote_each_other_leave_one(
    pets: Path, where: dict[str, str]
) -> None:
    app = open_shared(pets, **where)
    engine, ids = app_of(app).engine, [stored(app, name).id for name in ("ada", "cleo")]
    with writing(engine) as connection:
        accounts.change_curator(connection, ids[1], role="admin")

    def demote(one: int) -> bool:
        try:
            with writing(engine) as connection:
                accounts.change_curator(connection, one, role="viewer")
                time.sleep(0.2)  # so that both are at it
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(2) as people:
        assert sorted(people.map(demote, ids)) == [False, True]
    with engine.connect() as connection:
        assert accounts.has_admin(connection)


def test_who_acts_where_nobody_logs_in_can_be_given_no_password(app: Flask) -> None:
    admin, local = client_of(app, "ada"), stored(app, "local").id
    assert post(admin, f"/accounts/{local}/password", password=OTHER).status_code == 409
    assert stored(app, "local").password is None
    assert post(admin, "/accounts/999/active", active=0).status_code == 409


def fail(app: Flask, name: str, address: str, times: int) -> None:
    """Wrong passwords, without the time that looking at them takes."""
    with writing(app_of(app).engine) as connection:
        for _ in range(times):
            accounts.begin_attempt(connection, name, address)


def test_guessing_has_to_wait_longer_and_longer_also_over_a_restart(
    pets: Path, where: dict[str, str]
) -> None:
    app = open_shared(pets, **where)
    client = app.test_client()
    for _ in range(BY_NAME.free):
        assert log_in(client, "ada", "a guess", address=STRANGER).status_code == 401
    fail(app, "ada", STRANGER, 5)
    waits = []
    for _ in range(2):
        held = log_in(client, "ada", address=STRANGER)  # also with the right password
        assert held.status_code == 429
        assert re.search(r"wait \d+ (seconds|minutes), then", held.get_json()["error"])
        waits.append(int(held.headers["Retry-After"]))
        let_time_pass(app, waits[-1])
        assert log_in(client, "ada", "a guess", address=STRANGER).status_code == 401
    assert 40 < waits[0] <= 64 < 100 < waits[1] <= 128
    again = open_shared(pets, **where)
    assert log_in(again.test_client(), "ada", address=STRANGER).status_code == 429
    let_time_pass(again, 256)
    assert log_in(again.test_client(), "ada", address=STRANGER).status_code == 200
    assert log_in(client, "ada", "a guess", address=STRANGER).status_code == 401  # free again


def test_waits_double_and_end() -> None:
    assert [BY_NAME.wait_s(failed, 0) for failed in range(3, 9)] == [0, 0, 2, 4, 8, 16]
    assert BY_NAME.wait_s(8, 10) == 6
    assert BY_NAME.wait_s(1000, 0) == BY_NAME.longest_s
    assert BY_NAME.wait_s(1000, BY_NAME.longest_s) == 0
    assert BY_NAME.wait_s(1000, -1e9) == BY_NAME.longest_s  # the clock was set back


def test_strangers_cannot_lock_anybody_out(app: Flask) -> None:
    home = "198.51.100.4"
    assert log_in(app.test_client(), "cleo", address=home).status_code == 200
    for name in ("cleo", "ada"):
        fail(app, name, STRANGER, 30)
    assert log_in(app.test_client(), "cleo", address="203.0.113.99").status_code == 429
    assert log_in(app.test_client(), "cleo", address=home).status_code == 200
    assert log_in(app.test_client(), "ada").status_code == 200  # at the computer itself


def test_an_address_that_tries_many_names_has_to_wait(app: Flask) -> None:
    client = app.test_client()
    for number in range(30):
        fail(app, f"name {number}", "2001:db8:1:2::/64", 1)
    # One customer has a whole network, and can take any address in it.
    assert log_in(client, "cleo", address="2001:db8:1:2::77").status_code == 429
    assert log_in(client, "cleo", address="2001:db8:1:3::77").status_code == 200


def test_of_guesses_at_the_same_moment_one_is_looked_at(pets: Path, where: dict[str, str]) -> None:
    app = open_shared(pets, **where)
    fail(app, "ada", STRANGER, 10)
    let_time_pass(app, 64)

    def guess(number: int) -> int:
        address = f"203.0.113.{number}"
        return log_in(app.test_client(), "ada", "a guess", address=address).status_code

    with ThreadPoolExecutor(12) as crowd:
        assert sorted(crowd.map(guess, range(12))) == [401] + 11 * [429]


def test_names_of_any_kind_can_be_tried(pets: Path, where: dict[str, str]) -> None:
    client = open_shared(pets, **where).test_client()
    for name in ("ada\0", "' OR 1=1 --", "é" * 5000, "\ud7ff%", ""):
        assert log_in(client, name, "a guess").status_code == 401


def test_a_hash_of_older_parameters_is_renewed_at_the_next_log_in(app: Flask) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD)
    with writing(app_of(app).engine) as connection:
        accounts.change_curator(connection, stored(app, "cleo").id, password=weak)
    before = client_of(app, "cleo")
    assert not PasswordHasher().check_needs_rehash(stored(app, "cleo").password)
    assert stored(app, "cleo").password.startswith("$argon2id$")
    assert client_of(app, "cleo")
    assert is_in(before)


def test_script_tokens_need_no_form_and_end_with_the_account(app: Flask) -> None:
    cleo = client_of(app, "cleo")
    script, right = app.test_client(), {"Authorization": f"Bearer {script_token_in(cleo)}"} | JSON
    assert script.post("/undo", headers=right).status_code == 200
    wrong = {"Authorization": "Bearer WzEsMF0.guess"} | JSON
    assert script.post("/undo", headers=wrong).status_code == 401
    assert script.post("/login", headers=wrong).status_code == 403  # no way around its form
    assert cleo.post("/undo", headers=wrong).status_code == 401  # nor does the session help
    with writing(app_of(app).engine) as connection:
        accounts.change_curator(connection, stored(app, "cleo").id, active=False)
    assert script.post("/undo", headers=right).status_code == 401


def test_alone_at_the_computer_there_is_nothing_to_log_in_to(pets: Path) -> None:
    app, client = open_app(pets)
    assert client.get("/login").status_code == 404
    for url in ("/login", "/logout", "/logout/everywhere", "/accounts/", "/accounts/1/role"):
        assert post(client, url, name="x", role="admin", password=PASSWORD).status_code == 404
    assert "Log out" not in client.get("/").text
    token = script_token_in(client)
    script = {"Authorization": f"Bearer {token}"} | JSON
    assert app.test_client().post("/undo", headers=script).status_code == 200
    assert client.get("/", environ_overrides={"REMOTE_ADDR": STRANGER}).status_code == 403
    # Anybody at the computer could read that token; it is worth nothing when people log in.
    shared = open_shared(pets).test_client()
    assert shared.get("/", headers=script).status_code == 401


def addresses_noted(app: Flask, peer: str, **forwarded: str) -> set[str]:
    """Where somebody seems to come from who logs in through a peer that forwards this."""
    client = app.test_client()
    headers = {name.replace("_", "-"): text for name, text in forwarded.items()}
    here, base = {"REMOTE_ADDR": peer}, "https://localhost/"
    page = client.get("/login", base_url=base, headers=headers, environ_overrides=here).text
    token = re.search(r'name="secret" value="(\w+)"', page)
    assert token
    form = {"secret": token[1], "name": "cleo"}
    client.post("/login", base_url=base, data=form, headers=headers, environ_overrides=here)
    with writing(app_of(app).engine) as connection:
        found = set(connection.execute(select(attempts.c.address)).scalars())
        connection.execute(attempts.delete())
    return found


def test_only_a_proxy_on_this_computer_is_believed(pets: Path) -> None:
    forwarded = {"X_Forwarded_For": "192.0.2.66, 198.51.100.4", "X_Forwarded_Proto": "https"}
    direct = open_shared(pets)
    assert addresses_noted(direct, "127.0.0.1", **forwarded) == {"127.0.0.1"}
    behind = open_shared(pets, behind_proxy=True)
    assert addresses_noted(behind, "127.0.0.1", **forwarded) == {"198.51.100.4"}
    assert addresses_noted(behind, STRANGER, **forwarded) == {STRANGER}
    lie = {"X_Forwarded_Host": "evil.example", "X_Forwarded_Prefix": "/evil"}
    assert addresses_noted(behind, "127.0.0.1", **lie) == {"127.0.0.1"}


def test_behind_a_proxy_cookies_are_for_https_alone(pets: Path) -> None:
    client = open_shared(pets, behind_proxy=True).test_client()
    cookie = client.get("/login", headers={"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]
    assert cookie.startswith("__Host-menagerie")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    plain = open_shared(pets).test_client().get("/login").headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(plain.split("; "))
    with pytest.raises(UserError, match="--share"):
        open_app(pets, behind_proxy=True)


def test_the_first_administrator_is_made_at_the_computer(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MENAGERIE_PASSWORD", PASSWORD)
    settings = ServeSettings(share=True, add_admin="ada")
    add_admin([pets], settings)
    assert "ada is an administrator" in capsys.readouterr().out
    app = open_app(pets, share=True)[0]
    client = client_of(app, "ada")
    # Later, with the password forgotten and strangers at the door:
    fail(app, "ada", STRANGER, 30)
    monkeypatch.setenv("MENAGERIE_PASSWORD", OTHER)
    add_admin([pets], settings)
    assert not is_in(client)
    assert log_in(client, "ada", OTHER, address="198.51.100.9").status_code == 200


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        os.close(theirs)


def answer(ours: int, question: str, text: str) -> str:
    """Wait for a question on the terminal, and type the answer; what was shown."""
    shown = ""
    while question not in shown:
        shown += os.read(ours, 10_000).decode()
    time.sleep(0.1)  # the terminal forgets what is typed before it stops showing it
    os.write(ours, f"{text}\n".encode())
    return shown


@pytest.mark.parametrize(
    ("name", "folder", "fault"),
    [
        ("ada", "pets", "there is no terminal"),
        ("ada", "nowhere", "there is no folder"),
        ("", "pets", "the name has 0 characters"),
    ],
)
def test_what_is_missing_for_an_administrator_is_said(
    pets: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str, fault: str
) -> None:
    monkeypatch.delenv("MENAGERIE_PASSWORD", raising=False)
    with pytest.raises(UserError, match=fault):
        add_admin([pets.parent / folder], ServeSettings(add_admin=name))
    assert not (pets.parent / "nowhere").exists()


def test_a_password_is_asked_for_twice_and_never_shown(pets: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from curation_app.accounts import add_admin; "
        "from curation_app.server import ServeSettings; "
        f"add_admin([Path({str(pets)!r})], ServeSettings(add_admin='ada'))"
    )
    with terminal() as (ours, theirs):
        command = [sys.executable, "-c", code]
        kept = {name: value for name, value in os.environ.items() if "PASSWORD" not in name}
        process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=kept
        )
        shown = answer(ours, "password for ada: ", PASSWORD) + answer(ours, "once more: ", PASSWORD)
        assert process.wait(60) == 0
        shown += os.read(ours, 10_000).decode()
    assert PASSWORD not in shown
    assert "is an administrator" in shown
    assert client_of(open_app(pets, share=True)[0], "ada")
