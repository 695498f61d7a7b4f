"""All launches together: which are shown, and what SLURM says of them, asked once."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jobs.overview.launched import Launched, read_launches
from jobs.overview.queued import Heard, Question
from jobs.overview.view import View, journal_of, look

RECENT_S = 24 * 3600.0
"""A launch that has ended is shown for so long."""
_MOST_JOBS = 10_000
"""Job numbers that fit into one command line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overview:
    """What there is to see."""

    views: tuple[View, ...]
    """The newest first."""
    hidden: int
    """Launches that have ended and are not recent."""
    silence: str
    """Why SLURM says nothing of its jobs; "" when it was asked, or there was nothing to ask."""
    complaints: tuple[str, ...]
    """Launch folders that could not be read."""

    @property
    def troubled(self) -> list[View]:
        """Launches of which something failed, and nothing newer makes the same."""
        return [view for view in self.views if view.troubled]


def gather(*, everything: bool, stalled_after_s: float) -> Overview:
    """All launches that have not ended and all recent ones, or all of them with `everything`."""
    launches, complaints = read_launches()
    since = time.time() - RECENT_S
    recent = {la.name for la in launches if everything or la.touched_since(since)}
    asked = Question(_ids(launches), _ids([la for la in launches if la.name in recent]))
    journals = {la.name: journal_of(la) for la in launches if la.name in recent}
    answer = asked.answer()
    queued = {h.id.split("_")[0]: h for h in answer.queue.values() if h.waits or h.runs}
    views = []
    for launch in launches:
        if launch.name not in recent and not _may_live(launch, queued, asked=not answer.silence):
            continue
        told = journals.get(launch.name) or journal_of(launch)
        view = look(launch, told, answer, stalled_after_s=stalled_after_s)
        if launch.name in recent or view.alive:
            views.append(view)
    return Overview(
        views=tuple(_related(views, launches)),
        hidden=len(launches) - len(views),
        silence=answer.silence,
        complaints=tuple(complaints),
    )


def _ids(launches: Sequence[Launched]) -> list[str]:
    jobs = [job for launch in launches if launch.kind == "slurm" for job, _ in launch.jobs]
    return jobs[:_MOST_JOBS]


def _may_live(launch: Launched, queued: Mapping[str, Heard], *, asked: bool) -> bool:
    """Whether an old launch may still have something to do, as far as the queue tells."""
    if launch.kind != "slurm" or not asked:
        return True
    heard = [queued[job] for job, _ in launch.jobs if job in queued]
    return any(one.is_of(launch.name) for one in heard)


def _related(views: Sequence[View], launches: Sequence[Launched]) -> Iterator[View]:
    """Views that know of each other: what was launched again, and what kept them from starting."""
    newest: dict[tuple[str, Path], Launched] = {}
    for launch in launches:
        newest.setdefault((launch.verb, launch.out), launch)
    of_job: dict[str, View] = {}
    for view in views:
        for job, _ in view.launch.jobs:
            of_job.setdefault(job, view)
    for view in views:
        later = newest[view.launch.verb, view.launch.out]
        yield dataclasses.replace(
            view,
            successor=None if later is view.launch or view.alive else later,
            blocker=_blocker(view, of_job),
        )


def _blocker(view: View, of_job: Mapping[str, View]) -> str:
    """The job that had to succeed first and did not, when that is why nothing began."""
    if view.began or not (view.state == "cancelled" or view.hopeless):
        return ""
    for job in view.launch.after:
        if job in of_job and of_job[job].state in ("failed", "lost", "cancelled"):
            return f"it needs job {job}, which {_ENDS[of_job[job].state]}"
    return ""


_ENDS = {"failed": "failed", "lost": "is lost", "cancelled": "was cancelled"}
