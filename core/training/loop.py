"""The training loop: step, log, save, evaluate, draw; the same call again resumes.

Any number of processes run the same loop on their shares of each step's pictures. Only the first
one (rank 0) writes and speaks; what it does alone, `Processes.from_first` has the others wait for.
"""

import contextlib
import math
import time
from pathlib import Path

import torch

from core.data.pinned import PinnedDataset
from core.diffusion.objective import held_out_loss
from core.errors import UserError
from core.files import exclusive, write_bytes
from core.images import contact_sheet, png_bytes
from core.progress import progress
from core.rundir import RunFolder
from core.training.card import make_pipeline, save_model
from core.training.checkpoint import newest_checkpoint, restore_checkpoint, save_checkpoint
from core.training.claim import claim
from core.training.config import TrainConfig
from core.training.meeting import Place, ProcessTrouble
from core.training.memory import pictures_of
from core.training.processes import Patience, Processes, joined
from core.training.record import Record
from core.training.step import Stepper, fast_kernels, new_state, rate_share
from core.training.stopping import Stopped, StopWish, signal_of, stop_wishes

_GRID_STEPS = 12
_GRID_GUIDANCE = 1.5
_PATIENCE = Patience()


def train(
    config: TrainConfig,
    dataset: PinnedDataset,
    folder: Path,
    *,
    cpu: bool = False,
    accumulate: int = 1,
    patience: Patience = _PATIENCE,
) -> Path:
    """Train to the end, resuming from the newest checkpoint; the folder of the finished pipeline.

    One call per process; `core.training.processes` says how it learns of the others.
    accumulate: micro-batches that each process makes of its share of a step, to save memory; the
    result is the same but for rounding.

    Raises UserError when the folder holds another run, the data changed, or the loss is no longer
    finite; Stopped (a KeyboardInterrupt) after a checkpoint when SIGINT, SIGTERM, SIGUSR1 or
    SIGUSR2 came to any process; ProcessTrouble when the others do not come or do not go on.
    """
    run = RunFolder(folder)
    _require_pictures_for_all(config.batch_size, Place.from_environment().count, accumulate)
    with stop_wishes() as wish:
        try:
            with (
                joined(run.processes, cpu=cpu, patience=patience, asked=wish) as processes,
                contextlib.ExitStack() as held,
            ):
                # A JSON value: the step to go on from, None when all is done.
                step = processes.from_first(lambda: _begin(run, config, dataset, held))
                if step is not None:
                    trainer = _Trainer(
                        config, dataset, run, processes, step=step, accumulate=accumulate
                    )
                    trainer.run_to_end(wish)
                    processes.from_first(trainer.save_model)
        except ProcessTrouble as trouble:
            # Asked to stop, like the others perhaps, who were quicker: no trouble then.
            if urgency := wish():
                saved = max(run.steps_saved(), default=0)
                raise Stopped(signal_of(urgency), saved) from trouble
            raise
    return run.model


class _Trainer:
    """One process of a training run."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: PinnedDataset,
        run: RunFolder,
        processes: Processes,
        *,
        step: int,
        accumulate: int,
    ) -> None:
        self.config, self.dataset, self.run, self.processes = config, dataset, run, processes
        self.state = new_state(config, dataset, processes.device)
        if step:
            restore_checkpoint(self.state, run, step)
        else:
            # Machines of different kinds may draw the first weights differently in the last bit.
            processes.copy_from_first([*self.state.unet.state_dict().values()])
            processes.copy_from_first([*self.state.ema.state_dict().values()])
        self.stepper = Stepper(config, dataset, self.state, processes, accumulate=accumulate)
        self.ema_denoiser = self.stepper.denoiser_of(self.state.ema)
        self.held_out = pictures_of(dataset, processes.device, split="validation")

    def run_to_end(self, wish: StopWish) -> None:
        """All remaining steps."""
        state, config, first = self.state, self.config, self.processes.first
        with (
            Record(self.run, resume_step=state.step) if first else contextlib.nullcontext() as rec,
            progress(
                title="training", total=config.steps, done=state.step, unit="step", hidden=not first
            ) as bar,
            fast_kernels(self.processes.device),
        ):
            self._look(rec)
            speed = _Speed(state.step)
            while state.step < config.steps:
                self.processes.at(f"step {state.step + 1}")
                asked = self.processes.vote(wish)
                state.unlogged.append(self.stepper.step())
                bar.update()
                if state.step % config.log_every == 0 or state.step == config.steps:
                    bar.set_postfix_str(self._log(rec, speed))
                self._save_or_stop(asked())
                self._look(rec)

    def _log(self, record: Record | None, speed: "_Speed") -> str:
        """Write a row for the steps since the last one; a short form for the progress bar."""
        state, config = self.state, self.config
        losses, norms = zip(*state.unlogged, strict=True)
        state.unlogged.clear()
        figures = {
            "loss": float(torch.stack(losses).mean()),
            "gradient_norm": float(torch.stack(norms).mean()),
            "learning_rate": config.learning_rate * rate_share(config, state.step - 1),
            "images_per_s": speed.images_per_s(state.step, config.batch_size),
        }
        # All processes know the loss of all: all raise the same.
        self._require_finite(figures["loss"])
        if record:
            record.add(state.step, figures)
        return f"loss {figures['loss']:.4f}, {figures['images_per_s']:.0f} images/s"

    def _save_or_stop(self, urgency: int) -> None:
        """A checkpoint at its interval, at the end, and before a stop that was asked for."""
        state, config = self.state, self.config
        last = state.step == config.steps
        if state.step % config.checkpoint_every == 0 or last or urgency:
            self.processes.at(f"the checkpoint of step {state.step}")
            self.processes.from_first(self._save)
        if urgency and not last:
            raise Stopped(signal_of(urgency), state.step)

    def _save(self) -> None:
        weights = self.state.unet.parameters()
        self._require_finite(float(sum(w.detach().sum() for w in weights)))
        save_checkpoint(self.state, self.run, keep=self.config.keep_checkpoints)

    def _look(self, record: Record | None) -> None:
        """Held-out loss and sample grid, each at its interval and at the end.

        They come after the checkpoint, which a signal may have left little time for; a resumed run
        first makes those that are due and missing.
        """
        step, config = self.state.step, self.config
        last = step == config.steps
        evaluates = step > 0 and (step % config.evaluate_every == 0 or last)
        draws = step > 0 and (step % config.sample_every == 0 or last)
        if evaluates or draws:
            self.processes.at(f"the held-out loss and samples of step {step}")
            self.processes.from_first(lambda: self._look_alone(record, evaluates, draws))

    def _look_alone(self, record: Record | None, evaluates: bool, draws: bool) -> None:
        step = self.state.step
        if record and evaluates and len(self.held_out[0]) and step not in record.evaluated:
            record.add(step, self._evaluate())
        if draws and not self.run.grid(step).exists():
            self._draw_grid()

    def _evaluate(self) -> dict[str, float]:
        """Held-out loss of the averaged weights, mean and by noise level."""
        clean, labels = self.held_out
        by_level = held_out_loss(self.ema_denoiser, clean, labels, self.stepper.weighting)
        figures = {f"held_out_loss/sigma_{level}": loss for level, loss in by_level.items()}
        return {"held_out_loss": sum(by_level.values()) / len(by_level), **figures}

    def _draw_grid(self) -> None:
        """Two pictures of each class (of the first 16 classes) with the averaged weights."""
        pipeline = make_pipeline(self.state.ema, self.config, self.dataset, self.stepper.statistics)
        labels = [name for name in self.dataset.label_names[:16] for _ in range(2)]
        pictures = pipeline.generate(
            labels,
            range(len(labels)),
            guidance=_GRID_GUIDANCE,
            steps=_GRID_STEPS,
            solver="dpmpp-2m",
        )
        grid = contact_sheet(pictures, columns=min(8, len(pictures)), cell_px=128)
        write_bytes(self.run.grid(self.state.step), png_bytes(grid))

    def save_model(self) -> None:
        """The run's result."""
        pipeline = make_pipeline(self.state.ema, self.config, self.dataset, self.stepper.statistics)
        save_model(self.run, pipeline, self.config, self.dataset)

    def _require_finite(self, value: float) -> None:
        if math.isfinite(value):
            return
        saved = self.run.steps_saved()
        kept = f"step {saved[-1]} is kept in {self.run.checkpoints}" if saved else "none was saved"
        raise UserError(
            f"the loss is {value} at step {self.state.step}; last good checkpoint: {kept}. Train "
            f"again into another --out with --learning-rate {self.config.learning_rate / 3:.2g} "
            "(it was too high for this data) or --precision fp32"
        )


class _Speed:
    """Pictures per second (of all processes together) since it was last asked."""

    def __init__(self, step: int) -> None:
        self._step, self._begun = step, time.perf_counter()

    def images_per_s(self, step: int, batch_size: int) -> float:
        """The rate since the last call (or the start)."""
        now = time.perf_counter()
        speed = (step - self._step) * batch_size / (now - self._begun)
        self._step, self._begun = step, now
        return speed


def _require_pictures_for_all(batch_size: int, processes: int, accumulate: int) -> None:
    if accumulate < 1 or processes * accumulate > batch_size:
        raise UserError(
            f"--batch-size {batch_size} cannot be shared by {processes} processes with "
            f"--accumulate {accumulate}: each micro-batch needs a picture, so processes times "
            f"--accumulate must be 1 to {batch_size}"
        )


def _begin(
    run: RunFolder, config: TrainConfig, dataset: PinnedDataset, held: contextlib.ExitStack
) -> int | None:
    """Lock the folder and make it this run's; the step to go on from, or None when it is done."""
    held.enter_context(exclusive(run.root))
    claim(run, config, dataset)
    if run.model.exists():
        print(f"{run.model} is finished already: nothing to do")
        return None
    step = newest_checkpoint(run)
    if step:
        print(f"going on from step {step} of {config.steps}")
    return step
