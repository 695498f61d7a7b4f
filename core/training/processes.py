"""The processes of one training: how they meet, add up, agree, and end with a reason.

The place of each comes from the environment, as torchrun and accelerate set it: RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR, MASTER_PORT. MENAGERIE_ATTEMPT (the same in all of them, another in every
attempt) keeps leftovers of an earlier attempt apart; MENAGERIE_NODE names the machine in messages.

Nothing here waits for ever. Waits come in slices of a second, between which signals are seen, and
end with ProcessTrouble, which names whom they waited for. After ProcessTrouble the process should
end by `os._exit`: collectives may be pending in native threads that Python would wait for.
"""

import contextlib
import dataclasses
import datetime
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor
from torch import distributed as dist
from torch.distributed import HashStore, PrefixStore, Store  # type: ignore[attr-defined]  # untyped

from core.errors import UserError, machine_trouble
from core.training.meeting import Place, ProcessTrouble, meet
from core.training.watch import Departure, Watch

_SLICE_S = 1.0
_CLOSING_S = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patience:
    """How long processes wait for one another."""

    rendezvous_s: float = 300.0
    """For all to come at the start."""
    stall_s: float = 600.0
    """For the others to come to the same point of a step."""

    @property
    def alone_s(self) -> float:
        """For what rank 0 does alone (checkpoints, held-out losses, sample grids, the model), as
        long as it gives signs of life."""
        return max(6 * self.stall_s, 3600.0)


class Processes:
    """All processes of a training, seen from one of them; alone, nothing here costs anything."""

    def __init__(
        self, place: Place, device: torch.device, patience: Patience, watch: Watch | None
    ) -> None:
        self.rank, self.count, self.device = place.rank, place.count, device
        self._patience, self._watch = patience, watch
        self._flat: _Flat | None = None
        self._data: Any = None
        """For tensors of the device. NCCL's watchdog ends the process when its limit is over."""
        self._control: Any = None
        """For flags and messages, over gloo also on GPUs, which need not be waited for then."""
        if watch:
            # Their own limits lie beyond ours, which can name who is missing.
            self._data = dist.new_group(timeout=_seconds(patience.stall_s + 60))
            self._control = dist.new_group(backend="gloo", timeout=_seconds(patience.alone_s + 60))

    @classmethod
    def alone(cls, device: torch.device) -> "Processes":
        """One process that has nobody to wait for."""
        return cls(Place(), device, Patience(), None)

    @property
    def first(self) -> bool:
        """Whether this is rank 0: the one that writes and speaks."""
        return self.rank == 0

    def at(self, place: str) -> None:
        """Say what this process does, for messages about it."""
        if self._watch:
            self._watch.place = place

    def vote(self, value: Callable[[], int]) -> Callable[[], int]:
        """Begin to agree on the largest `value()`; call the result to have it.

        Alone, that is `value` itself, asked at the end.
        """
        if self.count == 1:
            return value
        ballot = torch.tensor(value())
        work = dist.all_reduce(ballot, dist.ReduceOp.MAX, group=self._control, async_op=True)

        def outcome() -> int:
            self._wait(work, self._patience.stall_s)
            return int(ballot)

        return outcome

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put into each tensor its sum over all processes; always the same tensors' shapes.

        One flat buffer of one layout from the first step on. DistributedDataParallel would lay out
        its buckets anew after the first step, so that a resumed run of three or more processes
        would sum in another order than an undisturbed one: its weights would differ in the last
        bits. (With find_unused_parameters=True it keeps its layout, but warns.) Overlapping with
        the backward pass gains nothing worth it here: the starter preset's 8.8 M parameters on two
        CPU processes, 0.25 s a step either way.
        """
        if self.count == 1:
            return
        self._flat = self._flat or _Flat(tensors)
        self._flat.fill(tensors)
        self._complete(dist.all_reduce(self._flat.buffer, group=self._data, async_op=True))
        self._flat.empty_into(tensors)

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Put rank 0's values into the tensors of all processes."""
        if self.count > 1:
            for tensor in tensors:
                self._complete(dist.broadcast(tensor, 0, group=self._data, async_op=True))

    def from_first(self, work: Callable[[], Any]) -> Any:
        """Run `work` in rank 0 only; what it gives (a JSON value) comes back in all.

        So does a UserError. The others wait, for an hour at least.
        """
        if self.count == 1:
            return work()
        if self.first:
            try:
                outcome = {"value": work()}
            except Exception as error:
                if mistake := _mistake(error):
                    self._send({"mistake": mistake})
                raise
            self._send(outcome)
        else:
            outcome = self._receive()
        if "mistake" in outcome:
            raise UserError(outcome["mistake"])
        return outcome["value"]

    def _send(self, message: dict[str, Any]) -> None:
        data = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
        self._broadcast(torch.tensor(len(data)))
        self._broadcast(data)

    def _receive(self) -> dict[str, Any]:
        length = torch.tensor(0)
        self._broadcast(length)
        data = torch.empty(int(length), dtype=torch.uint8)
        self._broadcast(data)
        message: dict[str, Any] = json.loads(data.numpy().tobytes())
        return message

    def _broadcast(self, tensor: Tensor) -> None:
        work = dist.broadcast(tensor, 0, group=self._control, async_op=True)
        self._wait(work, self._patience.alone_s)

    def _complete(self, work: dist.Work | None) -> None:
        """Have a collective of the device done before what follows on the device."""
        assert work is not None
        if self.device.type == "cuda":
            work.wait()  # The stream waits, not this thread.
        else:
            self._wait(work, self._patience.stall_s)

    def _wait(self, work: Any, at_most_s: float) -> None:
        """Wait for a gloo collective, in slices.

        They are counted, not timed: a job that is suspended and resumed has not waited meanwhile.
        """
        assert self._watch is not None
        slices = 0
        while True:
            try:
                work.wait(_seconds(_SLICE_S))
                return
            except RuntimeError as error:
                if work.is_completed():
                    raise self._trouble("the connection broke") from error
            slices += 1
            if self._watch.departure or self._watch.lost:
                raise self._trouble("the connection broke")
            stalled = slices >= self._patience.stall_s and self._watch.quiet()
            if stalled or slices >= at_most_s:
                raise self._trouble(f"nothing came for {slices} s")

    def _trouble(self, what: str) -> Exception:
        """The reason why the processes cannot go on, named as well as it is known."""
        watch = self._watch
        assert watch is not None
        silent = watch.settled_quiet()
        if (left := watch.departure) is not None:
            if left.kind == "user":
                return UserError(left.message)
            if left.kind == "trouble":
                return ProcessTrouble(left.message)
            return ProcessTrouble(f"{watch.names[left.rank]} failed: {left.message}")
        behind = [
            rank
            for rank in range(self.count)
            if rank != self.rank and watch.place_of(rank) != watch.place
        ]
        state = "gives no sign of life" if silent else "lives but does not come further"
        named = "; ".join(
            f"{watch.names[rank]} {state}, last heard of at {watch.place_of(rank)}"
            for rank in silent or behind
        )
        return ProcessTrouble(
            f"rank {self.rank} cannot go on at {watch.place}, {what}: "
            f"{named or 'all processes live, so the network between them does not carry'}"
        )


class _Flat:
    """One buffer for many tensors, each laid out as the tensor itself is in memory."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        ends = list(itertools.accumulate((t.numel() for t in tensors), initial=0))
        self.buffer = torch.empty(ends[-1], device=tensors[0].device)
        self._views = [
            self.buffer.as_strided(t.shape, t.stride(), begin)
            for begin, t in zip(ends, tensors, strict=False)
        ]

    def fill(self, tensors: Sequence[Tensor]) -> None:
        torch._foreach_copy_(self._views, list(tensors))

    def empty_into(self, tensors: Sequence[Tensor]) -> None:
        torch._foreach_copy_(list(tensors), self._views)


@contextlib.contextmanager
def joined(
    markers: Path, *, cpu: bool, patience: Patience, asked: Callable[[], int]
) -> Iterator[Processes]:
    """Meet the other processes (if the environment says that there are any), and part at the end.

    markers: a folder that all see; each process leaves a small file in it before it looks for the
    others. Raises ProcessTrouble naming who did not come, and Stopped when `asked` meanwhile.
    """
    place = Place.from_environment()
    if place.count == 1:
        with _accelerate_alone():
            yield Processes.alone(_device(cpu))
        return
    meeting = meet(place, markers, within_s=patience.rendezvous_s, asked=asked)
    watch = Watch(meeting.watch_store, place.rank, meeting.names)
    departure: Departure | None = None
    try:
        _open_group(place, meeting.group_store, patience, cpu=cpu)
        yield Processes(place, _device(cpu), patience, watch)
        watch.place = "the end"
    except Exception as error:
        departure = _departure(place.rank, error)
        raise
    finally:
        watch.leave(departure)
        place.marker(markers).unlink(missing_ok=True)
        if departure is None or departure.kind != "trouble":
            _close_group()


def _device(cpu: bool) -> torch.device:
    """Accelerate's choice: the GPU of LOCAL_RANK among those that are visible, or what there is."""
    return torch.device("cpu") if cpu else PartialState().device


@contextlib.contextmanager
def _accelerate_alone() -> Iterator[None]:
    """Under `torchrun --nproc-per-node 1`, spare accelerate the rendezvous of one process."""
    if "LOCAL_RANK" not in os.environ or dist.is_initialized():
        yield
        return
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _open_group(place: Place, store: Store, patience: Patience, *, cpu: bool) -> None:
    """Gloo between CPUs; NCCL between GPUs, with gloo beside it."""
    gpu = torch.cuda.is_available() and not cpu
    if gpu:
        torch.cuda.set_device(place.local_rank % torch.cuda.device_count())
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo",
            store=PrefixStore("group", store),
            rank=place.rank,
            world_size=place.count,
            timeout=_seconds(patience.rendezvous_s),
        )
    except RuntimeError as error:
        raise ProcessTrouble(
            f"{place.name} met the others but cannot connect to them ({error}); where the machine "
            "has several networks, name the right one in GLOO_SOCKET_IFNAME"
        ) from error


def _close_group() -> None:
    """Close it, unless that takes long: then something is still pending that may never end."""
    closing = threading.Thread(target=dist.destroy_process_group, daemon=True)
    if dist.is_initialized():
        closing.start()
        closing.join(_CLOSING_S)


def _departure(rank: int, error: Exception) -> Departure:
    first_line = f"{type(error).__name__}: {error}".partition("\n")[0]
    if isinstance(error, ProcessTrouble):
        return Departure(rank, "trouble", str(error))
    mistake = _mistake(error)
    return Departure(rank, "user" if mistake else "bug", mistake or first_line)


def _seconds(value: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=value)


def _mistake(error: Exception) -> str | None:
    """What the user can mend, in words; None for a bug."""
    return str(error) if isinstance(error, UserError) else machine_trouble(error)
