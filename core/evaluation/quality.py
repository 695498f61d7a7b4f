"""How far samples are from a dataset's own pictures, and how far those are from each other."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.data.pinned import PinnedDataset
from core.evaluation.frechet import Moments, frechet_of_moments, moments
from core.evaluation.recognition import Recognizer

_TENSORS = ("train", "train_labels", "held_out", "held_out_labels")
_LEAST = 2
"""Pictures that have a spread."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RealPictures:
    """A dataset's own pictures in the features of a classifier.

    Wherever samples were asked for by class, real classes are weighted alike: samples of cats
    alone are compared with cats.
    """

    label_names: tuple[str, ...]
    train: Tensor
    """Features, N×D, of the training pictures."""
    train_labels: Tensor
    """N indices into `label_names`."""
    held_out: Tensor
    """Features of the validation and test pictures."""
    held_out_labels: Tensor

    def frechet(self, features: Tensor, asked: Mapping[str, int]) -> float | None:
        """Fréchet distance of samples' features, N×D, to the training pictures.

        asked: how many samples were to be of each class. It falls as samples become more: figures
        compare at equal numbers. None with fewer than two samples or training pictures.
        """
        real = self._moments(self.train, self.train_labels, asked)
        if real is None or len(features) < _LEAST:
            return None
        return frechet_of_moments(moments(features), real)

    def floor(self, asked: Mapping[str, int]) -> tuple[float | None, int]:
        """What perfect samples reach: the same of held-out pictures; and how many those are.

        As many as samples, if there are so many. None with fewer than two of them.
        """
        rows = self._shares(self.held_out_labels, asked).nonzero()[:, 0]
        count = min(len(rows), sum(asked.values()))
        rows = rows[torch.arange(count) * len(rows) // max(1, count)]
        held_out = self._moments(self.held_out[rows], self.held_out_labels[rows], asked)
        real = self._moments(self.train, self.train_labels, asked)
        if real is None or held_out is None:
            return None, count
        return frechet_of_moments(held_out, real), count

    def save(self, path: Path) -> None:
        """Write the features (safetensors)."""
        save_file({name: getattr(self, name) for name in _TENSORS}, path)

    def _moments(
        self, features: Tensor, labels: Tensor, asked: Mapping[str, int]
    ) -> Moments | None:
        shares = self._shares(labels, asked)
        return moments(features, shares) if int((shares > 0).sum()) >= _LEAST else None

    def _shares(self, labels: Tensor, asked: Mapping[str, int]) -> Tensor:
        """Each picture's weight, N: its class counts as in the samples."""
        wanted = torch.tensor([asked.get(name, 0) for name in self.label_names]).double()
        there = labels.bincount(minlength=len(self.label_names))
        return (wanted / there.clamp(min=1))[labels]


def open_real(path: Path, label_names: tuple[str, ...]) -> RealPictures:
    """Read what `RealPictures.save` wrote."""
    return RealPictures(label_names=label_names, **load_file(path))


def measure_real(recognizer: Recognizer, dataset: PinnedDataset) -> RealPictures:
    """The features of all of a dataset's pictures: some minutes for 50,000."""
    held_out = [recognizer.features_of_part(dataset, split) for split in ("validation", "test")]
    labels = {split: torch.tensor(dataset.part(split)[1]) for split in dataset.split}
    return RealPictures(
        label_names=dataset.label_names,
        train=recognizer.features_of_part(dataset, "train"),
        train_labels=labels["train"],
        held_out=torch.cat(held_out),
        held_out_labels=torch.cat([labels["validation"], labels["test"]]),
    )
