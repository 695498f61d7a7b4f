"""Which job a person means: by number, by array task, by the launch's name."""

from core.errors import UserError
from jobs.overview.launched import Launched, read_launches
from jobs.overview.queued import Answer, Question
from jobs.overview.view import View, journal_of, look

_KNOWN = 6


def find(name: str, launches: list[Launched]) -> tuple[Launched, str | None]:
    """The launch, and its job or array task; None when the launch is named. UserError: no such."""
    for launch in launches:  # the newest first: job numbers come again
        if launch.name == name.rstrip("/").rpartition("/")[2]:
            return launch, None
        for job, count in launch.jobs:
            number, _, task = name.partition("_")
            if number != job or (task and not (task.isdigit() and int(task) < count)):
                continue
            if "_" in name and not task:
                continue
            return launch, f"{job}_{int(task)}" if task else job
    known = [", ".join(job for job, _ in launch.jobs) for launch in launches if launch.jobs]
    if not known:
        raise UserError(f"no job {name}: nothing was launched here")
    more = f" and {len(known) - _KNOWN} more (--all lists them)" if len(known) > _KNOWN else ""
    raise UserError(f"no job {name}; known are {', '.join(known[:_KNOWN])}{more}")


def read_and_find(name: str) -> tuple[Launched, str | None]:
    """`find` among all launches."""
    return find(name, read_launches()[0])


def look_at(launch: Launched) -> tuple[View, Answer]:
    """A launch as it is now."""
    jobs = [job for job, _ in launch.jobs] if launch.kind == "slurm" else []
    answer = Question(jobs, jobs).answer()
    return look(launch, journal_of(launch), answer, stalled_after_s=600.0), answer
