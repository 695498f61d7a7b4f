"""How the processes of a training find each other, or learn who did not come."""

import contextlib
import dataclasses
import datetime
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch.distributed import (  # type: ignore[attr-defined]  # torch re-exports them untyped
    DistNetworkError,
    PrefixStore,
    Store,
    TCPStore,
)

from core.errors import UserError
from core.files import read_json, write_json
from core.training.stopping import Stopped, signal_of


class ProcessTrouble(RuntimeError):  # noqa: N818 - it says what happened, not whose error it is
    """Processes of a training cannot go on together; one line that names whom it is about.

    Nothing is wrong with the input: the same command goes on from the newest checkpoint.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Which process of how many this is, and where they meet."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Number among the processes of this machine: which GPU is its."""
    address: str = ""
    port: int = 0
    """Where rank 0 keeps the store of the meeting."""
    keeps_store: bool = False
    """Whether this process opens that store; torchrun's agent does it instead of rank 0."""
    attempt: str = "0"
    """Processes of other attempts are not ours."""
    node: str = ""
    """Name of this machine."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Place":
        """Read it as torchrun and accelerate set it; UserError when something is missing."""
        values = {name: environment.get(name, "") for name in _VARIABLES}
        if values["WORLD_SIZE"] in ("", "1"):
            return cls(local_rank=int(values["LOCAL_RANK"] or 0))
        missing = sorted(name for name, value in values.items() if not value)
        if missing:
            raise UserError(
                f"WORLD_SIZE is {values['WORLD_SIZE']}, but {', '.join(missing)} not set: "
                "start it with torchrun, accelerate launch, or --cluster"
            )
        rank = int(values["RANK"])
        agent = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        return cls(
            rank=rank,
            count=int(values["WORLD_SIZE"]),
            local_rank=int(values["LOCAL_RANK"]),
            address=values["MASTER_ADDR"],
            port=int(values["MASTER_PORT"]),
            keeps_store=rank == 0 and not agent,
            attempt=environment.get("MENAGERIE_ATTEMPT")
            or environment.get("TORCHELASTIC_RESTART_COUNT")
            or "0",
            node=environment.get("MENAGERIE_NODE") or socket.gethostname(),
        )

    @property
    def name(self) -> str:
        """This process as people know it."""
        return f"rank {self.rank} on {self.node} (pid {os.getpid()})"

    def marker(self, folder: Path) -> Path:
        """The file that says that this process started."""
        return _marker(folder, self.rank)


@dataclasses.dataclass(frozen=True)
class Meeting:
    """What a successful meeting leaves."""

    group_store: Store
    """For torch's process group."""
    watch_store: Store
    """Another connection, for `core.training.watch`."""
    names: list[str]
    """Each rank as people know it."""


def meet(place: Place, markers: Path, *, within_s: float, asked: Callable[[], int]) -> Meeting:
    """Wait until all processes are there.

    Raises ProcessTrouble naming who is missing after `within_s`, and Stopped as soon as `asked()`
    in any of those who are there.
    """
    marker = {"attempt": place.attempt, "name": place.name, "node": place.node, "time": time.time()}
    write_json(place.marker(markers), marker)
    wait = _Wait(place, markers, within_s, asked)
    group_store = _connect(place, wait, serve=place.keeps_store)
    store = _connect(place, wait, serve=False)
    try:
        names = _sign_in(place, store, wait)
    except (ProcessTrouble, Stopped) as end:
        _call_off(place, store, end)
        raise
    return Meeting(group_store, store, names)


def _connect(place: Place, wait: "_Wait", *, serve: bool) -> Store:
    while True:
        try:
            if not serve:
                # TCPStore would fill the log with warnings while nobody listens there.
                socket.create_connection((place.address, place.port), _PAUSE_S).close()
            store = TCPStore(
                place.address,
                place.port,
                is_master=serve,
                timeout=datetime.timedelta(seconds=5),
                wait_for_workers=False,
            )
        except (OSError, RuntimeError) as error:
            wait.for_more([0], str(error).partition("\n")[0])
            time.sleep(_PAUSE_S / 2)
        else:
            store.set_timeout(datetime.timedelta(seconds=300))
            return PrefixStore(f"menagerie/{place.attempt}", store)


def _sign_in(place: Place, store: Store, wait: "_Wait") -> list[str]:
    """Names of all processes, once all have signed."""
    signs = [f"sign/{rank}" for rank in range(place.count)]
    try:
        store.set(f"name/{place.rank}", place.name)
        store.set(signs[place.rank], "")
        for sign in signs:
            while not store.check([sign]):
                if store.check(["off"]):
                    raise _reason(json.loads(store.get("off")))
                wait.for_more([rank for rank, sign in enumerate(signs) if not store.check([sign])])
                time.sleep(_PAUSE_S)
        return [store.get(f"name/{rank}").decode() for rank in range(place.count)]
    except DistNetworkError as error:
        raise ProcessTrouble(f"rank 0 went away during the meeting: {error}") from error


def _call_off(place: Place, store: Store, end: Exception | Stopped) -> None:
    """Tell those who are there why nothing comes of it."""
    signal_number = end.signal_number if isinstance(end, Stopped) else 0
    with contextlib.suppress(RuntimeError):
        store.compare_set("off", "", json.dumps({"signal": signal_number, "why": str(end)}))
    if place.keeps_store:
        time.sleep(4 * _PAUSE_S)  # The store goes with this process.


def _reason(off: dict[str, Any]) -> Exception | Stopped:
    return Stopped(off["signal"], 0) if off["signal"] else ProcessTrouble(off["why"])


class _Wait:
    """How long to wait for the others, and what the markers say of those who did not come."""

    def __init__(
        self, place: Place, markers: Path, within_s: float, asked: Callable[[], int]
    ) -> None:
        self._place, self._markers, self._within_s = place, markers, within_s
        self._asked = asked
        self._deadline = time.monotonic() + within_s
        self._since = time.time() - within_s
        """Older markers are leftovers."""

    def for_more(self, absent: list[int], why: str = "") -> None:
        """Return if there is time to wait for the absent; else raise."""
        if urgency := self._asked():
            raise Stopped(signal_of(urgency), 0)
        if time.monotonic() > self._deadline:
            raise ProcessTrouble(
                f"not all processes met within {self._within_s:g} s: {self._who(absent)}; "
                f"the meeting is at {self._place.address}:{self._place.port}"
                + (f" ({why})" if why else "")
            )

    def _who(self, absent: list[int]) -> str:
        found = {rank: name for rank in absent if (name := self._started(rank))}
        never = [str(rank) for rank in absent if rank not in found]
        parts = [f"rank {', '.join(never)} never started"] if never else []
        return "; ".join([*parts, *(f"{name} started but did not come" for name in found.values())])

    def _started(self, rank: int) -> str | None:
        path = _marker(self._markers, rank)
        if not path.exists():
            return None
        marker = read_json(path)
        fresh = marker["attempt"] == self._place.attempt and marker["time"] >= self._since
        return str(marker["name"]) if fresh else None


_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_PAUSE_S = 0.5


def _marker(folder: Path, rank: int) -> Path:
    return folder / f"rank_{rank:05d}.json"
