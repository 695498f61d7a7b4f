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
    def model(self) -> Path:
        """The finished pipeline; its presence marks the run as done."""
        return self.root / "model"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.checkpoints / f"step_{step:08d}"

    def grid(self, step: int) -> Path:
        """Sample grid after `step` steps."""
        return self.samples / f"step_{step:08d}.png"

    def steps_saved(self) -> list[int]:
        """Steps of the whole checkpoints, rising."""
        return sorted(int(path.name.removeprefix("step_")) for path in self._saved())

    def _saved(self) -> list[Path]:
        return sorted(self.checkpoints.glob("step_????????")) if self.checkpoints.is_dir() else []
