"""What the first process of a training judges, and all processes do: go on, or go back."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

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

    def figures(
        self,
        unlogged: Sequence[tuple[Tensor, Tensor]],
        record: Record,
        *,
        step: int,
        scale: float | None = None,
    ) -> tuple[list[float], list[float]]:
        """Losses and gradient norms since the last row; the run goes back when they tell of
        trouble. The one place where the processor waits for the device."""
        pairs = torch.stack([torch.stack(pair) for pair in unlogged])
        losses, norms = pairs.T.tolist()
        why = trouble_with(
            losses, norms, earlier=record.values("loss"), config=self._config, scale=scale
        )
        if why:
            self.go_back(step, why)
        return losses, norms

    def go_back(self, step: int, why: str) -> NoReturn:
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
