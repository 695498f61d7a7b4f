"""Training adapters: step, log, save, draw; the same call again resumes, bit for bit on a CPU."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from core.errors import UserError
from core.files import exclusive, read_json, write_json
from core.pretrained.lora.adapters import check_targets
from core.pretrained.lora.base import describe_base, open_base
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoded import DONE, Encoded, open_encoded
from core.pretrained.lora.encoding import Interrupted, encoded_dataset
from core.pretrained.lora.result import save_result
from core.pretrained.lora.run import (
    LoraRun,
    LoraState,
    check_claim,
    claim,
    restore_checkpoint,
    save_checkpoint,
)
from core.pretrained.lora.step import LoraStepper, new_state
from core.pretrained.lora.validation import Validation
from core.pretrained.text_to_image.opening import fetch_pipeline
from core.pretrained.text_to_image.source import PipelineSource
from core.progress import progress
from core.training.arithmetic import fast_kernels, use_bf16
from core.training.budget import Budget
from core.training.checkpoint import newest_checkpoint
from core.training.guard import WentBackError, halvings_of, settle
from core.training.judge import Judge, Speed
from core.training.meeting import Place, ProcessTrouble
from core.training.processes import Patience, Processes, joined
from core.training.rates import rate_share
from core.training.record import Record
from core.training.stopping import STOP_SIGNALS, Stopped, StopWish, signal_of, stop_wishes

_PATIENCE = Patience()
_OUT_OF_TIME = len(STOP_SIGNALS) + 1
"""The wish to stop because the budget is spent, beside those that signals make."""
Half = Literal["fp32", "bf16", "fp16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetuned:
    """How a call ended."""

    step: int
    """Steps done and saved."""
    lora: Path | None
    """The finished adapters; None when time was up before."""
    spent_s: float
    """Seconds that the process took."""


def finetune(
    config: LoraConfig,
    folder: Path,
    *,
    encoded: Path | None = None,
    cpu: bool = False,
    accumulate: int = 1,
    budget: Budget | None = None,
    patience: Patience = _PATIENCE,
) -> Finetuned:
    """Train to the end or until the budget is spent, resuming from the newest checkpoint.

    One call per process; `core.training.processes` says how it learns of the others.
    encoded: folder of the encoded pictures, which runs may share; default: one of its own.
    accumulate: micro-batches that each process makes of its share of a step.

    Raises UserError when the folder holds another run, the data or the pipeline changed, or the
    training diverges again and again; Stopped after a checkpoint when a signal came to any process.
    """
    run, budget = LoraRun(folder), budget or Budget(None)
    _require_pictures_for_all(config, Place.from_environment().count, accumulate)
    with stop_wishes() as wish:
        try:
            with (
                joined(run.processes, cpu=cpu, patience=patience, asked=wish) as processes,
                contextlib.ExitStack() as held,
            ):
                begun = _Beginning(run, config, encoded or run.encoded, processes)
                step = begun.first_step(held, _Asked(budget, wish))
                while step is not None:
                    trainer = _Trainer(begun, step=step, accumulate=accumulate, budget=budget)
                    try:
                        over = trainer.run_to_end(wish)
                        step = None
                    except WentBackError as back:
                        if processes.first:
                            print(back)
                        over, step = False, back.step
                    if over:
                        processes.from_first(trainer.save_result)
                    del trainer  # Its memory is needed for the next.
        except Interrupted as interrupted:
            if interrupted.urgency != _OUT_OF_TIME:
                saved = max(run.steps_saved(), default=0)
                raise Stopped(signal_of(interrupted.urgency), saved) from None
        except ProcessTrouble as trouble:
            if urgency := wish():
                saved = max(run.steps_saved(), default=0)
                raise Stopped(signal_of(urgency), saved) from trouble
            raise
    done = run.lora.exists()
    return Finetuned(
        step=config.steps if done else max(run.steps_saved(), default=0),
        lora=run.lora if done else None,
        spent_s=budget.spent_s,
    )


class _Beginning:
    """What a training starts from, in every process."""

    def __init__(
        self, run: LoraRun, config: LoraConfig, encoded: Path, processes: Processes
    ) -> None:
        self.run, self.config, self.processes = run, config, processes
        self._encoded = encoded
        folder = processes.from_first(lambda: str(_fetched(run, config)))
        self.source: PipelineSource = describe_base(Path(folder))
        # One answer for all: GPUs of two kinds would scale their losses differently.
        self.precision: Half = processes.from_first(
            lambda: chosen_precision(config, processes.device)
        )
        self._opened: Any = None

    def first_step(self, held: contextlib.ExitStack, asked: Callable[[], int]) -> int | None:
        """Encode the pictures, in all processes; the step to go on from, or None when it is done.

        Interrupted when asked.
        """
        if not self.processes.from_first(lambda: self._begin(held)):
            return None
        encoded_dataset(
            self.config,
            self.source,
            self.open,
            self._encoded,
            processes=self.processes,
            asked=asked,
        )
        step: int | None = self.processes.from_first(self._claim)
        return step

    def _begin(self, held: contextlib.ExitStack) -> bool:
        """Lock the folder; whether there is anything to do or to check."""
        run, config = self.run, self.config
        held.enter_context(exclusive(run.root))
        check_claim(run, config)
        if run.lora.exists() and not self._encoded.exists():
            print(f"{run.lora} is finished already: nothing to do")
            return False
        if not (self._encoded / DONE).exists():  # what is wrong shows before the long work
            check_targets(self.open().unet, config)
        return True

    def _claim(self) -> int | None:
        """Make the folder this run's; the step to go on from, or None when it is done."""
        run, config = self.run, self.config
        claim(run, config, self.encoded(), model_facts(self.source))
        if run.lora.exists():
            print(f"{run.lora} is finished already: nothing to do")
            return None
        settle(run)
        step = newest_checkpoint(run)
        if step:
            print(f"going on from step {step} of {config.steps}")
        return step

    def open(self) -> Any:
        """The frozen pipeline, on the CPU; the same until it is taken."""
        self._opened = self._opened or open_base(self.source, self.precision)
        return self._opened

    def take(self) -> Any:
        """The frozen pipeline, for good: adapters may be put into it."""
        taken, self._opened = self.open(), None
        return taken

    def encoded(self) -> Encoded:
        """The encoded pictures."""
        return open_encoded(self._encoded)


def _fetched(run: LoraRun, config: LoraConfig) -> Path:
    """The pipeline's folder; of the hub, the commit that the run began with."""
    noted = read_json(run.pipeline) if run.pipeline.exists() else {}
    begun = noted.get("commit") if noted.get("name") == config.pipeline else None
    folder, commit = fetch_pipeline(config.pipeline, begun or config.revision)
    if commit is not None and begun is None:
        write_json(run.pipeline, {"name": config.pipeline, "commit": commit})
    return folder


class _Asked:
    """How urgently to stop while pictures are encoded: a signal, or time that is up."""

    def __init__(self, budget: Budget, wish: StopWish) -> None:
        self._budget, self._wish = budget, wish
        self._before: float | None = None

    def __call__(self) -> int:
        now = time.perf_counter()
        if self._before is not None:
            self._budget.lasted("encoding", now - self._before)
        self._before = now
        return _OUT_OF_TIME if self._budget.short_of("encoding") else self._wish()


class _Trainer:
    """One process of a LoRA training."""

    def __init__(self, begun: _Beginning, *, step: int, accumulate: int, budget: Budget) -> None:
        self.config, self.run, self.processes = begun.config, begun.run, begun.processes
        self.source, self.budget = begun.source, budget
        device = self.processes.device
        self.encoded, pipeline = begun.encoded(), begun.take()
        self.state: LoraState = new_state(
            self.config, pipeline, device, fp16=begun.precision == "fp16"
        )
        if step:
            restore_checkpoint(self.state, self.run, step, device)
        else:
            # Machines of different kinds may draw the first weights differently in the last bit.
            self.processes.copy_from_first(self.state.adapters.parameters())
        self.judge = Judge(self.run, self.config, self.processes)
        self.stepper = LoraStepper(
            self.config,
            self.encoded,
            pipeline,
            self.state,
            self.processes,
            accumulate=accumulate,
            halvings=self.processes.from_first(lambda: len(halvings_of(self.run))),
        )
        self.validation = Validation(
            self.config, self.encoded, pipeline, self.state.adapters, self.run, device
        )

    def run_to_end(self, wish: Any) -> bool:
        """All remaining steps; whether the training is over, not out of time."""
        state, config, first = self.state, self.config, self.processes.first
        with (
            Record(self.run, resume_step=state.step) if first else contextlib.nullcontext() as rec,
            progress(
                title="training", total=config.steps, done=state.step, unit="step", hidden=not first
            ) as bar,
            fast_kernels(self.processes.device),
        ):
            if rec:
                self.judge.note_halving(rec)
            speed = Speed(state.step)
            if not self._look(rec):
                return False
            while state.step < config.steps:
                self.processes.at(f"step {state.step + 1}")
                begun = time.perf_counter()
                asked = self.processes.vote(lambda: self._wish(wish))
                state.unlogged.append(self.stepper.step())
                urgency = asked()
                self.budget.lasted("step", time.perf_counter() - begun)
                bar.update()
                if state.step % config.log_every == 0 or state.step == config.steps:
                    words = self.judge.log(rec, state, lambda: self._figures(speed))
                    bar.set_postfix_str(words)
                if not self._go_on(rec, urgency) or not self._look(rec):
                    return state.step == config.steps
            return True

    def _wish(self, wish: Any) -> int:
        """How urgently this process is to stop after the step that begins."""
        # The step itself, and one that may follow it before the next question.
        return _OUT_OF_TIME if self.budget.short_of("step") else int(wish())

    def _go_on(self, record: Record | None, urgency: int) -> bool:
        """A checkpoint at its interval, at the end and before a stop; whether there is time."""
        state, config = self.state, self.config
        last = state.step == config.steps
        if state.step % config.checkpoint_every == 0 or last or urgency:
            self.processes.at(f"the checkpoint of step {state.step}")
            self.budget.timed("checkpoint", lambda: self.judge.judged(lambda: self._save(record)))
        if last or not urgency:
            return True
        if urgency == _OUT_OF_TIME:
            return False
        raise Stopped(signal_of(urgency), state.step)

    def _look(self, record: Record | None) -> bool:
        """Validation pictures that are due, after the checkpoint; whether there was time."""
        step = self.state.step
        if not self.processes.from_first(lambda: self.validation.due(step)):
            return True
        # Of a step, two thirds are the way back; validation goes forward twice for its guidance.
        share = self.config.batch_size / self.processes.count
        forward_s = self.budget.slowest_s("step") / 3 / share
        self.budget.expect("look", 2 * forward_s * self.validation.forwards)
        short = self.processes.from_first(lambda: self.budget.short_of("look"))
        if short and step < self.config.steps:
            self.judge.judged(lambda: self._save(record))
            return False
        self.processes.at(f"the validation pictures of step {step}")
        self.budget.timed(
            "look", lambda: self.processes.from_first(lambda: self.validation.draw(step))
        )
        return True

    def _figures(self, speed: Speed) -> dict[str, float]:
        """What stands in a row of metrics beside loss and memory."""
        state, config = self.state, self.config
        share = rate_share(config, state.step - 1)
        return {
            "learning_rate": config.learning_rate * self.stepper.rate * share,
            "images_per_s": speed.images_per_s(state.step, config.batch_size),
        }

    def _save(self, record: Record | None) -> None:
        """Keep the state, if all is well with it."""
        self.judge.check(record, self.state, self.state.adapters.parameters())
        save_checkpoint(self.state, self.run, keep=self.config.keep_checkpoints)

    def save_result(self) -> None:
        """The run's result."""
        save_result(self.run, self.config, self.state, self.encoded, self.source)


def chosen_precision(config: LoraConfig, device: torch.device) -> Half:
    """Arithmetic of the frozen networks on a device; UserError for fp16 on a CPU."""
    if device.type == "cpu":
        if config.precision == "fp16":
            raise UserError("--precision fp16 is for GPUs, and this is a CPU: give auto")
        return "bf16" if config.precision == "bf16" else "fp32"
    if config.precision != "auto":
        return config.precision
    return "bf16" if use_bf16("auto", device) else "fp16"


def model_facts(source: PipelineSource) -> dict[str, Any]:
    """By what a run knows its pipeline again."""
    licence: Mapping[str, str] = {"licence": source.licence} if source.licence else {}
    return {"digest": source.digest, "class": source.class_name, **licence}


def _require_pictures_for_all(config: LoraConfig, processes: int, accumulate: int) -> None:
    if accumulate < 1 or processes * accumulate > config.batch_size:
        raise UserError(
            f"--batch-size {config.batch_size} cannot be shared by {processes} processes with "
            f"--accumulate {accumulate}: processes times --accumulate must be 1 to "
            f"{config.batch_size}"
        )
