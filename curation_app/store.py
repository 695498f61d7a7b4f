"""The curation database: votes are an append-only log, and states are its replay.

With `schema.py`, all of the SQL. What a method writes is on the disk when it returns.
"""

import contextlib
import dataclasses
import datetime
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from core.errors import UserError
from curation_app.records import STATES, Choice, Found, Page, Picture
from curation_app.schema import BUSY_S

# A vote that no undo has taken back.
_STANDING = "undoes IS NULL AND NOT EXISTS (SELECT 1 FROM events AS u WHERE u.undoes = events.id)"


class Store:
    """One connection to the database, for one thread; close it, or use it as a context."""

    def __init__(self, path: Path) -> None:
        """Open a database that `create_database` made; one that is gone is not made anew."""
        address = f"{path.absolute().as_uri()}?mode=rw"
        self._connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        # FULL: a commit is on the disk, also when the power fails.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def secret(self) -> str:
        """What forms must send back; it outlives restarts, so that open pages keep working."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
        return str(row[0])

    def digests(self) -> dict[str, tuple[str, str]]:
        """Stamp and SHA-256 of each picture that was there when the collection was last opened."""
        rows = self._connection.execute("SELECT name, stamp, sha256 FROM pictures WHERE present")
        return {row["name"]: (row["stamp"], row["sha256"]) for row in rows}

    def replace_pictures(self, found: Iterable[Found]) -> None:
        """Make the collection hold these; those that are gone keep their votes, out of sight."""
        with self._writing() as run:
            known = run("SELECT EXISTS (SELECT 1 FROM pictures)").fetchone()[0]
            run("UPDATE pictures SET present = 0 WHERE present = 1")
            old = run("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
            for picture in found:
                run(
                    "INSERT INTO pictures (name, sha256, label, stamp, item, present)"
                    " VALUES (:name, :sha256, :label, :stamp, :item, 1)"
                    " ON CONFLICT (name, sha256) DO UPDATE SET present = 1,"
                    " label = excluded.label, stamp = excluded.stamp, item = excluded.item",
                    dataclasses.asdict(picture),
                )
            shared = run(
                "SELECT EXISTS (SELECT 1 FROM pictures WHERE present AND id <= ?)", (old,)
            ).fetchone()[0]
            if known and not shared:
                raise UserError(
                    "the database belongs to another collection, as none of its pictures is here: "
                    "name another --database"
                )

    def picture(self, picture_id: int) -> Picture | None:
        """A picture that is in the collection now, or None."""
        row = self._connection.execute(
            "SELECT * FROM pictures WHERE id = ? AND present", (picture_id,)
        ).fetchone()
        return None if row is None else _picture(row)

    def page(self, choice: Choice, size: int) -> Page:
        """Up to `size` pictures after, or before, an id.

        Pages are keyed by id, not counted: votes that take pictures out of the filter shift none.
        """
        where, values = _where(choice)
        bound, order = "1", "ASC"
        if choice.before is not None:
            bound, order, values["id"] = "id < :id", "DESC", choice.before
        elif choice.after is not None:
            bound, values["id"] = "id > :id", choice.after
        rows = self._connection.execute(
            f"SELECT * FROM pictures WHERE {where} AND {bound} ORDER BY id {order} LIMIT :size",
            values | {"size": size},
        )
        pictures = sorted(map(_picture, rows), key=lambda picture: picture.id)
        if not pictures:
            return Page(pictures=[])
        ends = {"first": pictures[0].id, "last": pictures[-1].id}
        beyond = self._connection.execute(
            f"SELECT EXISTS (SELECT 1 FROM pictures WHERE {where} AND id < :first),"
            f" EXISTS (SELECT 1 FROM pictures WHERE {where} AND id > :last)",
            values | ends,
        ).fetchone()
        return Page(pictures=pictures, earlier=bool(beyond[0]), later=bool(beyond[1]))

    def labels(self) -> list[str]:
        """All classes, sorted."""
        rows = self._connection.execute("SELECT DISTINCT label FROM pictures WHERE present")
        return sorted(row["label"] for row in rows)

    def counts(self, label: str | None = None) -> dict[str, int]:
        """How many pictures, of one class or of all, are in each state."""
        where, values = _where(Choice(label=label))
        rows = self._connection.execute(
            f"SELECT state, count(*) FROM pictures WHERE {where} GROUP BY state", values
        )
        return dict.fromkeys(STATES, 0) | {row[0]: row[1] for row in rows}

    def kept(self) -> list[Picture]:
        """All pictures to keep, sorted by name."""
        rows = self._connection.execute(
            "SELECT * FROM pictures WHERE present AND state = 'keep' ORDER BY name"
        )
        return [_picture(row) for row in rows]

    def vote(self, picture_id: int, state: str) -> Picture | None:
        """Record a vote; None when there is no such picture.

        Saying again what already holds records nothing, so that a repeated request does no harm.
        """
        with self._writing() as run:
            now = self.picture(picture_id)
            if now is None or now.state == state:
                return now
            run(
                "INSERT INTO events (picture_id, state, at) VALUES (?, ?, ?)",
                (picture_id, state, _now()),
            )
        return dataclasses.replace(now, state=state)

    def undo(self, event_id: int) -> Picture | None:
        """Take a vote back: its picture returns to the state before; None when there is none.

        UserError when the picture was voted on since. Undoing twice is undoing once.
        """
        with self._writing() as run:
            row = run(
                "SELECT picture_id, EXISTS (SELECT 1 FROM events AS u WHERE u.undoes = events.id)"
                " AS undone FROM events WHERE id = ? AND undoes IS NULL",
                (event_id,),
            ).fetchone()
            now = None if row is None else self.picture(row["picture_id"])
            if now is None or row["undone"]:
                return now
            standing = run(
                "SELECT id, state FROM events"
                f" WHERE picture_id = ? AND {_STANDING} ORDER BY id DESC LIMIT 2",
                (now.id,),
            ).fetchall()
            if standing[0]["id"] != event_id:
                raise UserError(f"{now.name} was voted on since: reload the page")
            state = standing[1]["state"] if len(standing) > 1 else "unseen"
            run(
                "INSERT INTO events (picture_id, state, undoes, at) VALUES (?, ?, ?, ?)",
                (now.id, state, event_id, _now()),
            )
        return dataclasses.replace(now, state=state)

    def last_vote(self) -> int | None:
        """The vote that `undo` would take back first."""
        row = self._connection.execute(
            "SELECT events.id FROM events JOIN pictures ON pictures.id = picture_id"
            f" WHERE present AND {_STANDING} ORDER BY events.id DESC LIMIT 1"
        ).fetchone()
        return None if row is None else int(row[0])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """A transaction that holds the write lock from its first read on."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection.execute
        except BaseException:
            if self._connection.in_transaction:  # SQLite ends it itself when the disk is full
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _where(choice: Choice) -> tuple[str, dict[str, Any]]:
    """A filter as a condition and its parameters."""
    named = {"label": choice.label, "state": choice.state}
    values = {key: value for key, value in named.items() if value is not None}
    return " AND ".join(["present = 1", *(f"{key} = :{key}" for key in values)]), values


def _picture(row: sqlite3.Row) -> Picture:
    return Picture(**{field.name: row[field.name] for field in dataclasses.fields(Picture)})


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
