"""Opening the database: SQLite in a file by default, PostgreSQL by URL."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from core.errors import UserError
from curation_app.store.migrations import APPLICATION_ID, bring_up_to_date

BUSY_S = 15.0
"""How long to wait for another writer."""
_POOL = 12
_turns: WeakKeyDictionary[Engine, threading.Lock] = WeakKeyDictionary()


def open_database(database: Path | str) -> Engine:
    """Open the database of a path (SQLite) or a URL (`postgresql://…`), with tables up to date.

    UserError when it cannot be opened, or belongs to another program.
    """
    url = _url(database)
    shown = url.render_as_string(hide_password=True) if url.host else url.database
    try:
        if url.get_backend_name() == "sqlite" and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = _engine(url)
        with writing(engine) as connection:
            bring_up_to_date(connection, str(shown))
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UserError(
            f"{shown} cannot be used as the curation database ({reason}): "
            "name another --database or --database-url"
        ) from None
    return engine


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that, on SQLite, holds the write lock from its first read on.

    Threads wait in line for it here: SQLite itself has waiting ones sleep, each longer and longer.
    """
    turn = _turns.setdefault(engine, threading.Lock()) if engine.name == "sqlite" else None
    held = turn is not None and turn.acquire(timeout=BUSY_S)
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection
    finally:
        if turn is not None and held:
            turn.release()


def _url(database: Path | str) -> URL:
    if isinstance(database, Path):
        return URL.create("sqlite", database=str(database.absolute()))
    try:
        url = make_url(database)
    except ArgumentError:
        raise UserError(
            "the database URL cannot be read: give one like postgresql://user@host/name"
        ) from None
    kind = url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise UserError(f"the database URL names {kind!r}: allowed are postgresql and sqlite")
    return url.set(drivername="postgresql+psycopg") if kind == "postgresql" else url


def _engine(url: URL) -> Engine:
    # The connection used last has the tables at hand.
    engine = create_engine(
        url,
        pool_size=_POOL,
        max_overflow=_POOL,
        pool_use_lifo=True,
        pool_pre_ping=bool(url.host),
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # transactions begin as _begin_sqlite says
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    _refuse_strangers(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a commit is on the disk, also when the power fails.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -8000")


def _refuse_strangers(connection: sqlite3.Connection) -> None:
    """Before anything is written: another program's database stays as it is."""
    has_tables = connection.execute("PRAGMA schema_version").fetchone()[0]
    if has_tables and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is a database of another program")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
