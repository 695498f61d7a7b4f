"""Passwords: which are taken, how they are kept, and how fast they can be tried.

After some failures each further attempt has to wait, twice as long every time. Waits are counted by
name and by address, and kept in the database. They end: and who has logged in from an address
before is held up there by failures from that address alone, so that strangers cannot lock anybody
out. `--add-admin`, on the computer that serves, works always.
"""

import contextlib
import dataclasses
import functools
import getpass
import math
import os
import secrets
import sys
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Engine

from core.errors import UserError
from curation_app.records import Curator
from curation_app.store import accounts
from curation_app.store.engine import open_database, writing
from curation_app.wording import MAX_NAME, check_name
from curation_app.workspace import DATABASE

if TYPE_CHECKING:
    from curation_app.server import ServeSettings

MIN_PASSWORD = 10
MAX_PASSWORD = 1000
PASSWORD_VARIABLE = "MENAGERIE_PASSWORD"
LOOPBACK = ("127.0.0.1", "::1")
_PATIENCE_S = 10.0

_hasher = PasswordHasher()
# A hash takes 64 MiB and all of a core: many who log in at once wait for each other.
_hashing = threading.Semaphore(2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Throttle:
    """How many failures are free, and how long the waits become."""

    free: int
    longest_s: float
    within_s: float
    """Failures older than this do not count."""

    def wait_s(self, failed: int, since_s: float) -> float:
        """Seconds until the next attempt, when the last of these failures was so long ago."""
        if failed < self.free:
            return 0.0
        whole = min(2.0 ** min(failed - self.free + 1, 60), self.longest_s)
        # A clock that was set back makes nobody wait longer.
        return min(whole, max(0.0, whole - since_s))


BY_NAME = Throttle(free=5, longest_s=300, within_s=accounts.FAILURES_LAST_S)
BY_ADDRESS = Throttle(free=20, longest_s=900, within_s=3600)
"""More are free, as many people may share one address."""


class LoginRefusedError(UserError):
    """A wrong password, or one that came too soon."""

    def __init__(self, message: str, wait_s: int = 0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def check_password(password: str, name: str) -> str:
    """A password as it is hashed; UserError when it is too easy to guess."""
    password = unicodedata.normalize("NFC", password)
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise UserError(
            f"the password has {len(password)} characters: {MIN_PASSWORD} to {MAX_PASSWORD} are "
            "allowed, such as four words that nobody else would put together"
        )
    if len(password.casefold().replace(name.casefold(), "")) < MIN_PASSWORD // 2:
        raise UserError("the password is little more than the name: choose another one")
    return password


def hash_password(password: str) -> str:
    """What is kept of a password."""
    with _turn():
        return _hasher.hash(password)


def log_in(engine: Engine, name: str, password: str, address: str) -> Curator:
    """The curator of this name and password; LoginRefusedError when that is wrong, or too soon.

    The attempt counts as failed from the start: of many that are sent at the same moment, no more
    are looked at than of those sent one by one.
    """
    name = _tidy(name)
    with writing(engine) as connection:
        accounts.lock_attempts(connection)
        wait_s = _wait_s(connection, name, address)
        if wait_s > 0:
            raise LoginRefusedError(
                f"Too many attempts: wait {_words(wait_s)}, then try again", math.ceil(wait_s)
            )
        attempt = accounts.begin_attempt(connection, name, address)
        found = accounts.password_of(connection, name)
    if not _is_right(found[1] if found else None, password) or found is None:
        raise LoginRefusedError("Name or password is wrong: try again")
    curator, stored = found
    newer = hash_password(_normal(password)) if _hasher.check_needs_rehash(stored) else None
    with writing(engine) as connection:
        accounts.attempt_succeeded(connection, attempt)
        if newer is not None:
            accounts.rehash(connection, curator.id, stored, newer)
    return curator


def add_admin(folders: Sequence[Path], settings: "ServeSettings") -> None:
    """Make the administrator that the settings name, or give a new password to one of that name.

    The password is asked for, or read from the environment. This is the way back in, too, when
    nobody remembers a password: it makes the account active, and its waits end.
    """
    name = check_name(settings.add_admin or "", "name")
    engine = open_database(_database(folders, settings))
    try:
        with engine.connect() as connection:
            known = accounts.named(connection, name)
        stored = hash_password(check_password(_ask(name), name))
        with writing(engine) as connection:
            if known is None:
                accounts.add_curator(connection, name, "admin", stored)
            else:
                accounts.change_curator(
                    connection, known.id, role="admin", password=stored, active=True
                )
            accounts.forget_failures(connection, name)
    finally:
        engine.dispose()
    before = f" (before: {known.role})" if known else ""
    print(f"{name} is an administrator with this password{before}: start the app with --share")


def _database(folders: Sequence[Path], settings: "ServeSettings") -> Path | str:
    given = settings.database_url or settings.database
    if given is not None:
        return given
    if not folders:
        raise UserError("no collection is named: name the one that is shared, or its --database")
    if not folders[0].is_dir():
        raise UserError(f"there is no folder {folders[0]}: name the collection that is shared")
    return folders[0].resolve() / DATABASE


def _ask(name: str) -> str:
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UserError(
            f"there is no terminal to ask for the password of {name!r}: set {PASSWORD_VARIABLE}"
        )
    password = getpass.getpass(f"password for {name}: ")
    if getpass.getpass("once more: ") != password:
        raise UserError("the two passwords differ: run the command again")
    return password


def _wait_s(connection: Connection, name: str, address: str) -> float:
    failures = accounts.failures
    days_s = BY_NAME.within_s
    if address in LOOPBACK or accounts.is_known(connection, name, address):
        both = failures(connection, name=name, address=address, within_s=days_s)
        return BY_NAME.wait_s(*both)
    named = failures(connection, name=name, within_s=days_s)
    there = failures(connection, address=address, within_s=BY_ADDRESS.within_s)
    return max(BY_NAME.wait_s(*named), BY_ADDRESS.wait_s(*there))


def _words(wait_s: float) -> str:
    if wait_s > 90:
        return f"{math.ceil(wait_s / 60)} minutes"
    return f"{math.ceil(wait_s)} second{'s' if wait_s > 1 else ''}"


def _is_right(stored: str | None, password: str) -> bool:
    """Takes as long for a name that nobody has."""
    nobodys = _nobodys()
    with _turn():
        try:
            return _hasher.verify(stored or nobodys, _normal(password)) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


@functools.cache
def _nobodys() -> str:
    return hash_password(secrets.token_hex(16))


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    if not _hashing.acquire(timeout=_PATIENCE_S):
        raise LoginRefusedError("Too many people log in at this moment: try again", 1)
    try:
        yield
    finally:
        _hashing.release()


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)[: MAX_PASSWORD + 1]


def _tidy(name: str) -> str:
    """A name as it may be on record: whatever people typed, it is looked up."""
    normal = unicodedata.normalize("NFC", " ".join(name.split()))
    return "".join(character for character in normal if character.isprintable())[:MAX_NAME]
