"""Some classes of a pinned dataset, as a pinned dataset of their own. Free of torch."""

from pathlib import Path

from core.data.pinned import DONE, PinnedDataset, open_pinned, write_pinned
from core.errors import UserError
from core.files import atomic_folder, exclusive


def require_classes(dataset: PinnedDataset, classes: tuple[str, ...]) -> None:
    """UserError when the dataset has not all of these classes."""
    if unknown := sorted(set(classes) - set(dataset.label_names)):
        known = ", ".join(dataset.label_names)
        raise UserError(f"{dataset.folder} has no class {unknown[0]!r}; it has {known}")
    if dataset.latents is not None:
        raise UserError(f"{dataset.folder} holds latents: prepare the classes apart instead")


def subset(dataset: PinnedDataset, classes: tuple[str, ...], folder: Path) -> PinnedDataset:
    """The pictures of these classes, in the same splits; made once, by one process for all.

    UserError for a class that is not there.
    """
    require_classes(dataset, classes)
    if not (folder / DONE).exists():
        with exclusive(folder.with_name(f".{folder.name}.making"), wait=True):
            if not (folder / DONE).exists():
                _write(dataset, classes, folder)
    return open_pinned(folder)


def _write(dataset: PinnedDataset, classes: tuple[str, ...], folder: Path) -> None:
    rows = [row for row, item in enumerate(dataset.items()) if item.label in classes]
    if not rows:
        raise UserError(f"{dataset.folder} has no pictures of {' '.join(classes)}")
    kept = set(rows)
    items = [item for row, item in enumerate(dataset.items()) if row in kept]
    with atomic_folder(folder) as temporary:
        write_pinned(
            temporary,
            images=(dataset.images_nhwc[row] for row in rows),
            items=items,
            label_names=[name for name in dataset.label_names if name in classes],
            transform={k: v for k, v in dataset.facts["transform"].items() if k != "alpha"},
            source={"kind": "subset", "dataset": dataset.digest, "classes": sorted(classes)},
        )
