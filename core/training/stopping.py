"""Signals become wishes to stop, which the training grants at a step's end, after a checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What a person, a scheduler or a launcher sends before it ends a process; the later, the more it
says (SIGUSR2 is submitit's "requeue me"), and the more it counts when several come."""


class Stopped(KeyboardInterrupt):
    """The training stopped because a signal asked for it; run it again to go on from there."""

    def __init__(self, signal_number: int, step: int) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"stopped by {name} after step {step}")
        self.signal_number = signal_number
        """The signal, the same in all processes, whichever of them it came to."""
        self.step = step
        """Steps done and saved; 0 also where it had not begun yet."""


class StopWish:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self._asked: set[int] = set()

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Note a signal (this is its handler)."""
        self._asked.add(number)

    def __call__(self) -> int:
        """How urgent the wish is: 0 for none, else 1 + the place of the signal in STOP_SIGNALS."""
        return max((STOP_SIGNALS.index(s) + 1 for s in STOP_SIGNALS if s in self._asked), default=0)


def signal_of(urgency: int) -> int:
    """The signal behind an urgency above 0."""
    return int(STOP_SIGNALS[urgency - 1])


@contextlib.contextmanager
def stop_wishes() -> Iterator[StopWish]:
    """Collect the stop signals instead of ending by them; outside the main thread, none comes."""
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.signal(number, wish.ask) for number in STOP_SIGNALS}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
