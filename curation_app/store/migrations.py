"""Bringing a database's tables up to date, one numbered step after another.

Format 1 was the first release's: SQLite, one collection, one curator, states alone.
"""

import datetime
import secrets
from collections.abc import Callable

from sqlalchemy import Connection, inspect, text

from core.errors import UserError
from curation_app.records import VOTES
from curation_app.store.schema import FORMAT, collections, curators, meta, metadata

APPLICATION_ID = 0x4D656E61
"""`Mena`, in the head of an SQLite file: no other program's database is ever written to."""
LOCAL_CURATOR = "local"
"""Who acts where nobody logs in."""


def bring_up_to_date(connection: Connection, shown: str) -> None:
    """Make the tables, or change those of an older format; `shown` names the database to people.

    UserError when it was written by a newer program.
    """
    if connection.dialect.name == "postgresql":  # of several that start, one does the work
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": APPLICATION_ID})
    found = _format(connection)
    if found > FORMAT:
        raise UserError(
            f"{shown} has format {found}, this program writes {FORMAT}: use the newer Menagerie, "
            "or name another --database"
        )
    if found == 0:
        _make(connection)
    for step in range(found, FORMAT) if found else ():
        _STEPS[step](connection)
    _set_format(connection)


def _format(connection: Connection) -> int:
    tables = inspect(connection).get_table_names()
    if "meta" not in tables:
        return 0
    value = connection.execute(text("SELECT value FROM meta WHERE key = 'format'")).scalar()
    return int(value) if value is not None else 1


def _make(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(meta.insert().values(key="secret", value=secrets.token_hex(32)))
    connection.execute(
        curators.insert().values(name=LOCAL_CURATOR, role="admin", active=True, at=_now())
    )


def _set_format(connection: Connection) -> None:
    connection.execute(meta.delete().where(meta.c.key == "format"))
    connection.execute(meta.insert().values(key="format", value=str(FORMAT)))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version = {FORMAT}")


def _from_1(connection: Connection) -> None:
    """Votes come along: pictures are found again by name and digest when they are opened."""
    secret = connection.execute(text("SELECT value FROM meta WHERE key = 'secret'")).scalar()
    connection.execute(text("ALTER TABLE pictures RENAME TO pictures_1"))
    connection.execute(text("ALTER TABLE events RENAME TO events_1"))
    for index in ("pictures_by_state", "pictures_by_label", "events_by_picture"):
        connection.execute(text(f"DROP INDEX IF EXISTS {index}"))
    connection.execute(text("DROP TABLE meta"))
    _make(connection)
    connection.execute(
        meta.update().where(meta.c.key == "secret").values(value=secret or secrets.token_hex(32))
    )
    # The collection's folder takes the place of this name when it is opened.
    connection.execute(collections.insert().values(root="", name="", kind="pictures", at=_now()))
    connection.execute(
        text(
            "INSERT INTO pictures (id, collection_id, name, sha256, stamp, item, present,"
            " first_label, label, width_px, height_px, size_bytes, dhash, facts, state)"
            " SELECT id, (SELECT id FROM collections), name, sha256, '', item, present,"
            " label, label, 0, 0, 0, 0, '{}', state FROM pictures_1"
        )
    )
    _copy_votes(connection)
    connection.execute(text("DROP TABLE events_1"))
    connection.execute(text("DROP TABLE pictures_1"))


def _copy_votes(connection: Connection) -> None:
    local = f"(SELECT id FROM curators WHERE name = '{LOCAL_CURATOR}')"
    connection.execute(
        text(
            "INSERT INTO actions (id, curator_id, kind, target_id, at)"
            f" SELECT id, {local}, CASE WHEN undoes IS NULL THEN 'state' ELSE 'undo' END,"
            " undoes, at FROM events_1 ORDER BY id"
        )
    )
    votes = ", ".join(repr(vote) for vote in VOTES)
    connection.execute(
        text(
            "INSERT INTO changes (action_id, picture_id, field, value)"
            " SELECT id, picture_id, 'state', state FROM events_1"
            f" WHERE undoes IS NULL AND state IN ({votes}) ORDER BY id"
        )
    )
    connection.execute(
        text("INSERT INTO undone SELECT undoes FROM events_1 WHERE undoes IS NOT NULL")
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


_STEPS: dict[int, Callable[[Connection], None]] = {1: _from_1}
