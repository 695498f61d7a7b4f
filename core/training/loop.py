"""The training loop: step, log, save, evaluate, draw; the same call again resumes.

Any number of processes run the same loop on their shares of each step's pictures. Only the first
one (rank 0) writes and speaks; what it does alone, `Processes.from_first` has the others wait for.
"""

import contextlib
from pathlib import Path
from typing import Literal

from core.data.pinned import PinnedDataset
from core.errors import UserError
from core.files import exclusive
from core.inspection.norms import LOGGED
from core.progress import progress
from core.rundir import RunFolder
from core.training.arithmetic import Compile, fast_kernels
from core.training.averages import save_snapshot, snapshot_steps
from core.training.checkpoint import newest_checkpoint, restore_checkpoint, save_checkpoint
from core.training.claim import claim
from core.training.config import TrainConfig
from core.training.guard import WentBackError, halvings_of, settle
from core.training.judge import Judge, Speed
from core.training.looks import Looks, require_held_out
from core.training.meeting import Place, ProcessTrouble
from core.training.processes import Patience, Processes, joined
from core.training.rates import rate_share
from core.training.record import Record
from core.training.selection import prune_best
from core.training.step import Stepper, new_state
from core.training.stopping import Stopped, StopWish, signal_of, stop_wishes
from core.training.trial import agreed_accumulate
from core.training.utilisation import Utilisation

_PATIENCE = Patience()


def train(
    config: TrainConfig,
    dataset: PinnedDataset,
    folder: Path,
    *,
    cpu: bool = False,
    accumulate: int | Literal["auto"] = 1,
    memory_bytes: int | None = None,
    compiled: Compile = "off",
    patience: Patience = _PATIENCE,
    pause_at: int | None = None,
) -> Path:
    """Train to the end, resuming from the newest checkpoint; the folder of the finished pipeline.

    One call per process; `core.training.processes` says how it learns of the others.
    accumulate: micro-batches that each process makes of its share of a step, to save memory; the
    result is the same but for rounding; "auto" tries how few fit into memory.
    memory_bytes: all that each process may hold when that is tried; default: what there is.
    compiled: whether to compile the network.
    pause_at: a step after which to leave, with a checkpoint and without a model; a call without it
    goes on as if there had been no pause.

    Raises UserError when the folder holds another run, the data changed, or the training diverges
    again and again; Stopped (a KeyboardInterrupt) after a checkpoint when SIGINT, SIGTERM, SIGUSR1
    or SIGUSR2 came to any process; ProcessTrouble when the others do not come or do not go on.
    """
    run = RunFolder(folder)
    least = 1 if accumulate == "auto" else accumulate
    _require_pictures_for_all(config.batch_size, Place.from_environment().count, least)
    with stop_wishes() as wish:
        try:
            with (
                joined(run.processes, cpu=cpu, patience=patience, asked=wish) as processes,
                contextlib.ExitStack() as held,
            ):
                # A JSON value: the step to go on from, None when all is done.
                step = processes.from_first(lambda: _begin(run, config, dataset, held))
                if step is not None and accumulate == "auto":
                    accumulate = agreed_accumulate(
                        run, config, dataset, processes, memory_bytes=memory_bytes
                    )
                while step is not None:
                    trainer = _Trainer(
                        config,
                        dataset,
                        run,
                        processes,
                        step=step,
                        accumulate=int(accumulate),
                        compiled=compiled,
                        pause_at=pause_at,
                    )
                    step = _finish(trainer, processes, wish)
                    del trainer  # Its memory is needed for the next.
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
        compiled: Compile,
        pause_at: int | None,
    ) -> None:
        self.last = config.steps if pause_at is None else min(pause_at, config.steps)
        self.config, self.dataset, self.run, self.processes = config, dataset, run, processes
        self.state = new_state(config, dataset, processes.device)
        if step:
            restore_checkpoint(self.state, run, step)
        else:
            # Machines of different kinds may draw the first weights differently in the last bit.
            processes.copy_from_first([*self.state.unet.state_dict().values()])
            processes.copy_from_first([*self.state.ema.state_dict().values()])
        # All processes know the same: a file of a moment ago may not be seen on every machine.
        self.halvings = processes.from_first(lambda: len(halvings_of(run)))
        self.stepper = Stepper(
            config,
            dataset,
            self.state,
            processes,
            accumulate=accumulate,
            halvings=self.halvings,
            compiled=compiled,
        )
        self.judge = Judge(run, config, processes)
        self.looks = Looks(config, dataset, run, self.stepper)
        self.snapshots = snapshot_steps(config)
        self.utilisation = Utilisation(self.stepper, dataset, processes=processes.count)

    def run_to_end(self, wish: StopWish) -> bool:
        """All remaining steps; whether the training is over, not paused."""
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
            over = self._look(rec)
            speed = Speed(state.step)
            while state.step < self.last and not over:
                self.processes.at(f"step {state.step + 1}")
                asked = self.processes.vote(wish)
                state.unlogged.append(self.stepper.step())
                urgency = asked()
                bar.update()
                if state.step in self.snapshots:
                    self.processes.from_first(lambda: save_snapshot(state, config, self.run))
                if state.step % config.log_every == 0 or state.step == config.steps:
                    words = self.judge.log(rec, state, lambda: self._figures(speed))
                    bar.set_postfix_str(words)
                self._save_or_stop(rec, urgency)
                over = self._look(rec)
            return over or state.step == config.steps

    def _figures(self, speed: Speed) -> dict[str, float]:
        """What stands in a row of metrics beside loss and memory."""
        state, config = self.state, self.config
        images_per_s = speed.images_per_s(state.step, config.batch_size)
        share = rate_share(config, state.step - 1)
        return {
            "learning_rate": config.learning_rate * self.stepper.rate * share,
            "images_per_s": images_per_s,
            **self.utilisation.figures(images_per_s),
            **{LOGGED + layer: float(n) for layer, n in self.stepper.layer_norms.items()},
        }

    def _save_or_stop(self, record: Record | None, urgency: int) -> None:
        """A checkpoint at its interval, at the end, and before a stop that was asked for."""
        state, config = self.state, self.config
        last = state.step == self.last
        if state.step % config.checkpoint_every == 0 or last or urgency:
            self.processes.at(f"the checkpoint of step {state.step}")
            self.judge.judged(lambda: self._save(record))
        if urgency and not last:
            raise Stopped(signal_of(urgency), state.step)

    def _save(self, record: Record | None) -> None:
        """Keep the state, if all is well with it."""
        assert record
        self.judge.check(record, self.state, self.state.unet.parameters())
        save_checkpoint(self.state, self.run, keep=self.config.keep_checkpoints)
        prune_best(self.run, record.rows, self.config)

    def _look(self, record: Record | None) -> bool:
        """Held-out loss and sample grid, each at its interval and at the end; whether to stop.

        They come after the checkpoint, which a signal may have left little time for; a resumed run
        first makes those that are due and missing.
        """
        step, config = self.state.step, self.config
        last = step == config.steps
        evaluates = step > 0 and (step % config.evaluate_every == 0 or last)
        draws = step > 0 and (step % config.sample_every == 0 or last)
        if not (evaluates or draws):
            return False
        self.processes.at(f"the held-out loss and samples of step {step}")
        return bool(self.processes.from_first(lambda: self.looks.look(record, evaluates, draws)))

    def save_model(self) -> None:
        """The run's result."""
        self.looks.save_model(halvings_of(self.run))


def _finish(trainer: _Trainer, processes: Processes, wish: StopWish) -> int | None:
    """Train to the end and save the model; the step to go on from if it diverged."""
    try:
        if not trainer.run_to_end(wish):
            return None
    except WentBackError as back:
        if processes.first:
            print(back)
        return back.step
    processes.from_first(trainer.save_model)
    return None


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
    require_held_out(config, dataset)
    settle(run)
    step = newest_checkpoint(run)
    if step:
        print(f"going on from step {step} of {config.steps}")
    return step
