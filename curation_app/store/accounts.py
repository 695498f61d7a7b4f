"""Who may do what, and the attempts to log in."""

import time
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, or_, select, text, update

from core.errors import UserError
from curation_app.records import ROLES, Curator
from curation_app.store.collections import now
from curation_app.store.migrations import LOCAL_CURATOR
from curation_app.store.schema import attempts, curators

_COLUMNS = [curators.c[name] for name in ("id", "name", "role", "active", "generation")]
FAILURES_LAST_S = 24 * 3600
"""How long a failed attempt is remembered."""
_ADDRESSES_LAST_S = 30 * 24 * 3600


def local_curator(connection: Connection) -> Curator:
    """Who acts where nobody logs in."""
    found = select(*_COLUMNS).where(curators.c.name == LOCAL_CURATOR)
    return _curator(connection.execute(found).one())


def curator(connection: Connection, curator_id: int) -> Curator | None:
    """A curator by id."""
    found = connection.execute(select(*_COLUMNS).where(curators.c.id == curator_id)).first()
    return None if found is None else _curator(found)


def all_curators(connection: Connection) -> list[Curator]:
    """Everybody on record, sorted by name."""
    return [
        _curator(row) for row in connection.execute(select(*_COLUMNS).order_by(curators.c.name))
    ]


def named(connection: Connection, name: str) -> Curator | None:
    """A curator by name."""
    found = connection.execute(select(*_COLUMNS).where(curators.c.name == name)).first()
    return None if found is None else _curator(found)


def password_of(connection: Connection, name: str) -> tuple[Curator, str] | None:
    """A curator who can log in, and the hash of the password."""
    found = connection.execute(
        select(*_COLUMNS, curators.c.password).where(
            curators.c.name == name, curators.c.password.is_not(None), curators.c.active
        )
    ).first()
    return None if found is None else (_curator(found), str(found.password))


def add_curator(connection: Connection, name: str, role: str, password: str) -> None:
    """Add a curator with the hash of a password; UserError when the name is taken.

    Names that differ in capitals alone would be taken for each other.
    """
    _check_role(role)
    _lock(connection, curators)
    taken = connection.execute(select(curators.c.name)).scalars()
    if name.casefold() in {other.casefold() for other in taken}:
        raise UserError(f"there is a curator {name!r} already: take another name")
    values = {"name": name, "role": role, "password": password, "active": True, "at": now()}
    connection.execute(insert(curators).values(values))


def change_curator(
    connection: Connection,
    curator_id: int,
    *,
    role: str | None = None,
    password: str | None = None,
    active: bool | None = None,
) -> Curator:
    """Change a curator, whose sessions and script tokens end; without a change, they only end.

    UserError when no administrator would be left. Who acts where nobody logs in stays as it is.
    """
    values: dict[str, Any] = {}
    if role is not None:
        values["role"] = _check_role(role)
    if password is not None:
        values["password"] = password
    if active is not None:
        values["active"] = active
    _lock(connection, curators)
    same = (curators.c.id == curator_id, curators.c.name != LOCAL_CURATOR)
    connection.execute(
        update(curators).where(*same).values(generation=curators.c.generation + 1, **values)
    )
    changed = connection.execute(select(*_COLUMNS).where(*same)).first()
    if changed is None:
        raise UserError("there is no such curator: reload the page")
    if not has_admin(connection):
        raise UserError("this is the last administrator: make another one first")
    return _curator(changed)


def rehash(connection: Connection, curator_id: int, old: str, new: str) -> None:
    """Write the same password's new hash, unless the password was changed meanwhile."""
    same = (curators.c.id == curator_id, curators.c.password == old)
    connection.execute(update(curators).where(*same).values(password=new))


def has_admin(connection: Connection) -> bool:
    """Whether anybody who can log in may change curators."""
    found = select(func.count()).where(
        curators.c.role == "admin", curators.c.active, curators.c.password.is_not(None)
    )
    return bool(connection.execute(found).scalar())


def lock_attempts(connection: Connection) -> None:
    """Let nobody else attempt to log in before this transaction ends, so that each is counted."""
    _lock(connection, attempts)


def begin_attempt(connection: Connection, name: str, address: str) -> int:
    """Put an attempt to log in on record, as one that failed until it has succeeded; its id."""
    at_s = time.time()
    failed, old_s = attempts.c.succeeded.is_(False), attempts.c.at_s
    connection.execute(
        delete(attempts).where(
            or_(failed & (old_s < at_s - FAILURES_LAST_S), old_s < at_s - _ADDRESSES_LAST_S)
        )
    )
    values = {"name": name, "address": address, "succeeded": False, "at_s": at_s}
    result = connection.execute(insert(attempts).values(values).returning(attempts.c.id))
    return int(result.scalar_one())


def attempt_succeeded(connection: Connection, attempt_id: int) -> None:
    """The attempt gave the right password; its address is known from now on."""
    connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(succeeded=True))


def is_known(connection: Connection, name: str, address: str) -> bool:
    """Whether this curator has logged in from this address lately."""
    found = select(func.count()).where(
        attempts.c.name == name, attempts.c.address == address, attempts.c.succeeded
    )
    return bool(connection.execute(found).scalar())


def failures(
    connection: Connection, *, name: str | None = None, address: str | None = None, within_s: float
) -> tuple[int, float]:
    """How many attempts failed lately, and how many seconds ago the last one did.

    Of a name, those since it last succeeded; of an address alone, all: whoever guesses may have an
    account too.
    """
    same = [] if name is None else [attempts.c.name == name]
    same += [] if address is None else [attempts.c.address == address]
    at_s = time.time()
    found = select(func.count(), func.max(attempts.c.at_s)).where(
        *same, attempts.c.succeeded.is_(False), attempts.c.at_s > at_s - within_s
    )
    if name is not None:
        succeeded = select(func.coalesce(func.max(attempts.c.id), 0)).where(
            *same, attempts.c.succeeded
        )
        found = found.where(attempts.c.id > succeeded.scalar_subquery())
    number, last_s = connection.execute(found).one()
    return int(number), at_s - (last_s or 0.0)


def forget_failures(connection: Connection, name: str) -> None:
    """Let a curator log in without waiting."""
    connection.execute(
        delete(attempts).where(attempts.c.name == name, attempts.c.succeeded.is_(False))
    )


def _lock(connection: Connection, table: Table) -> None:
    """Let no other transaction write to a table; SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))


def _check_role(role: str) -> str:
    if role not in ROLES:
        raise UserError(f"the role is {role!r}: one of {', '.join(ROLES)}")
    return role


def _curator(row: Any) -> Curator:
    return Curator(
        id=row.id, name=row.name, role=row.role, active=row.active, generation=row.generation
    )
