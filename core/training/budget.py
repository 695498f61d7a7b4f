"""A budget of wall-clock time: a training ends before it is over, with all that it learnt saved."""

import os
import time
from collections.abc import Callable
from pathlib import Path

_LEAST_S = 1.0
"""Kept for the last checkpoint and the exit before any was timed."""
_MARGIN = 1.5
"""A checkpoint may take this many times as long as the slowest so far."""


class Budget:
    """What is left of the time that this process may take, from its start on."""

    def __init__(self, hours: float | None, clock: Callable[[], float] | None = None) -> None:
        """hours: None = no end. clock: seconds that the process has lived; default: its own."""
        self._limit_s = None if hours is None else hours * 3600
        self._clock = clock or _clock_of_process()
        self._slowest: dict[str, float] = {}
        self._expected: dict[str, float] = {}

    @property
    def spent_s(self) -> float:
        """Seconds since the process began."""
        return self._clock()

    def lasted(self, what: str, seconds: float) -> None:
        """Note how long something took that may come again."""
        self._slowest[what] = max(seconds, self._slowest.get(what, 0.0))

    def slowest_s(self, what: str) -> float:
        """The longest that something took so far; before, what was expected, else 0."""
        return self._slowest.get(what, self._expected.get(what, 0.0))

    def expect(self, what: str, seconds: float) -> None:
        """Say how long something is likely to take that was never timed."""
        self._expected[what] = seconds

    def timed(self, what: str, work: Callable[[], object]) -> None:
        """Do something and note how long it took."""
        begun = time.perf_counter()
        work()
        self.lasted(what, time.perf_counter() - begun)

    def short_of(self, what: str) -> bool:
        """Whether there is no time left for one more of these, and a checkpoint after it."""
        if self._limit_s is None:
            return False
        saving = max(_LEAST_S, _MARGIN * self.slowest_s("checkpoint"))
        return self.spent_s + self.slowest_s(what) + saving > self._limit_s


def _clock_of_process() -> Callable[[], float]:
    """Seconds since the process began, imports and all; elsewhere than on Linux, since now."""
    begun = time.monotonic() - _age_s()
    return lambda: time.monotonic() - begun


def _age_s() -> float:
    try:
        text = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        ticks = int(text.rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0
