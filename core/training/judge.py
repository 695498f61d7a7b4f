"""What the first process of a training judges, and all processes do: go on, or go back."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from core.rundir import RunFolder
from core.training.guard import (
    GuardSettings,
    WentBackError,
    go_back,
    halvings_of,
    trouble_with,
    words_of,
)
from core.training.processes import Processes
from core.training.record import Record
from core.training.usage import memory_in_use_bytes


class Stepped(Protocol):
    """What changes while training, as far as it is judged."""

    step: int
    unlogged: list[tuple[Tensor, Tensor]]
    scaler: GradScaler | None


class Judge:
    """The guard of one run, the same in all of its processes."""

    def __init__(self, run: RunFolder, config: GuardSettings, processes: Processes) -> None:
        self._run, self._config, self._processes = run, config, processes

    def judged(self, work: Callable[[], Any]) -> Any:
        """What `work` gives, done by the first process; all go back when it found trouble."""

        def guarded() -> dict[str, Any]:
            try:
                return {"value": work()}
            except WentBackError as back:
                return {"step": back.step, "words": str(back)}

        outcome = self._processes.from_first(guarded)
        if "step" in outcome:
            raise WentBackError(outcome["step"], outcome["words"])
        return outcome["value"]

    def log(
        self, record: Record | None, state: Stepped, figures: Callable[[], Mapping[str, float]]
    ) -> str:
        """Write a row for the steps since the last one, `figures` beside loss and memory; a short
        form for the progress bar. All go back when the losses tell of trouble."""
        words: str = self.judged(lambda: self._row(record, state, figures()))
        state.unlogged.clear()
        return words

    def check(self, record: Record | None, state: Stepped, weights: Iterable[Tensor]) -> None:
        """Before the first process saves: go back when the state is not worth it."""
        if state.unlogged:
            self._judge(record, state)
        sums = torch.stack([weight.detach().sum() for weight in weights])
        if not math.isfinite(float(sums.sum())):
            self._go_back(state.step, "a weight is no longer finite")

    def _row(self, record: Record | None, state: Stepped, more: Mapping[str, float]) -> str:
        losses, norms = self._judge(record, state)
        figures = {
            "loss": fmean(losses),
            "gradient_norm": fmean(norms),
            **more,
            "memory_gib": round(memory_in_use_bytes(self._processes.device) / 2**30, 3),
        }
        assert record
        record.add(state.step, figures)
        return f"loss {figures['loss']:.4f}, {figures['images_per_s']:.3g} images/s"

    def _judge(self, record: Record | None, state: Stepped) -> tuple[list[float], list[float]]:
        """Losses and gradient norms since the last row; the run goes back when they tell of
        trouble. The one place where the processor waits for the device."""
        assert record
        pairs = torch.stack([torch.stack(pair) for pair in state.unlogged])
        losses, norms = pairs.T.tolist()
        why = trouble_with(
            losses,
            norms,
            earlier=record.values("loss"),
            config=self._config,
            scale=state.scaler.get_scale() if state.scaler else None,
        )
        if why:
            self._go_back(state.step, why)
        return losses, norms

    def _go_back(self, step: int, why: str) -> NoReturn:
        """Put the run's folder back to its last good checkpoint."""
        halving = go_back(self._run, self._config, step, why)
        raise WentBackError(
            halving.back_to, words_of(halving, len(halvings_of(self._run)), self._config)
        )

    def note_halving(self, record: Record) -> None:
        """A row where the run went on with half the rate."""
        halvings = halvings_of(self._run)
        if halvings and len(halvings) not in record.values("halvings"):
            figures = {"halvings": float(len(halvings)), "diverged_at": float(halvings[-1].at)}
            record.add(halvings[-1].back_to, figures)


class Speed:
    """Pictures per second (of all processes together) since it was last asked."""

    def __init__(self, step: int) -> None:
        self._step, self._begun = step, time.perf_counter()

    def images_per_s(self, step: int, batch_size: int) -> float:
        """The rate since the last call (or the start)."""
        now = time.perf_counter()
        speed = (step - self._step) * batch_size / (now - self._begun)
        self._step, self._begun = step, now
        return speed
