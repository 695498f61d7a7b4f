"""A run on disk: one class owns every file name of it."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where everything of one training run lives."""

    root: Path

    @property
    def config(self) -> Path:
        """The training config, written first."""
        return self.root / "config.json"

    @property
    def data(self) -> Path:
        """Path, digest and licence of the pinned dataset."""
        return self.root / "data.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per line: losses, rates, speeds."""
        return self.root / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The same figures for TensorBoard."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folders `step_<n>`, each whole."""
        return self.root / "checkpoints"

    @property
    def samples(self) -> Path:
        """Sample grids made while training."""
        return self.root / "samples"

    @property
    def processes(self) -> Path:
        """Who trains: one small file per process, while there are several."""
        return self.root / "processes"

    @property
    def trial(self) -> Path:
        """How many micro-batches fit into memory, where that was tried."""
        return self.root / "trial.json"

    @property
    def model(self) -> Path:
        """The finished pipeline; its presence marks the run as done."""
        return self.root / "model"

    @property
    def averages(self) -> Path:
        """Snapshots of the averaged weights, from which averages of other widths are made."""
        return self.root / "averages"

    @property
    def guard(self) -> Path:
        """How often and why the training went back; there only when it did."""
        return self.root / "guard.json"

    @property
    def rates(self) -> Path:
        """What a range test of the learning rate found; a plot beside it."""
        return self.root / "find_lr.json"

    @property
    def tuning(self) -> Path:
        """Figures of settings of sampling, as tuning found them."""
        return self.root / "tuning"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.checkpoints / f"step_{step:08d}"

    def grid(self, step: int) -> Path:
        """Sample grid after `step` steps."""
        return self.samples / f"step_{step:08d}.png"

    def average(self, step: int) -> Path:
        """Averaged weights kept after `step` steps."""
        return self.averages / f"step_{step:08d}.safetensors"

    def best(self, step: int) -> Path:
        """Averaged weights that were the best so far after `step` steps."""
        return self.checkpoints / f"best_{step:08d}.safetensors"

    def steps_saved(self) -> list[int]:
        """Steps of the whole checkpoints, rising."""
        return _steps(self.checkpoints, "step_????????")

    def steps_averaged(self) -> list[int]:
        """Steps of the snapshots in `averages`, rising."""
        return _steps(self.averages, "step_????????.safetensors")

    def steps_best(self) -> list[int]:
        """Steps of the best weights that are kept, rising."""
        return _steps(self.checkpoints, "best_????????.safetensors")

    def steps_drawn(self) -> list[int]:
        """Steps of the sample grids, rising."""
        return _steps(self.samples, "step_????????.png")


def _steps(folder: Path, pattern: str) -> list[int]:
    names = [path.name for path in folder.glob(pattern)] if folder.is_dir() else []
    return sorted(int(name.partition("_")[2].partition(".")[0]) for name in names)
