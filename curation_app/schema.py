"""The tables of the curation database, and how it is made."""

import contextlib
import secrets
import sqlite3
from pathlib import Path

from core.errors import UserError

FORMAT = 1
"""Goes up whenever the tables change."""
BUSY_S = 15.0
"""How long to wait for another writer."""

_APPLICATION_ID = 0x4D656E61  # "Mena": no other program's database is ever written to

_STATEMENTS = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # What the collection held when it was last opened. Other bytes under the same name are another
    # picture: nobody has voted on those.
    """
    CREATE TABLE pictures (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        label TEXT NOT NULL,
        stamp TEXT NOT NULL,
        item TEXT NOT NULL,
        present INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'unseen'
            CHECK (state IN ('unseen', 'keep', 'maybe', 'reject')),
        UNIQUE (name, sha256)
    )
    """,
    "CREATE INDEX pictures_by_state ON pictures (present, state, id)",
    "CREATE INDEX pictures_by_label ON pictures (present, label, state, id)",
    # The truth: what was decided, in order. A picture's state is that of its last event.
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        picture_id INTEGER NOT NULL REFERENCES pictures (id),
        state TEXT NOT NULL CHECK (state IN ('unseen', 'keep', 'maybe', 'reject')),
        undoes INTEGER UNIQUE REFERENCES events (id),
        at TEXT NOT NULL
    )
    """,
    "CREATE INDEX events_by_picture ON events (picture_id, id)",
    """
    CREATE TRIGGER events_set_state AFTER INSERT ON events BEGIN
        UPDATE pictures SET state = NEW.state WHERE id = NEW.picture_id;
    END
    """,
    """
    CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events BEGIN
        SELECT RAISE(ABORT, 'events are append-only');
    END
    """,
    """
    CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events BEGIN
        SELECT RAISE(ABORT, 'events are append-only');
    END
    """,
)


def create_database(path: Path) -> None:
    """Make the database, or find it there; UserError when the file is something else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(_connect(path)) as connection:
            if _is_new(connection, path):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                if _is_new(connection, path):  # another process may have been faster
                    _create(connection)
                connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise UserError(
            f"{path} cannot be used as the curation database ({error}): name another --database"
        ) from None


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)


def _create(connection: sqlite3.Connection) -> None:
    for statement in _STATEMENTS:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('secret', ?)", (secrets.token_hex(32),))
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """UserError when it has tables, but not ours."""

    def pragma(name: str) -> int:
        return int(connection.execute(f"PRAGMA {name}").fetchone()[0])

    if pragma("schema_version") == 0:
        return True
    if pragma("application_id") != _APPLICATION_ID:
        raise UserError(f"{path} is a database of another program: name another --database")
    if pragma("user_version") != FORMAT:
        raise UserError(
            f"{path} has format {pragma('user_version')}, this program writes {FORMAT}: "
            "name another --database"
        )
    return False
