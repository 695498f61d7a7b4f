"""Verbs as a person runs them, for tests of the whole road."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def command(verb: str, *flags: object) -> list[str]:
    """The command line of a verb."""
    return [sys.executable, str(ROOT / "jobs" / f"{verb}.py"), *map(str, flags)]


def job(verb: str, *flags: object) -> str:
    """Run a verb to its end, which must be a good one; what it printed."""
    done = subprocess.run(command(verb, *flags), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
