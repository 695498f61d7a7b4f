"""What the table says of one launch, cell by cell."""

import dataclasses
import datetime
import os
import time
from pathlib import Path

from jobs.overview.pace import Pace
from jobs.overview.screen import printable
from jobs.overview.view import View

_BAR = 8
STYLES = {
    "running": "cyan",
    "queued again": "yellow",
    "pending": "yellow",
    "failed": "red",
    "lost": "red",
    "cancelled": "dim",
    "done": "green",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detail:
    """How much a row tells, where there is little room."""

    bars: bool = True
    all_counts: bool = True
    """Also how many tasks are done, which progress tells too."""


def row(view: View, detail: Detail) -> dict[str, str]:
    """A launch's cells by column."""
    # What a later launch makes too says nothing of this one any more.
    pace = view.pace if view.successor is None else Pace()
    speed = pace.images_per_s
    return {
        "WHAT": what(view),
        "JOB": jobs(view),
        "STATE": state(view, all_counts=detail.all_counts),
        "NODE": printable(" ".join(view.nodes)),
        "PROGRESS": progress(pace, bars=detail.bars),
        "IMAGES/S": "" if speed is None else f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}",
        "TIME": when(view),
        "AGAIN": f"{view.requeues}×" if view.requeues else "",
    }


def what(view: View) -> str:
    """The verb and what it makes; the stage of a night, below the night."""
    launch = view.launch
    if launch.night is not None:
        return f"  {printable(launch.stage or launch.verb)}"
    return printable(f"{launch.verb} {short(launch.out)}")


def short(path: Path) -> str:
    """A path as a person would type it here."""
    for base, sign in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path != base and path.is_relative_to(base):
            return sign + str(path.relative_to(base))
    return str(path)


def jobs(view: View) -> str:
    """The first job's number, and how many more there are."""
    ids = [job for job, _ in view.launch.jobs]
    return ids[0] + (f" +{len(ids) - 1}" if len(ids) > 1 else "") if ids else "-"


def state(view: View, *, all_counts: bool) -> str:
    """The state; of an array, how many tasks are in which."""
    total, counts = len(view.tasks), view.counts
    if view.successor is not None:
        again = view.successor.jobs
        return f"{view.state}, again as {again[0][0]}" if again else f"{view.state}, again"
    reason = f" ({printable(view.reason)})" if view.reason else ""
    if total < 2:
        return view.state + reason
    if len(counts) == 1:
        return f"{total} {view.state}{reason}"
    order = ("done", "running", "queued again", "pending", "cancelled", "lost", "failed")
    shown = [s for s in order if s in counts and (all_counts or s != "done")]
    return ", ".join(f"{counts[s]} {s}" for s in shown) + f" of {total}"


def progress(pace: Pace, *, bars: bool) -> str:
    """How much of it is there."""
    done, total = pace.done, pace.total
    if done is None:
        return ""
    if not total:
        return f"{done:,} {pace.unit}" if done else ""
    filled = _BAR if done >= total else min(_BAR - 1, -(-done * _BAR // total))
    bar = "━" * filled + "─" * (_BAR - filled) + " " if bars else ""
    return f"{bar}{done:,}/{total:,}"


def when(view: View) -> str:
    """Time left of what runs, time waited of what waits, time since what has ended."""
    now = time.time()
    if view.state == "running":
        if view.pace.total and view.pace.done == view.pace.total:
            return "finishing"
        if view.pace.seconds_left is not None:
            return f"{span(view.pace.seconds_left)} left"
        return f"limit in {span(view.limit_s)}" if view.limit_s is not None else ""
    if view.alive:
        since = max((t.last for t in view.tasks), default=view.launch.time)
        return f"waits {span(now - since)}"
    return f"{span(now - view.ended)} ago" if view.ended is not None else ""


def span(seconds: float) -> str:
    """A span of time in two figures, as people say it."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def remarks(view: View) -> list[tuple[str, str]]:
    """Lines below the row, each with its style; none when it was launched again."""
    lines: list[tuple[str, str]] = []
    if view.successor is not None:
        return lines
    if view.stalled_s is not None:
        lines.append((f"stalled: nothing new for {span(view.stalled_s)}", "red"))
    elif view.quiet:
        names = ", ".join(view.quiet[:4]) + (", …" if len(view.quiet) > 4 else "")
        lines.append((f"nothing new from {names}, while others go on", "yellow"))
    if view.hopeless:
        blocker = view.blocker or "what it waits for has failed"
        lines.append((f"never starts: {blocker}; cancel it", "red"))
    elif view.blocker:
        lines.append((view.blocker, "dim"))
    if view.error:
        words, bad = printable(view.error), "failed" in view.counts
        if view.alive and not bad:
            words = f"before: {words}"
        more = sum(1 for task in view.tasks if task.state == "failed") - 1
        words += f" (and {more} more)" if more > 0 else ""
        lines.append((words, "red" if bad or view.state == "lost" else "dim"))
    return lines


def style(view: View) -> str:
    """The colour of a launch's state."""
    if view.successor is not None:
        return "dim"
    return "red" if view.troubled else STYLES[view.state]


def clock() -> str:
    """The time now."""
    return datetime.datetime.now().strftime("%a %d %b %H:%M:%S")


def program() -> str:
    """How this command is called here."""
    return "python jobs/status.py" if Path("jobs/status.py").exists() else "menagerie status"


def line_about_silence(silence: str) -> str:
    """Why SLURM says nothing."""
    where = f" (SLURM_CONF={os.environ['SLURM_CONF']})" if "SLURM_CONF" in os.environ else ""
    return f"SLURM was not asked: {printable(silence + where)}; this is what the launch folders say"
