"""Which step's averaged weights are the best, and when to stop looking for better ones.

Both follow from the rows of metrics.jsonl alone, so a resumed run decides as an undisturbed one.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from safetensors.torch import load_file, save
from torch import Tensor

from core.files import write_bytes
from core.rundir import RunFolder
from core.training.config import TrainConfig

Rows = Sequence[Mapping[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is known about the averaged weights of a step."""

    step: int
    held_out_loss: float
    copy_rate: float | None
    """Share of the last sample grid that copies training pictures; None before the first grid."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """What the evaluations so far say."""

    best: Evaluation | None
    """Least held-out loss with few enough copies; of equal ones, the first."""
    stop: bool
    """Whether as many in a row as --early-stop says were no better."""


def select(rows: Rows, config: TrainConfig) -> Selection:
    """The best evaluation among these rows, and whether to stop after the last of them."""
    best: Evaluation | None = None
    worse = 0
    for found in evaluations(rows):
        few = found.copy_rate is None or found.copy_rate <= config.max_copies
        if few and (best is None or found.held_out_loss < best.held_out_loss):
            best, worse = found, 0
        else:
            worse += 1
    return Selection(best=best, stop=0 < config.early_stop <= worse)


def evaluations(rows: Rows) -> Iterable[Evaluation]:
    """The evaluations that rows tell of, by step, each with the copy rate of the last grid."""
    copies = {int(row["step"]): row["copy_rate"] for row in rows if "copy_rate" in row}
    for row in rows:
        if "held_out_loss" in row:
            step = int(row["step"])
            last = max((drawn for drawn in copies if drawn <= step), default=None)
            yield Evaluation(
                step=step,
                held_out_loss=row["held_out_loss"],
                copy_rate=None if last is None else copies[last],
            )


def keep_best(weights: dict[str, Tensor], run: RunFolder, step: int) -> None:
    """Keep the averaged weights of a step, atomically."""
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    write_bytes(run.best(step), save(tensors))


def best_weights(run: RunFolder, step: int) -> dict[str, Tensor]:
    """The averaged weights that were kept for a step."""
    return load_file(run.best(step))


def prune_best(run: RunFolder, rows: Rows, config: TrainConfig) -> None:
    """Remove best weights that no checkpoint needs any more, from which the run may go on."""
    saved = run.steps_saved()
    needed = set()
    for step in saved:
        best = select([row for row in rows if row["step"] <= step], config).best
        needed.add(best.step if best else None)
    for step in run.steps_best():
        if step not in needed and step < max(saved, default=0):
            run.best(step).unlink()


def words_of(selection: Selection, config: TrainConfig, *, last_step: int) -> str:
    """Which weights the model has and why, for its card."""
    best = selection.best
    if config.keep == "last":
        return f"the average of step {last_step}, the last"
    if best is None:
        return (
            f"the average of step {last_step}, the last: at none were at most "
            f"{config.max_copies:.0%} of the samples copies"
        )
    copies = "" if best.copy_rate is None else f", {best.copy_rate:.0%} copies"
    return (
        f"the average of step {best.step}, the least held-out loss of all evaluations "
        f"({best.held_out_loss:.4f}{copies})"
    )
