"""What a verb is: its flags, how it runs in place, and how it is split for a cluster."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from core.parts import Parts
from jobs.cluster import Cluster


class Flags(Protocol):
    """What every job's flags have."""

    @property
    def config(self) -> Any:
        """All that the result depends on."""

    @property
    def dry_run(self) -> bool:
        """Print the config and the plan, and stop."""


F = TypeVar("F", bound=Flags)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verb(Generic[F]):
    """One verb of the command line."""

    name: str
    description: str
    flags: type[F]
    run: Callable[[F], str | None]
    """Do all of it in this process; may return a closing line, printed last. On a cluster each
    process of a training runs it."""
    command: Callable[[F], int] | None = None
    """Does everything after parsing, launching too, and returns the exit code; instead of `run`."""
    default: Callable[[Sequence[str]], F] | None = None
    """Values that the flags start from, given the arguments (for presets)."""
    out: Callable[[F], Path] | None = None
    """What the job makes; None for a verb that no cluster runs."""
    makes_file: bool = False
    """Whether `out` is a file, not a folder."""
    parts: Callable[[F], Parts] | None = None
    """The work's parts, for verbs that run as arrays."""
    many_processes: bool = False
    """Whether one job may be several processes on several nodes (training)."""
    finished: Callable[[F], bool] | None = None
    """Whether there is nothing left to do, for verbs without parts."""
    steps_done: Callable[[F], int] | None = None
    """How far it is, in units that rise, for verbs without parts."""
    check: Callable[[F, Cluster], list[str]] | None = None
    """Check the inputs and predict how it will go: lines of the plan. UserError when it cannot
    work."""
    checks_in_place: bool = False
    """Whether a dry run in this process tells those lines, too."""
