"""Give animals their words: python jobs/phrases.py --samples SAMPLES --out PHRASES.

One phrase for each picture of a sample set, or for classes of any name (--classes cat dog), in no
known language: by the embedded generator, or by an OpenAI-compatible endpoint (--base-url, --model;
the key comes from the environment). The same command asks only for what is missing.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from core.config import config_digest
from core.pretrained.phrases.config import Manners, PhrasesConfig
from core.pretrained.phrases.work import PhrasesWork, open_phrases
from jobs.cli import run_verb
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhrasesFlags:
    """What to make phrases for, and where they go."""

    config: PhrasesConfig
    out: Path | None = None
    """Folder of the phrases; default: phrases/<sample set or first class>-<config digest>."""
    manners: Manners = dataclasses.field(default_factory=Manners)
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and make phrases."""
    return run_verb(VERB, argv)


def _run(flags: PhrasesFlags) -> None:
    work = PhrasesWork(flags.config, _out(flags), flags.manners)
    begun_with = work.finished()
    try:
        work.make()
    finally:
        if requests := work.spending.requests:
            print(f"spent so far: {work.spending.cost:.4f} in {requests:,} requests")
    if begun_with:
        print(f"{work.folder} is finished already, from the same inputs: nothing to do")
    said = open_phrases(work.folder)
    (label, seed), phrase = next(iter(said.items()))
    print(f"phrases: {work.folder / 'phrases.json'} ({len(said):,}; {label} {seed}: {phrase})")
    print(f"next: open {work.folder / 'index.html'}")


def _out(flags: PhrasesFlags) -> Path:
    config = flags.config
    name = config.samples.name if config.samples else config.classes[0]
    return flags.out or Path("phrases") / f"{name}-{config_digest(config)[:8]}"


VERB = Verb(name="phrases", description=__doc__ or "", flags=PhrasesFlags, run=_run)

if __name__ == "__main__":
    sys.exit(main())
