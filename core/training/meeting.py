"""How the processes of a training find each other, or learn who did not come."""

import dataclasses
import datetime
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from torch.distributed import (  # type: ignore[attr-defined]  # torch re-exports them untyped
    DistStoreError,
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

    Raises ProcessTrouble naming who is missing after `within_s`, and Stopped as soon as `asked()`.
    """
    begun = time.time()
    marker = {"attempt": place.attempt, "name": place.name, "node": place.node, "time": begun}
    write_json(place.marker(markers), marker)
    deadline = time.monotonic() + within_s

    def go_on_waiting(absent: Callable[[], str]) -> None:
        if urgency := asked():
            raise Stopped(signal_of(urgency), 0)
        if time.monotonic() > deadline:
            raise ProcessTrouble(f"not all processes met within {within_s:g} s: {absent()}")

    started = _Started(place, markers, since=begun - within_s)
    stores: list[Store] = []
    while len(stores) < 2:
        try:
            stores.append(_store(place, serve=place.keeps_store and not stores))
        except RuntimeError as error:
            why = str(error).partition("\n")[0]
            go_on_waiting(lambda why=why: started.describe([0], why))  # type: ignore[misc]
            time.sleep(0.2)
    stores[1].set(f"name/{place.rank}", place.name)
    stores[1].set(f"sign/{place.rank}", "")
    wanted = [f"sign/{rank}" for rank in range(place.count)]
    while True:
        try:
            stores[1].wait(wanted, _SLICE)
            break
        except DistStoreError:
            go_on_waiting(
                lambda: started.describe(
                    [rank for rank in range(place.count) if not stores[1].check([wanted[rank]])]
                )
            )
        except RuntimeError as error:
            raise ProcessTrouble(f"rank 0 went away during the meeting: {error}") from None
    names = stores[1].multi_get([f"name/{rank}" for rank in range(place.count)])
    return Meeting(stores[0], stores[1], [name.decode() for name in names])


_VARIABLES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_SLICE = datetime.timedelta(seconds=1)


def _store(place: Place, *, serve: bool) -> Store:
    store = TCPStore(
        place.address,
        place.port,
        is_master=serve,
        timeout=datetime.timedelta(seconds=5),
        wait_for_workers=False,
    )
    store.set_timeout(datetime.timedelta(seconds=300))
    return PrefixStore(f"menagerie/{place.attempt}", store)


def _marker(folder: Path, rank: int) -> Path:
    return folder / f"rank_{rank:05d}.json"


@dataclasses.dataclass(frozen=True)
class _Started:
    """What the markers say of processes that did not come."""

    place: Place
    markers: Path
    since: float
    """Older markers are leftovers."""

    def describe(self, ranks: list[int], why: str = "") -> str:
        """Which of the ranks never started, and which started but did not come."""
        found = {rank: name for rank in ranks if (name := self._name(rank))}
        never = [str(rank) for rank in ranks if rank not in found]
        parts = [f"{name} started but could not be met" for name in found.values()]
        if never:
            parts.insert(0, f"rank {', '.join(never)} never started")
        where = f"the meeting is at {self.place.address}:{self.place.port}"
        return "; ".join([*parts, f"{where} ({why})" if why else where])

    def _name(self, rank: int) -> str | None:
        path = _marker(self.markers, rank)
        if not path.exists():
            return None
        marker = read_json(path)
        fresh = marker["attempt"] == self.place.attempt and marker["time"] >= self.since
        return str(marker["name"]) if fresh else None
