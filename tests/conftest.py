"""Fixtures that several packages' tests share."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright, sync_playwright

from tests.needs import missing
from tests.postgres import Postgres, start_postgres

_LONGEST = ("tests/test_jobs_demo.py", "tests/cluster", "tests/test_jobs_photographs.py")
"""Where the longest tests are: begun first, side by side."""


def _run_together(nodeid: str) -> str:
    """Tests of a file, and all that use the one cluster, run in one process, one after another."""
    path = nodeid.partition("::")[0]
    return "tests/cluster" if path.startswith("tests/cluster/") else path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(_run_together(item.nodeid), len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How tests are dealt to processes."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _run_together(nodeid)

    config.option.loadscopereorder = False  # they are in order
    return ByFile(config, log)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pictures; without it the test skips — or, in CI, fails."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MENAGERIE_REAL_DATA", beside))
    if not (folder / "README.md").is_file():
        missing(f"no real pictures at {folder}: set MENAGERIE_REAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own; without Debian's package the test skips, or in CI
    fails.
    """
    with start_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives browsers: a process can run but one."""
    with sync_playwright() as driver:
        yield driver


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
