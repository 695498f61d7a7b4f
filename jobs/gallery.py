"""Make a static site of packs: python jobs/gallery.py PACK... --out SITE.

A carousel for each class, search, every ground, downloads. Any web server hosts the folder as it
is, and it opens from a disk; nothing is fetched from elsewhere.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError
from exporters.gallery.site import build_gallery
from jobs.cli import run_verb
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class GalleryConfig:
    """What the gallery shows."""

    packs: tuple[Path, ...] = ()
    """Packs, folders or zips; may stand first, without the flag's name."""
    title: str = "Menagerie"
    """The gallery's name."""

    def __post_init__(self) -> None:
        if not 0 < len(self.title) <= 200:
            raise UserError("title has to have 1 to 200 characters")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GalleryFlags:
    """What to show, and where the site goes."""

    config: GalleryConfig = dataclasses.field(default_factory=GalleryConfig)
    out: Path = Path("gallery")
    """Folder of the site; a gallery that is there is replaced."""
    dry_run: bool = False
    """Print the config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """The `menagerie gallery` command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and not arguments[0].startswith("-"):
        arguments.insert(0, "--packs")
    return run_verb(VERB, arguments)


def _run(flags: GalleryFlags) -> None:
    site = build_gallery(flags.config.packs, flags.out, title=flags.config.title)
    if not site.made:
        print(f"{site.folder} shows these packs already: nothing to do")
    print(f"gallery: {site.folder} ({site.packs:,} packs, {site.stickers:,} stickers)")
    for name in site.forbidden:
        print(f"licence: {name}: DO NOT REDISTRIBUTE: keep this gallery to yourself (see LICENSE)")
    print(f"next: open {site.folder / 'index.html'}, or copy the folder to any web server")


VERB = Verb(name="gallery", description=__doc__ or "", flags=GalleryFlags, run=_run)


if __name__ == "__main__":
    sys.exit(main())
