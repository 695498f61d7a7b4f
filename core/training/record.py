"""What a run says about itself while it trains: metrics.jsonl and TensorBoard."""

import json
import os
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from core.files import write_bytes
from core.rundir import RunFolder


class Record:
    """Appends figures of a step to both places; on resume, rows after that step are dropped."""

    def __init__(self, run: RunFolder, *, resume_step: int) -> None:
        run.root.mkdir(parents=True, exist_ok=True)
        self.rows = _drop_rows_after(run.metrics, resume_step)
        """All rows so far."""
        self._file = run.metrics.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(run.tensorboard), purge_step=resume_step + 1)

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._board.close()

    def add(self, step: int, figures: dict[str, float]) -> None:
        """One row of metrics.jsonl: `step` and the figures."""
        self.rows.append({"step": step, **figures})
        self._file.write(json.dumps(self.rows[-1]) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def has(self, name: str, *, step: int) -> bool:
        """Whether a figure of a step is there already."""
        return any(row["step"] == step and name in row for row in reversed(self.rows))

    def values(self, name: str) -> list[float]:
        """All values of a figure so far, in the order of the rows."""
        return [row[name] for row in self.rows if name in row]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics.jsonl; a last line that a crash cut off is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _drop_rows_after(path: Path, step: int) -> list[dict[str, float]]:
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    if path.exists():
        write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return rows
