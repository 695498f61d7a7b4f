"""Looking at a run in training: held-out losses, sample grids, copies; and its model at the end."""

import copy
from collections.abc import Sequence

from core.data.pinned import PinnedDataset
from core.diffusion.denoiser import UNet
from core.diffusion.objective import held_out_loss
from core.diffusion.pipeline import ClassConditionalPipeline
from core.errors import UserError
from core.evaluation.novelty import TrainingNeighbours
from core.files import write_bytes
from core.images import contact_sheet, png_bytes
from core.rundir import RunFolder
from core.training.averages import early_weights
from core.training.card import make_pipeline, save_model
from core.training.config import TrainConfig
from core.training.guard import Halving
from core.training.memory import pictures_of
from core.training.record import Record, read_metrics
from core.training.selection import best_weights, keep_best, prune_best, select, words_of
from core.training.step import Stepper
from core.training.told import plain

_GRID_STEPS = 12
_GRID_GUIDANCE = 1.5


class Looks:
    """What the first process does beside the steps, always with the averaged weights."""

    def __init__(
        self, config: TrainConfig, dataset: PinnedDataset, run: RunFolder, stepper: Stepper
    ) -> None:
        self.config, self.dataset, self.run = config, dataset, run
        self.state, self.stepper = stepper.state, stepper
        self._denoiser = stepper.denoiser_of(self.state.ema)
        self._neighbours: TrainingNeighbours | None = None
        self._held_out = pictures_of(dataset, stepper.device, split="validation")

    def look(self, record: Record | None, evaluates: bool, draws: bool) -> bool:
        """Make what is due and missing, keep the best weights; whether to stop training."""
        assert record
        step = self.state.step
        if draws and not (self.run.grid(step).exists() and record.has("copy_rate", step=step)):
            record.add(step, {"copy_rate": self._draw_grid()})
        if evaluates and len(self._held_out[0]) and not record.has("held_out_loss", step=step):
            record.add(step, self.evaluate())
        selection = select(record.rows, self.config)
        if self.config.keep == "best" and selection.best and selection.best.step == step:
            keep_best(self.state.ema.state_dict(), self.run, step)
            prune_best(self.run, record.rows, self.config)
        return selection.stop

    def evaluate(self) -> dict[str, float]:
        """Held-out loss: mean, by noise level, by class."""
        clean, labels = self._held_out
        loss = held_out_loss(self._denoiser, clean, labels, self.stepper.weighting)
        names = self.dataset.label_names
        return {
            "held_out_loss": loss.mean,
            **{f"held_out_loss/sigma_{level}": value for level, value in loss.by_level.items()},
            **{f"held_out_loss/class_{names[k]}": value for k, value in loss.by_class.items()},
        }

    def _draw_grid(self) -> float:
        """Two pictures of each class (of the first 16 classes); the share that are copies."""
        labels = [name for name in self.dataset.label_names[:16] for _ in range(2)]
        pipeline = self._pipeline().to(self.stepper.device)  # An autoencoder was not there yet.
        pictures = pipeline.generate(
            labels,
            range(len(labels)),
            guidance=_GRID_GUIDANCE,
            steps=_GRID_STEPS,
            solver="dpmpp-2m",
        )
        grid = contact_sheet(pictures, columns=min(8, len(pictures)), cell_px=128)
        write_bytes(self.run.grid(self.state.step), png_bytes(grid))
        self._neighbours = self._neighbours or TrainingNeighbours(self.dataset)
        return self._neighbours.rate(pictures)

    def save_model(self, halvings: Sequence[Halving]) -> None:
        """The run's result: the weights that --keep asks for, and an early average beside them."""
        rows = read_metrics(self.run.metrics)
        selection = select(rows, self.config)
        step = self.state.step
        if self.config.keep == "best" and selection.best:
            step = selection.best.step
            self.state.ema.load_state_dict(best_weights(self.run, step))
        guide = None
        if early := early_weights(self.config, self.run, model_step=step):
            guide = copy.deepcopy(plain(self.state.ema))
            guide.load_state_dict(early)
            guide.half()  # As it was kept; opened in float32.
        save_model(
            self.run,
            self._pipeline(guide),
            self.config,
            self.dataset,
            steps=self.state.step,
            weights=words_of(selection, self.config, last_step=self.state.step),
            halvings=halvings,
        )

    def _pipeline(self, guide: UNet | None = None) -> ClassConditionalPipeline:
        statistics = self.stepper.statistics
        return make_pipeline(self.state.ema, self.config, self.dataset, statistics, guide)


def require_held_out(config: TrainConfig, dataset: PinnedDataset) -> None:
    """UserError when what decides about the run needs held-out pictures and there are none."""
    if len(dataset.split["validation"]):
        return
    for flag, wanted in (
        ("--keep best", config.keep == "best"),
        ("--early-stop", config.early_stop),
    ):
        if wanted:
            raise UserError(
                f"{flag} goes by the held-out loss, and {dataset.folder} has no validation "
                "pictures: prepare it with some, or leave the flag out"
            )
