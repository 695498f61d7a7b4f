"""Verbs as a person runs them, and programs in a Python of their own."""

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


def trouble_of(program: str, *arguments: object) -> str:
    """Run a program in a fresh Python; what it complained of, "" when it ended well."""
    asked = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr or f"exit code {done.returncode}" if done.returncode else ""
