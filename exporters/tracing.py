"""Stickers of many samples, in order, by one process or several."""

import collections
import dataclasses
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess

from core.data.transform import use_one_thread
from core.errors import UserError
from core.sampleset import Sample
from exporters.config import ExportConfig
from exporters.cutting.cut import cut_out
from exporters.drawing.classpalette import Palettes, palette_of
from exporters.drawing.palette import Colours
from exporters.drawing.sticker import Refused, Sticker, make_sticker
from exporters.dress import Piece, dress

AHEAD = 4
"""Pictures handed out per worker before their results are taken."""
_PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class _Worker(SpawnProcess):
    """A worker that can be ended although it ignores polite signals."""

    def terminate(self) -> None:
        self.kill()


class _Workers(SpawnContext):
    """Spawned, not forked: OpenCV's and torch's threads do not survive a fork."""

    Process = _Worker


class Tracers:
    """Processes that trace: started for the first picture, kept until closed."""

    def __init__(
        self, config: ExportConfig, provenance: Mapping[str, object], workers: int
    ) -> None:
        self._config, self._provenance, self._workers = config, provenance, workers
        self._pool: ProcessPoolExecutor | None = None
        self.palettes: Palettes = {}
        """The classes' palettes, where pictures share one."""

    def trace(self, samples: Iterable[Sample]) -> Iterator[Piece | Refused]:
        """Results in the samples' order; UserError when a worker dies."""
        if self._workers == 1:
            yield from (
                make_piece(sample, self._config, self._provenance, self._palette(sample))
                for sample in samples
            )
            return
        waiting: collections.deque[Future[Piece | Refused]] = collections.deque()
        remaining = iter(samples)
        try:
            for sample in itertools.islice(remaining, AHEAD * self._workers):
                waiting.append(self._submit(sample))
            while waiting:
                yield waiting.popleft().result()
                for sample in itertools.islice(remaining, 1):
                    waiting.append(self._submit(sample))
        except BrokenProcessPool:
            raise UserError(
                "a worker died while it traced, killed for its memory perhaps: "
                f"run it again with fewer --workers than {self._workers}"
            ) from None

    def close(self, *, at_once: bool = False) -> None:
        """Stop the processes; with `at_once`, in the middle of a picture."""
        if self._pool is None:
            return
        for child in multiprocessing.active_children() if at_once else ():
            if isinstance(child, _Worker):
                child.kill()
        self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def _palette(self, sample: Sample) -> Colours | None:
        return palette_of(self.palettes, sample.label)

    def _submit(self, sample: Sample) -> "Future[Piece | Refused]":
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=_Workers(), initializer=_begin_worker
            )
        # A signal must not end a process that has not come to `_begin_worker` yet.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS_SIGNALS)
        try:
            return self._pool.submit(
                make_piece, sample, self._config, self._provenance, self._palette(sample)
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def make_piece(
    sample: Sample,
    config: ExportConfig,
    provenance: Mapping[str, object],
    palette: Colours | None = None,
) -> Piece | Refused:
    """One sample to every file of its sticker: what a worker does."""
    made = cut_and_trace(sample, config, provenance, palette)
    if isinstance(made, Refused):
        return made
    try:
        return dress(made, config)
    except UserError as error:
        return Refused(label=made.label, seed=made.seed, reason=str(error))


def cut_and_trace(
    sample: Sample,
    config: ExportConfig,
    provenance: Mapping[str, object],
    palette: Colours | None = None,
) -> Sticker | Refused:
    """Cut one sample out and trace it; Refused when either finds nothing to work on."""
    use_one_thread()
    try:
        if sample.trouble:
            raise UserError(sample.trouble)
        cut = cut_out(sample.image_hwc, config, label=sample.label)
        made = make_sticker(
            dataclasses.replace(sample, image_hwc=cut.image_hwc), config, provenance, palette
        )
    except UserError as error:
        made = Refused(label=sample.label, seed=sample.seed, reason=str(error))
    if isinstance(made, Sticker):
        return dataclasses.replace(made, more={"cut_out": cut.facts, **sample.facts})
    name = sample.facts.get("picture")  # more to people than the number that stands for its seed
    return dataclasses.replace(made, reason=f"{name}: {made.reason}") if name else made


def _begin_worker() -> None:
    """Leave signals to the parent, and never outlive it: a killed one cannot say goodbye.

    Ctrl-C, and a cluster that ends or preempts a job, signal every process of it.
    """
    for number in _PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
