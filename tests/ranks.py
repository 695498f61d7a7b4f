"""Real processes of one training: forked from a warm parent, meeting over gloo on a free port."""

import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tqdm import tqdm

CONTEXT = multiprocessing.get_context("forkserver")
"""Importing torch takes seconds; forked from its server, a process starts in a moment."""
CONTEXT.set_forkserver_preload(["tests.ranks", "core.training.loop"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mishap:
    """A signal that a rank sends to itself in the middle of a step (from 0) or an evaluation."""

    rank: int
    signal: signal.Signals
    step: int
    evaluating: bool = False


@dataclasses.dataclass(frozen=True)
class End:
    """How a rank ended."""

    kind: str
    """`done`, the name of an exception, or `killed`."""
    message: str = ""
    signal: int = 0
    """Of Stopped."""
    step: int = 0
    """Of Stopped."""
    said: str = ""
    """What it wrote to stdout and stderr."""


class Ranks:
    """The ranks of one attempt; leaving the context ends those that still live."""

    def __init__(self, count: int, run: Path, *, absent: tuple[int, ...] = (), **work: Any) -> None:
        self._folder = run.with_name(f"{run.name}-ends-{time.monotonic_ns()}")
        self._folder.mkdir(parents=True)
        self.begun = time.monotonic()
        place = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        self.processes: dict[int, BaseProcess] = {}
        for rank in set(range(count)) - set(absent):
            mine = {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            mine["MENAGERIE_NODE"] = f"node{rank}"
            self.processes[rank] = CONTEXT.Process(
                target=_rank, args=(self._folder / str(rank), mine, run, work)
            )

    def __enter__(self) -> "Ranks":
        for process in self.processes.values():
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.join()
            process.close()

    def ends(self, *, within_s: float = 60) -> dict[int, End]:
        """Wait for all to end; how they did. A rank that has not by then counts as `waiting`."""
        deadline = time.monotonic() + within_s
        for process in self.processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
        return {rank: self._end(rank) for rank in self.processes}

    def _end(self, rank: int) -> End:
        path = self._folder / str(rank)
        said = path.with_suffix(".log").read_text(errors="replace")
        if self.processes[rank].exitcode is None:
            return End("waiting", said=said)
        if not path.with_suffix(".json").exists():
            return End("killed", said=said)
        return End(**json.loads(path.with_suffix(".json").read_text()), said=said)


def train_in(count: int, run: Path, **work: Any) -> dict[int, End]:
    """One attempt in `count` processes; how each ended."""
    with Ranks(count, run, **work) as ranks:
        return ranks.ends()


def free_port() -> str:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _rank(path: Path, place: dict[str, str], run: Path, work: dict[str, Any]) -> None:
    os.environ.update(place)
    log = os.open(path.with_suffix(".log"), os.O_WRONLY | os.O_CREAT, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    warnings.simplefilter("error")
    tqdm.set_lock(threading.RLock())  # Its own, between processes, leaks when a rank is killed.
    end = _train(run, int(place["RANK"]), **work)
    path.with_suffix(".json").write_text(json.dumps({k: v for k, v in end.items() if v}))
    if end["kind"] == "ProcessTrouble":
        os._exit(1)


def _train(
    run: Path,
    rank: int,
    *,
    data: Path,
    mishaps: tuple[Mishap, ...] = (),
    patience: dict[str, float] | None = None,
    accumulate: int = 1,
    poisoned_step: int | None = None,
    **changes: object,
) -> dict[str, Any]:
    import torch

    from core.data.pinned import open_pinned
    from core.training.loop import train
    from core.training.processes import Patience
    from core.training.stopping import Stopped
    from tests.tiny import tiny_config

    torch.set_num_threads(1)
    config = tiny_config(data=data, **changes)
    try:
        with _poison(poisoned_step), _mishap(next((m for m in mishaps if m.rank == rank), None)):
            train(
                config,
                open_pinned(data),
                run,
                cpu=True,
                accumulate=accumulate,
                patience=Patience(**(patience or {})),
            )
    except Stopped as stop:
        return {"kind": "Stopped", "signal": stop.signal_number, "step": stop.step}
    except BaseException as error:
        traceback.print_exc()
        return {"kind": type(error).__name__, "message": str(error)}
    return {"kind": "done"}


@contextlib.contextmanager
def _poison(step: int | None) -> Iterator[None]:
    """Let the noise of a step (from 0) be NaN, as long as the draws are the config's own."""
    from core.training.memory import TrainingPictures

    real_batch = TrainingPictures.batch

    def batch(self: Any, at: int, **rest: Any) -> Any:
        made = real_batch(self, at, **rest)
        if at == step and self._config.seed == 0:
            made.noise.fill_(math.nan)
        return made

    TrainingPictures.batch = batch  # type: ignore[method-assign]
    yield


@contextlib.contextmanager
def _mishap(mishap: Mishap | None) -> Iterator[None]:
    if mishap is None:
        yield
        return
    from core.training.looks import Looks
    from core.training.memory import TrainingPictures

    real_batch, real_evaluate = TrainingPictures.batch, Looks.evaluate

    def batch(self: Any, step: int, **rest: Any) -> Any:
        if step == mishap.step and not mishap.evaluating:
            os.kill(os.getpid(), mishap.signal)
        return real_batch(self, step, **rest)

    def evaluate(self: Any) -> Any:
        if self.state.step == mishap.step and mishap.evaluating:
            os.kill(os.getpid(), mishap.signal)
        return real_evaluate(self)

    TrainingPictures.batch, Looks.evaluate = batch, evaluate  # type: ignore[method-assign]
    yield
