"""Cancel jobs, and queue them again. All that is asked for is checked before anything is done."""

import contextlib
import math
import os
import signal
from collections.abc import Sequence

from core.errors import UserError
from jobs import scheduler
from jobs.overview.find import find, look_at
from jobs.overview.gather import gather
from jobs.overview.launched import Launched, read_launches
from jobs.overview.view import ALIVE, TaskView, View, own_process


def cancel(names: Sequence[str], *, yes: bool) -> int:
    """Cancel jobs, array tasks or whole launches; UserError when one of them has ended already."""
    if "all" in names:
        if len(names) > 1:
            raise UserError("--cancel all goes without other names")
        return _cancel_all(yes=yes)
    launches, _ = read_launches()
    chosen = [_living(name, launches, verb="cancel") for name in names]
    for view, jobs in chosen:
        _end(view, jobs)
    return 0


def requeue(names: Sequence[str]) -> int:
    """Queue jobs or array tasks again; UserError, in SLURM's words, when it refuses."""
    launches, _ = read_launches()
    chosen = []
    for name in names:
        launch, job = find(name, launches)
        if launch.kind != "slurm":
            raise UserError(f"{name} runs without SLURM: run its command again instead")
        _require_answer(look_at(launch)[1].silence)
        chosen.append((launch, [job] if job else [job for job, _ in launch.jobs]))
    for launch, jobs in chosen:
        for job in jobs:
            if complaint := scheduler.requeue(job):
                raise UserError(f"job {job} cannot be queued again: {complaint}")
            print(f"queued again: job {job} ({_title(launch)})")
    return 0


def _cancel_all(*, yes: bool) -> int:
    seen = gather(everything=False, stalled_after_s=math.inf)
    _require_answer(seen.silence)
    living = [view for view in seen.views if view.alive]
    if not living:
        raise UserError("nothing is running or waiting: nothing to cancel")
    if not yes:
        raise UserError(
            f"that would cancel {len(living)} launches "
            f"({', '.join(_title(view.launch) for view in living[:4])}"
            f"{', …' if len(living) > 4 else ''}): add --yes to do it"
        )
    for view in living:
        _end(view, _jobs(view.tasks))
    return 0


def _living(name: str, launches: list[Launched], *, verb: str) -> tuple[View, list[str]]:
    """The launch that is meant, and those of its jobs (or the task) that have not ended."""
    launch, job = find(name, launches)
    view, answer = look_at(launch)
    if launch.kind == "slurm":
        _require_answer(answer.silence)
    meant = [task for task in view.tasks if job in (None, task.job, task.id)]
    if not any(task.state in ALIVE for task in meant):
        how = "been cancelled" if {task.state for task in meant} == {"cancelled"} else "ended"
        raise UserError(f"{name} has {how} already ({_title(launch)}): nothing to {verb}")
    if job is not None and "_" in job:
        return view, [job]
    return view, _jobs(meant)


def _jobs(tasks: Sequence[TaskView]) -> list[str]:
    return sorted({task.job for task in tasks if task.state in ALIVE}, key=int)


def _end(view: View, jobs: Sequence[str]) -> None:
    launch = view.launch
    if launch.kind == "slurm":
        scheduler.cancel(jobs)
    elif process := own_process(launch):
        with contextlib.suppress(ProcessLookupError):  # it ended this moment
            os.kill(process, signal.SIGTERM)  # it passes the signal on, and they save
    else:
        raise UserError(f"{launch.name} runs on {launch.host}: cancel it there")
    print(f"cancelled: job {', '.join(jobs)} ({_title(launch)})")


def _title(launch: Launched) -> str:
    if launch.night is not None:
        return f"{launch.stage or launch.verb} of the night {launch.night.name}"
    return f"{launch.verb} {launch.out}"


def _require_answer(silence: str) -> None:
    if silence:
        raise UserError(f"SLURM cannot be asked ({silence}): try again when it answers")
