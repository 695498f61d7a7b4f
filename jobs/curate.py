"""Curate a collection in the browser: python jobs/curate.py PICTURES.

Look through the pictures, say which to keep, and freeze those as a revision that `prepare` reads.
Everything is recorded the moment it is said; the same command goes on from there.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError
from curation_app.server import ServeSettings, serve
from jobs.cli import run_verb
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurateConfig:
    """What to curate."""

    collection: Path
    """Folder of class folders (cat/1.png), or folder with metadata.jsonl; may stand first, without
    the flag's name."""

    def __post_init__(self) -> None:
        if not self.collection.is_dir():
            raise UserError(
                f"there is no folder {self.collection}: name one with class folders (cat/1.png), "
                "or one with metadata.jsonl"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurateFlags:
    """What to curate, and where the app listens."""

    config: CurateConfig
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
