"""The pictures that a network is looked at with: held-out ones, or its own."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from core.data.pinned import PinnedDataset, SplitName, open_pinned
from core.diffusion.pipeline import starting_noise
from core.diffusion.pixels import as_network_input
from core.diffusion.sampler import dpmpp_2m, noise_levels
from core.errors import UserError
from core.inspection.config import VisualizeConfig
from core.inspection.planning import data_of
from core.inspection.subject import Subject
from core.training.memory import pictures_of

_OWN = 8
"""Pictures that a network without a dataset draws of itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Specimens:
    """Clean pictures and their classes."""

    clean: Tensor
    """N×C×H×W, as the network reads them."""
    labels: Tensor
    """N class indices."""
    pair: Tensor
    """2×C×H×W: those to go between."""
    pair_labels: Tensor
    pair_names: tuple[str, str]
    words: str
    """Which pictures these are."""

    def noise(self, seed: int) -> Tensor:
        """Unit noise for each picture: the same on every machine."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self.clean.shape, generator=generator).to(self.clean.device)


def choose_specimens(subject: Subject, config: VisualizeConfig) -> Specimens:
    """Pictures of --data, of what the run was trained on, or the network's own.

    UserError when the dataset is of another shape, or does not hold what is asked for.
    """
    folder = data_of(config)
    if folder is None:
        if config.pictures:
            raise UserError("--pictures names files of a dataset: give it with --data")
        return _own(subject, config)
    dataset = open_pinned(folder)
    if dataset.network_shape_chw != subject.shape_chw:
        raise UserError(
            f"{folder} holds {_shape(dataset.network_shape_chw)}, but the network "
            f"{config.run} makes {_shape(subject.shape_chw)}: prepare a dataset of that shape"
        )
    return _of_dataset(subject, dataset, config)


def _of_dataset(subject: Subject, dataset: PinnedDataset, config: VisualizeConfig) -> Specimens:
    split = _fullest_held_out(dataset)
    clean, labels = pictures_of(dataset, subject.device, at_most=config.batch, split=split)
    rows = _named(dataset, config.pictures) if config.pictures else _two(dataset, split)
    names = [item.file_name for item in dataset.items()]
    pair_labels = torch.from_numpy(dataset.labels[list(rows)]).to(subject.device)
    kind = "training" if split == "train" else "held-out"
    return Specimens(
        clean=clean,
        labels=_known(subject, dataset, labels),
        pair=torch.cat([_read(dataset, row) for row in rows]).to(subject.device),
        pair_labels=_known(subject, dataset, pair_labels),
        pair_names=(names[rows[0]], names[rows[1]]),
        words=f"{len(clean)} {kind} pictures of {dataset.folder.name}",
    )


def _fullest_held_out(dataset: PinnedDataset) -> SplitName:
    """Held-out pictures where there are two; those trained on otherwise."""
    order: tuple[SplitName, ...] = ("validation", "test", "train")
    for name in order:
        if len(dataset.split[name]) >= 2:
            return name
    raise UserError(f"{dataset.folder} has fewer than 2 pictures in each split: prepare more")


def _two(dataset: PinnedDataset, split: SplitName) -> tuple[int, int]:
    """Rows of a picture each of the first two classes, or of the first two pictures."""
    rows = dataset.split[split]
    labels = dataset.labels[rows.start : rows.stop]
    kinds, firsts = np.unique(labels, return_index=True)
    second = int(firsts[1]) if len(kinds) > 1 else 1
    return rows.start + (int(firsts[0]) if len(kinds) > 1 else 0), rows.start + second


def _named(dataset: PinnedDataset, wanted: tuple[str, ...]) -> tuple[int, int]:
    places = {item.file_name: row for row, item in enumerate(dataset.items())}
    for name in wanted:
        if name not in places:
            example = next(iter(places), "")
            raise UserError(
                f"{dataset.folder} has no picture {name!r}: take file names of its items.jsonl, "
                f"such as {example!r}"
            )
    return places[wanted[0]], places[wanted[1]]


def _read(dataset: PinnedDataset, row: int) -> Tensor:
    """One picture as the network reads it, 1×C×H×W."""
    if dataset.latents is not None:
        return torch.from_numpy(np.array(dataset.latents[row : row + 1, 0])).float()
    return as_network_input(torch.from_numpy(np.array(dataset.images_nhwc[row : row + 1])))


def _known(subject: Subject, dataset: PinnedDataset, labels: Tensor) -> Tensor:
    """The network's class indices of a dataset's, by name; "any class" for unknown ones.

    A network whose classes have no names of their own has the dataset's, in their order.
    """
    names = {name: place for place, name in enumerate(subject.label_names)}
    if subject.no_label is None:
        return labels.clamp(max=max(0, len(names) - 1))
    table = torch.tensor([names.get(name, subject.no_label) for name in dataset.label_names])
    return table.to(labels.device)[labels]


def _own(subject: Subject, config: VisualizeConfig) -> Specimens:
    """Pictures that the network draws itself, classes in turn."""
    seeds = range(config.seed, config.seed + min(_OWN, config.batch))
    labels = torch.tensor([k % max(1, len(subject.label_names)) for k in range(len(seeds))])
    labels = labels.to(subject.device)
    sigmas = noise_levels(18, sigma_min=subject.sigma_min, sigma_max=subject.sigma_max)
    start = starting_noise(list(seeds), subject.shape_chw).to(subject.device) * sigmas[0]
    drawn = dpmpp_2m(subject.denoise(labels), start, sigmas, [])
    clean = drawn if subject.latents else drawn.clamp(-1, 1)
    return Specimens(
        clean=clean,
        labels=labels,
        pair=clean[:2],
        pair_labels=labels[:2],
        pair_names=(f"seed {seeds[0]}", f"seed {seeds[1]}"),
        words=f"{len(clean)} pictures that the network drew itself (no --data was given)",
    )


def _shape(shape_chw: tuple[int, int, int]) -> str:
    return f"{shape_chw[2]}×{shape_chw[1]} with {shape_chw[0]} channels"
