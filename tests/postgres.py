"""A PostgreSQL server of the tests' own, from Debian's package."""

import contextlib
import dataclasses
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.needs import missing

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Postgres:
    """A server that listens on a socket in a folder."""

    folder: Path

    def url(self, database: str) -> str:
        return f"postgresql://menagerie@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """A fresh database; its URL."""
        name = f"test_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextlib.contextmanager
def start_postgres() -> Iterator[Postgres]:
    """A server with its data in a folder of its own, as another user where this one is root."""
    programs = _programs()
    if programs is None:
        message = "PostgreSQL is not installed: apt-get install postgresql"
        missing(message)
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to be root
    # Not below pytest's own folder, which other users cannot enter; sockets need a short path too.
    with tempfile.TemporaryDirectory(prefix="menagerie-pg-") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        data, control = folder / "data", str(programs / "pg_ctl")

        def run(*command: str) -> None:
            subprocess.run(command, user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)

        run(str(programs / "initdb"), "-D", str(data), "-U", "menagerie", "-A", "trust", "-N")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        run(control, "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
        try:
            yield Postgres(folder)
        finally:
            run(control, "-D", str(data), "-m", "immediate", "stop")


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).parent if elsewhere else None
