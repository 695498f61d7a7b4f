"""Fixtures that several packages' tests share."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Postgres, start_postgres


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pictures; without it the test skips — or, in CI, fails."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MENAGERIE_REAL_DATA", beside))
    if (folder / "README.md").is_file():
        return folder
    message = f"no real pictures at {folder}: set MENAGERIE_REAL_DATA to their folder"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own; without Debian's package the test skips, or in CI
    fails.
    """
    with start_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def where(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings that put the curation database onto SQLite, then onto PostgreSQL."""
    if request.param == "sqlite":
        return {}
    return {"database": request.getfixturevalue("postgres").new_database()}


@pytest.fixture(autouse=True)
def _no_app_stays_open() -> Iterator[None]:
    yield
    curating = sys.modules.get("tests.curating")  # most tests have nothing to do with it
    if curating is not None:
        curating.close_apps()
