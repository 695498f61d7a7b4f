"""Write what became of a night on one page: python jobs/digest.py --night nights/2026-11-21.

digest.html is one file with everything in it: the verdict, stages and their jobs, counts held
against the night before, and the new pictures. digest.json says the same to programs.
"""

import dataclasses
import errno
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.files import read_json, write_bytes, write_json
from jobs.cli import run_verb
from jobs.nights.folder import Night
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class DigestConfig:
    """Which night."""

    night: Path
    """The night's folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DigestFlags:
    """Which night to look at."""

    config: DigestConfig
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and write the digest."""
    return run_verb(VERB, argv)


def write_digest(night: Night) -> dict[str, Any]:
    """Write digest.html and digest.json, also onto a full disk; the facts."""
    from jobs.nights.digestpage import render_digest
    from jobs.nights.facts import night_facts
    from jobs.nights.pictures import new_pictures

    facts = night_facts(night) | {"written": time.time(), "resume": resume_command(night)}
    pictures = new_pictures(night, [pack["folder"] for pack in facts["counts"]["packs"]])

    def write_page() -> None:
        try:
            write_bytes(night.page, render_digest(facts, pictures).encode())
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            write_bytes(night.page, render_digest(facts, []).encode())

    night.in_any_case(write_page)
    night.in_any_case(lambda: write_json(night.facts_path, facts))
    return facts


def resume_command(night: Night) -> str:
    """What to type to go on with a night."""
    plan = night.record()["plan_file"]
    return shlex.join(["python", "jobs/nightly.py", "--plan", plan, "--night", night.date])


def _run(flags: DigestFlags) -> str:
    night = Night(flags.config.night.absolute())
    facts = write_digest(night)
    verdict = facts["verdict"]
    for row in facts["stages"]:
        print(f"{row['name']:>20}  {row['state']:<13}  {row['words']}".rstrip())
    print(f"digest: {night.page}")
    next_ = f"next: {facts['resume']}" if verdict["code"] else f"next: open {night.page}"
    return f"{night.date}: {verdict['words']}\n{next_}"


def _finished(flags: DigestFlags) -> bool:
    """Whether the page tells of a published night: then nothing can change any more."""
    night = Night(flags.config.night)
    if not (night.facts_path.exists() and night.page.exists()):
        return False
    return bool(read_json(night.facts_path)["verdict"]["state"] == "published")


VERB = Verb(
    name="digest",
    description=__doc__ or "",
    flags=DigestFlags,
    run=_run,
    out=lambda flags: Night(flags.config.night).page,
    makes_file=True,
    finished=_finished,
)

if __name__ == "__main__":
    sys.exit(main())
