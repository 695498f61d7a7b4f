"""Every run and night at a glance: python jobs/status.py [--watch].

From SLURM, the launch folders and what the jobs have made so far: what has not ended, and the last
24 hours. It also shows a job's log, cancels jobs and queues them again.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from typing import Annotated, ClassVar

import tyro

from core.errors import UserError
from jobs.cli import run_verb
from jobs.overview.gather import gather
from jobs.overview.screen import Screen
from jobs.overview.steer import cancel, requeue
from jobs.overview.table import as_json, table
from jobs.overview.tail import follow, show_log
from jobs.verbs import Verb

_EVERY_S = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatusFlags:
    """What to show, or what to do to which job."""

    config: ClassVar[None] = None  # no result depends on a glance
    dry_run: ClassVar[bool] = False
    everything: Annotated[bool, tyro.conf.arg(name="all")] = False
    """Show all launches there are."""
    json: bool = False
    """Print all facts as JSON, for programs."""
    watch: float | None = None
    """Show it again every so many seconds (5 when no number is given), until Ctrl-C."""
    check: bool = False
    """Exit with 1 when something shown has failed and was not launched again: for cron."""
    stalled_minutes: float = 10.0
    """A job that runs and has made nothing, and said nothing, for so long is called stalled."""
    log: str | None = None
    """Show the log of this job: its number, 12_3 for an array task, or a launch's name."""
    follow: bool = False
    """Go on showing the log until the job has ended."""
    rank: int | None = None
    """The process whose log it is; default: the first, or the first that failed."""
    lines: int = 40
    """Lines of the log."""
    cancel: tuple[str, ...] = ()
    """Cancel these jobs, array tasks or launches; `all` with --yes."""
    yes: bool = False
    """Do cancel all."""
    requeue: tuple[str, ...] = ()
    """Stop these jobs or array tasks, and queue them again: they go on where they were."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and show, follow, cancel or requeue."""
    return run_verb(VERB, _with_interval(sys.argv[1:] if argv is None else argv))


def _with_interval(arguments: Sequence[str]) -> list[str]:
    """`--watch` without a number gets one."""
    found = list(arguments)
    for place in [k for k, word in enumerate(found) if word == "--watch"][::-1]:
        following = found[place + 1 : place + 2]
        if not following or following[0].startswith("-"):
            found.insert(place + 1, f"{_EVERY_S:g}")
    return found


def _command(flags: StatusFlags) -> int:
    _require_sane(flags)
    if flags.log is not None:
        if flags.follow:
            return follow(flags.log, rank=flags.rank, lines=flags.lines)
        return show_log(flags.log, rank=flags.rank, lines=flags.lines)
    if flags.cancel:
        return cancel(flags.cancel, yes=flags.yes)
    if flags.requeue:
        return requeue(flags.requeue)
    if flags.watch is not None:
        return _watch(flags, flags.watch)
    return _show(flags)


def _require_sane(flags: StatusFlags) -> None:
    asked = {
        "--log": flags.log is not None,
        "--cancel": bool(flags.cancel),
        "--requeue": bool(flags.requeue),
        "--watch": flags.watch is not None,
        "--check": flags.check,
    }
    if len(both := [flag for flag, given in asked.items() if given]) > 1:
        raise UserError(f"{both[0]} and {both[1]} exclude each other: give one of them")
    if flags.log is None and (flags.follow or flags.rank is not None):
        raise UserError("--follow and --rank are about a log: give --log JOB")
    for name, least in (("watch", 0.5), ("lines", 1), ("stalled_minutes", 0.1)):
        value = getattr(flags, name)
        if value is not None and value < least:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} is {value:g}; it must be {least:g} or more")
    if flags.json and flags.watch is not None:
        raise UserError("--json and --watch exclude each other: give one of them")


def _show(flags: StatusFlags) -> int:
    seen = gather(everything=flags.everything, stalled_after_s=flags.stalled_minutes * 60)
    if flags.json:
        print(as_json(seen))
    else:
        print(table(seen, Screen.of_stdout()))
    return 1 if flags.check and seen.troubled else 0


def _watch(flags: StatusFlags, every_s: float) -> int:
    """Draw until Ctrl-C, which is how one leaves it; what was seen last stays on the terminal."""
    page = ""
    try:
        with Screen.of_stdout().watching():
            while True:
                begun = time.monotonic()
                seen = gather(
                    everything=flags.everything, stalled_after_s=flags.stalled_minutes * 60
                )
                screen = Screen.of_stdout()  # as wide as it is now
                screen.draw(page := table(seen, screen))
                time.sleep(max(0.1, every_s - (time.monotonic() - begun)))
    except KeyboardInterrupt:
        if sys.stdout.isatty():
            print(page)
        return 0


VERB = Verb(
    name="status",
    description=__doc__ or "",
    flags=StatusFlags,
    run=lambda flags: None,
    command=_command,
)

if __name__ == "__main__":
    sys.exit(main())
