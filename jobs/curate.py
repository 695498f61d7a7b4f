"""Curate pictures in the browser: python jobs/curate.py PICTURES... [SAMPLES...]

Look through collections and sample sets, rank, tag and merge pictures, say which to keep, and
freeze those as a revision that `prepare` reads. Everything is recorded the moment it is said; the
same command goes on from there.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from curation_app.opening import kind_of
from curation_app.server import ServeSettings, serve
from jobs.cli import run_verb
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurateConfig:
    """What to curate."""

    collection: tuple[Path, ...] = ()
    """Folders of class folders (cat/1.png), folders with metadata.jsonl, sample sets; may stand
    first, without the flag's name."""

    def __post_init__(self) -> None:
        for folder in self.collection:
            kind_of(folder)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurateFlags:
    """What to curate, and where the app listens."""

    config: CurateConfig = dataclasses.field(default_factory=CurateConfig)
    serve: ServeSettings = dataclasses.field(default_factory=ServeSettings)
    dry_run: bool = False
    """Print the config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """The `menagerie curate` command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and not arguments[0].startswith("-"):
        arguments.insert(0, "--collection")
    return run_verb(VERB, arguments)


def _run(flags: CurateFlags) -> None:
    serve(flags.config.collection, flags.serve)


VERB = Verb(name="curate", description=__doc__ or "", flags=CurateFlags, run=_run)


if __name__ == "__main__":
    sys.exit(main())
