"""A function over many items in several processes: in order, few at a time, hard to break."""

import collections
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Failure = TypeVar("Failure")

_AHEAD = 4
"""Chunks per process that are under way or wait for the caller."""


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    chunk: int,
    dead: Failure,
) -> Iterator[Result | Failure]:
    """The function's results in the order of the items, which may be endless.

    Where an item ends the process that works on it, its result is `dead`, and the others go on.
    Ctrl-C reaches the caller alone; when the caller leaves, the processes end.
    """
    chunks = _chunks(items, chunk)
    first = list(itertools.islice(chunks, 2))
    chunks = itertools.chain(first, chunks)
    if workers <= 1 or len(first) < 2:  # starting processes would take longer
        for some in chunks:
            yield from map(function, some)
        return
    yield from _in_processes(function, chunks, workers, dead)


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    source = iter(items)
    while some := list(itertools.islice(source, size)):
        yield some


def _in_processes(
    function: Callable[[Item], Result],
    chunks: Iterator[list[Item]],
    workers: int,
    dead: Failure,
) -> Iterator[Result | Failure]:
    pool = _start(workers)
    try:
        waiting: collections.deque[tuple[list[Item], Future[list[Result]]]] = collections.deque()
        while True:
            for some in itertools.islice(chunks, workers * _AHEAD - len(waiting)):
                waiting.append((some, _submit(pool, function, some)))
            if not waiting:
                return
            some, future = waiting.popleft()
            try:
                results: Sequence[Result | Failure] = future.result()
            except BrokenProcessPool:
                results = _one_by_one(function, some, dead)
                pool.shutdown()
                pool = _start(workers)
                waiting = collections.deque(
                    (rest, old if _is_done(old) else _submit(pool, function, rest))
                    for rest, old in waiting
                )
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(
    function: Callable[[Item], Result], items: list[Item], dead: Failure
) -> list[Result | Failure]:
    """Each item may end its process, so that none takes another with it."""
    results: list[Result | Failure] = []
    pool = _start(1)
    try:
        for item in items:
            try:
                results += _submit(pool, function, [item]).result()
            except BrokenProcessPool:
                results.append(dead)
                pool.shutdown()
                pool = _start(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _is_done(future: "Future[list[Result]]") -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _start(workers: int) -> ProcessPoolExecutor:
    # Forked children would inherit the locks of our threads (the server's, OpenCV's) in any state.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: list[Item]
) -> "Future[list[Result]]":
    """The first call starts the processes, which inherit that Ctrl-C is not for them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_work, function, items)
    except BrokenProcessPool as error:
        broken: Future[list[Result]] = Future()
        broken.set_exception(error)
        return broken
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def _begin() -> None:
    """Never outlive the parent: a killed one cannot say goodbye."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
