"""Who of a training's processes still lives, where each one is, and why one left.

A thread per process tells a store (which rank 0 keeps) every second that it lives and what it is
doing, and reads the same of the others. Only this thread talks to the store while training, so that
a store that does not answer can never block the training itself.
"""

import dataclasses
import json
import threading
import time

from torch.distributed import Store  # type: ignore[attr-defined]  # torch re-exports it untyped

_ROUNDS = 3
"""Rounds without a sign of life after which a process counts as silent."""
_FAREWELL_S = 10.0
"""Time that rank 0 leaves the others to read why it goes: the store goes with it."""


@dataclasses.dataclass(frozen=True)
class Departure:
    """Why a process left before the end."""

    rank: int
    kind: str
    """`user` for a UserError, `trouble` for what another process did, `bug` for the rest."""
    message: str


class Watch:
    """The thread, and what it saw last."""

    def __init__(self, store: Store, rank: int, names: list[str]) -> None:
        self.names = names
        """Each rank as people know it: `rank 1 on node2 (pid 7)`."""
        self.place = "the start"
        """What this process is doing, for the others' error messages."""
        self.departure: Departure | None = None
        """The first process that left early."""
        self.lost = ""
        """Why the store cannot be reached any more; empty while it can."""
        self._store, self._rank = store, rank
        self._others = [other for other in range(len(names)) if other != rank]
        # 500 processes that each read 500 signs of life would keep rank 0 busy: take turns.
        self._pause_s = 1.0 + len(names) / 100
        self._signs = [""] * len(names)
        self._moved = [time.monotonic()] * len(names)
        self._asked = time.monotonic()
        """When the store answered last."""
        self._rounds = 0
        self._leaving: Departure | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def quiet(self) -> list[int]:
        """Ranks that have given no sign of life for three rounds; a dead store is rank 0's."""
        since = time.monotonic() - _ROUNDS * self._pause_s
        if self.lost or self._asked < since:
            return [0] if self._rank else []
        return [other for other in self._others if self._moved[other] < since]

    def settled_quiet(self) -> list[int]:
        """`quiet`, when enough time has passed for a process that has just ended to be so."""
        # Its last sign may have come here a round late.
        until = time.monotonic() + (_ROUNDS + 1.5) * self._pause_s
        while time.monotonic() < until and not (self.lost or self.departure):
            time.sleep(0.05)
        return self.quiet()

    def place_of(self, rank: int) -> str:
        """What a process said last that it was doing."""
        return self._signs[rank].partition(" ")[2] or "the start"

    def leave(self, departure: Departure | None) -> None:
        """Tell the others, and end the thread (or leave it behind, if rank 0 does not answer)."""
        self._leaving = departure
        self._end.set()
        self._thread.join(2 * self._pause_s + (0 if self._rank else _FAREWELL_S))

    def _run(self) -> None:
        try:
            while not self._end.wait(self._pause_s):
                self._round()
            self._say_goodbye()
        except Exception as error:
            # DistNetworkError and its kin: rank 0, and with it the store, is gone.
            self.lost = str(error).partition("\n")[0] or type(error).__name__

    def _round(self) -> None:
        self._store.set(f"sign/{self._rank}", f"{self._rounds} {self.place}")
        values = self._store.multi_get([f"sign/{rank}" for rank in range(len(self.names))])
        for rank, value in enumerate(values):
            if value.decode() != self._signs[rank]:
                self._signs[rank], self._moved[rank] = value.decode(), time.monotonic()
        if self.departure is None and self._store.check(["departure"]):
            self.departure = Departure(**json.loads(self._store.get("departure")))
        self._rounds += 1
        self._asked = time.monotonic()

    def _say_goodbye(self) -> None:
        if self._leaving:
            self._store.compare_set("departure", "", json.dumps(dataclasses.asdict(self._leaving)))
        self._store.set(f"off/{self._rank}", "")
        until = time.monotonic() + _FAREWELL_S
        while self._rank == 0 and self._listening() and time.monotonic() < until:
            time.sleep(0.02)
            self._round()

    def _listening(self) -> bool:
        """Whether anyone is still there who has not said goodbye."""
        alive = set(self._others) - set(self.quiet())
        return not all(self._store.check([f"off/{other}"]) for other in alive)
