"""Databases of the first release, and of nobody we know."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import UserError
from core.files import digest_file
from curation_app.store.engine import open_database
from curation_app.store.schema import FORMAT
from tests.curating import JSON, ids_in, make_collection, open_app, post, states_in

FIRST_RELEASE = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE pictures (id INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
    label TEXT NOT NULL, stamp TEXT NOT NULL, item TEXT NOT NULL, present INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'unseen', UNIQUE (name, sha256));
CREATE INDEX pictures_by_state ON pictures (present, state, id);
CREATE INDEX pictures_by_label ON pictures (present, label, state, id);
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, picture_id INTEGER NOT NULL,
    state TEXT NOT NULL, undoes INTEGER UNIQUE REFERENCES events (id), at TEXT NOT NULL);
CREATE INDEX events_by_picture ON events (picture_id, id);
CREATE TRIGGER events_set_state AFTER INSERT ON events BEGIN
    UPDATE pictures SET state = NEW.state WHERE id = NEW.picture_id; END;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'events are append-only'); END;
INSERT INTO meta VALUES ('secret', 'a-secret-of-the-first-release');
PRAGMA application_id = 1298493025;
PRAGMA user_version = 1;
"""


def first_release(folder: Path) -> Path:
    database = folder / ".curation.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(FIRST_RELEASE)
        for number, path in enumerate(sorted(folder.rglob("*.png")), start=1):
            name = path.relative_to(folder).as_posix()
            row = (number, name, digest_file(path), path.parent.name, "stamp", "{}", 1)
            connection.execute(
                "INSERT INTO pictures (id, name, sha256, label, stamp, item, present)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        # keep 1, reject 2 and take it back, maybe 3
        for event in ((1, "keep", None), (2, "reject", None), (2, "unseen", 2), (3, "maybe", None)):
            connection.execute(
                "INSERT INTO events (picture_id, state, undoes, at) VALUES (?, ?, ?, '2026')", event
            )
        connection.commit()
    return database


def test_votes_of_the_first_release_come_along(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 2)
    database = first_release(folder)
    app, client = open_app(folder)
    assert app.secret_key == "a-secret-of-the-first-release"
    assert states_in(client.get("/").text) == {1: "keep", 2: "unseen", 3: "maybe", 4: "unseen"}
    picture = client.get("/pictures/3", headers=JSON).get_json()
    assert (picture["width_px"], picture["label"]) == (24, "dog")  # looked at, now
    # What was done then can be taken back now.
    assert post(client, "/undo").get_json()["pictures"][0]["id"] == 3
    assert post(client, "/undo").get_json()["pictures"][0]["id"] == 1
    assert ids_in(client.get("/?state=unseen").text) == [1, 2, 3, 4]
    assert not post(client, "/undo").get_json()["changed"]
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == FORMAT
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert not {"pictures_1", "events_1", "events"} & {row[0] for row in tables}


def test_a_newer_database_and_a_strangers_stay_as_they_are(tmp_path: Path) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    database = tmp_path / "newer.sqlite"
    open_app(folder, database=database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
        connection.commit()
    with pytest.raises(UserError, match=f"has format 99, this program writes {FORMAT}"):
        open_database(database)
    stranger = tmp_path / "stranger.sqlite"
    with closing(sqlite3.connect(stranger)) as connection:
        connection.execute("CREATE TABLE accounts (name TEXT)")
        connection.commit()
    before = stranger.read_bytes()
    with pytest.raises(UserError, match="a database of another program"):
        open_database(stranger)
    assert stranger.read_bytes() == before


def test_many_apps_that_start_at_once_make_one_database(
    tmp_path: Path, where: dict[str, str]
) -> None:
    folder = make_collection(tmp_path / "pets", 1)
    database = where.get("database") or tmp_path / "one.sqlite"
    _, one = open_app(folder, database=database)
    _, other = open_app(folder, database=database)
    assert ids_in(one.get("/").text) == ids_in(other.get("/").text) == [1, 2]
