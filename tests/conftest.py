"""Fixtures that several packages' tests share."""

import os
from pathlib import Path

import pytest


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
