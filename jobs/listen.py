"""What does it sound like: python jobs/listen.py --audio FILE… --out DIR.

YAMNet hears each sound file: 521 categories, eight times a second. Each gets a folder with the
timeline as data, as a plot under the waveform and as a page that plays it, the class of ours that
it names, and a prompt for a picture. To draw that class: python jobs/sample.py --from-audio FILE.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from core.pretrained.listening.folder import ListenConfig, Listened, listen_to_files
from jobs.cli import run_verb
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListenFlags:
    """What to listen to, and where the timelines go."""

    config: ListenConfig
    out: Path = Path("heard")
    """Folder; each sound gets one of its name in it."""
    dry_run: bool = False
    """Print the full config and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and listen."""
    return run_verb(VERB, argv)


def _run(flags: ListenFlags) -> None:
    heard = listen_to_files(flags.config, flags.out)
    for one in heard:
        _report(one)
    if drawn := next((one for one in heard if one.named is not None), None):
        path = flags.config.audio[heard.index(drawn)]
        run = flags.config.run or "RUN"
        print(f"next: python jobs/sample.py --from-audio {path} --run {run}")


def _report(one: Listened) -> None:
    top = ", ".join(f"{heard.category} {heard.score:.2f}" for heard in one.timeline.top())
    print(f"{one.timeline.sound['name']}: {top or 'nothing was heard'}")
    print(f"  class: {one.named.label if one.named else 'none'}; prompt: {one.prompt or 'none'}")
    again = " (there already)" if one.reused else ""
    print(f"  page: {one.folder / 'timeline.html'}{again}")


VERB = Verb(
    name="listen",
    description=__doc__ or "",
    flags=ListenFlags,
    run=_run,
)

if __name__ == "__main__":
    sys.exit(main())
