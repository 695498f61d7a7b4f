"""From a run to the best defaults of sampling, written into its model."""

from collections.abc import Sequence
from pathlib import Path

from core.data.pinned import PinnedDataset, open_pinned
from core.diffusion.defaults import BUILT_IN, resolved, write_defaults
from core.diffusion.ema import averaged_weights
from core.diffusion.modelinfo import describe_model
from core.diffusion.sampleconfig import SampleConfig
from core.errors import UserError
from core.evaluation.cells import Cells
from core.evaluation.tuning import Cell, Found, forecast, search, words
from core.files import exclusive, read_json
from core.rundir import RunFolder


def tune(
    config: SampleConfig,
    data: Path | None,
    *,
    count: int,
    batch_size: int = 32,
    device: str = "auto",
) -> Found:
    """Search, and make the best settings the defaults of the run's model; goes on where it was.

    What the config states is kept, the rest is searched for with `count` pictures a setting.
    data: the pinned dataset to come near to; default: the run's own. UserError when it is not
    there, or another process tunes the run.
    """
    model = describe_model(config.run)
    stated = {name: v for name in BUILT_IN if (v := getattr(config, name)) is not None}
    resolved(config, model)
    if width := stated.get("ema_width"):
        averaged_weights(model.averages, width)  # none of its settings could be drawn otherwise
    dataset = dataset_of(config.run, data)
    cells = Cells(
        config.run,
        dataset,
        batch_size=batch_size,
        device=_device(device),
        precision=config.precision,
    )
    with exclusive(cells.folder):
        print(forecast(stated, count=count, early=model.has_guide))
        found = search(cells.measure, stated, count=count, seed=config.seed, early=model.has_guide)
        print(table(found.finals, found.best))
        write_defaults(config.run, found.best.settings, _evidence(found, cells, dataset))
    return found


def dataset_of(run: Path, data: Path | None) -> PinnedDataset:
    """The dataset at `data`, or else the one that the run was trained on; UserError if moved."""
    if data is not None:
        return open_pinned(data)
    path = RunFolder(describe_model(run).folder.parent).data
    if not path.exists():
        raise UserError(f"{path} is missing, so name the pinned dataset: --data DATASET")
    known = read_json(path)
    folder = Path(known["folder"])
    if not folder.is_dir():
        raise UserError(
            f"{run} was trained on {folder}, which is not there (from here): --data DATASET"
        )
    dataset = open_pinned(folder)
    if dataset.digest != known["digest"]:
        raise UserError(
            f"{folder} is not what {run} was trained on any more: name what to compare with, "
            "--data DATASET"
        )
    return dataset


def table(cells: Sequence[Cell], best: Cell) -> str:
    """Cells as a Markdown table, the best marked."""
    rows = [
        f"| {words(cell.settings)}{_mark(cell, best)} | {cell.frechet:.3f} "
        f"| {cell.recognised:.1%} | {cell.copy_rate:.1%} "
        f"| {cell.count / max(cell.seconds, 1e-3):.1f} |"
        for cell in cells
    ]
    head = [
        "| settings | Fréchet distance | recognised | copies | pictures/s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join([*head, *rows])


def _mark(cell: Cell, best: Cell) -> str:
    return " **(best)**" if cell.settings == best.settings else ""


def _evidence(found: Found, cells: Cells, dataset: PinnedDataset) -> str:
    """Why these are the defaults, for the model card."""
    floor, held_out = cells.floor(found.best.count)
    perfect = f" {held_out} held-out pictures are at {floor:.3f}." if floor is not None else ""
    return f"""Found by `--tune-guidance`: {len(found.swept)} settings with {found.swept[0].count}
pictures each from seed {found.swept[0].first_seed} on, then with {found.best.count} from seed
{found.best.first_seed} on:

{table(found.finals, found.best)}

Fréchet distance to the training pictures of dataset `{dataset.digest[:12]}`, in features of the
classifier `{cells.classifier_digest[:12]}`.{perfect}

All that was swept:

{table(found.swept, found.best)}
"""


def _device(device: str) -> str:
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
