"""What a launch's processes wrote of themselves, folded into one word per job or array task."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

Word = Literal["", "running", "queued again", "stopping", "done", "failed", "cancelled"]


@dataclasses.dataclass(kw_only=True)
class Told:
    """The journal of one job or array task."""

    state: Word = ""
    """As far as it knows: a process that was killed writes no last word."""
    nodes: set[str] = dataclasses.field(default_factory=set)
    """Of the last attempt."""
    attempt: int = 0
    """How often it was queued again."""
    error: str = ""
    """Why the last attempt failed, or, since the next has begun, why the one before it ended."""
    begun: float | None = None
    """When the last attempt began."""
    last: float = 0.0
    """When the last line was written."""
    pids: list[int] = dataclasses.field(default_factory=list)
    """Processes of the last attempt."""
    _current: int | None = None
    _done: int = 0
    _named: bool = False
    """Whether `error` is of this attempt."""

    def add(self, entry: dict[str, Any]) -> None:
        """One more line of the journal."""
        self.last = max(self.last, float(entry["time"]))
        if step := _STEPS.get(entry["event"]):
            step(self, entry)

    def _started(self, entry: dict[str, Any]) -> None:
        attempt = entry.get("attempt", 0)
        if attempt != self._current:  # else another process of the same attempt
            self.nodes, self.pids, self.begun = set(), [], float(entry["time"])
            self._done, self._named, self.state = 0, False, "running"
            self._current, self.attempt = attempt, max(self.attempt, int(attempt))
        self.nodes |= {str(entry["node"])} if entry.get("node") else set()
        self.pids += [entry["pid"]] if isinstance(entry.get("pid"), int) else []

    def _finished(self, entry: dict[str, Any]) -> None:
        self._done += 1
        if self._done >= len(self.pids) and self.state == "running":
            self.state, self.error = "done", ""

    def _failed(self, entry: dict[str, Any]) -> None:
        if self.state == "running" or not self._named:
            self.error, self._named = str(entry.get("error", "")), True
        self.state = "failed"

    def _stopped(self, entry: dict[str, Any]) -> None:
        if self.state == "running":
            self.state = "stopping"

    def _requeued(self, entry: dict[str, Any]) -> None:
        self.state, self.attempt = "queued again", self.attempt + 1
        self.error, self._named = str(entry.get("cause", "")), True

    def _ended(self, entry: dict[str, Any]) -> None:
        from_outside = entry.get("cause") == "stopped from outside"
        if from_outside and not self._named:
            self.state = "cancelled"
            return
        self.state = "failed"
        if not from_outside:  # else a process has said why, and the others were stopped for it
            self.error, self._named = str(entry.get("cause", "")), True


_STEPS = {
    "started": Told._started,
    "done": Told._finished,
    "failed": Told._failed,
    "stopped": Told._stopped,
    "requeued": Told._requeued,
    "ended": Told._ended,
}


def fold(entries: Iterable[dict[str, Any]]) -> dict[str, Told]:
    """The journal's lines, in order of time, by job or array task."""
    told: dict[str, Told] = {}
    for entry in entries:
        told.setdefault(str(entry["job"]), Told()).add(entry)
    return told
