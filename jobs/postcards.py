"""Make postcards of animals: python jobs/postcards.py --samples SAMPLES_OR_PACK --out CARDS.

Picture, call and phrase together: front and back for print (PNG at 300 dpi and PDF, A6 with 3 mm of
bleed), and a page that plays; all cards as a small site that opens from a disk. The same command
makes only the cards that are missing.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from core.config import config_digest
from core.parts import make_everything
from core.report.page import many
from exporters.postcard.config import PostcardsConfig
from exporters.postcard.work import PostcardsWork
from jobs.cli import run_verb
from jobs.cluster import Cluster, ClusterFlags
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class PostcardsFlags:
    """Which cards to make, and where they go."""

    config: PostcardsConfig
    out: Path | None = None
    """Folder of the cards; default: postcards/<sample set or pack>-<config digest>."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and make postcards."""
    return run_verb(VERB, argv)


def _run(flags: PostcardsFlags) -> None:
    work = _parts(flags)
    if work.left_out:
        print(work.left_out)
    if work.finished():
        print(f"{work.folder} is finished already, from the same inputs: nothing to do")
    make_everything(work)
    print(f"postcards: {work.folder} ({many(work.count, 'card')}, listed in cards.json)")
    print(f"print: {work.folder / 'cards.pdf'} (A6 with 3 mm of bleed, front and back in turn)")
    if work.redistributable is not True:
        print("licence: unknown or restricted: DO NOT SEND these cards on before it is cleared")
    print(f"next: open {work.folder / 'index.html'}")


def _out(flags: PostcardsFlags) -> Path:
    name = flags.config.samples.resolve().stem
    return flags.out or Path("postcards") / f"{name}-{config_digest(flags.config)[:8]}"


def _parts(flags: PostcardsFlags) -> PostcardsWork:
    return PostcardsWork(flags.config, _out(flags))


def _check(flags: PostcardsFlags, cluster: Cluster) -> list[str]:
    """The pictures are readable, and every animal has its call and phrase."""
    work = _parts(flags)
    return [f"postcards: {many(work.count, 'card')}", *filter(None, [work.left_out])]


VERB = Verb(
    name="postcards",
    description=__doc__ or "",
    flags=PostcardsFlags,
    run=_run,
    out=_out,
    parts=_parts,
    check=_check,
)

if __name__ == "__main__":
    sys.exit(main())
