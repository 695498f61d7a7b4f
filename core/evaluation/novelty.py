"""Which pictures are copies of training pictures, mirrored ones too.

Pictures are compared at 16 px, each channel less its mean and all together of length 1, so that
neither brightness nor tint hides a copy. Cartoons are nearer to each other than photographs are, so
what is told is how much nearer the nearest training picture is than the next 49 on average
(Carlini et al. 2023, "Extracting training data from diffusion models", section 4.2.2). A copy is
nearer than all but 1 in 100 held-out pictures, which are copies of none.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.pinned import PinnedDataset, SplitName
from core.errors import UserError
from core.evaluation.features import resized
from core.images import Picture, premultiply

_SIDE_PX = 16
_NEIGHBOURS = 50
_LEAST_CONTRAST = 0.04
"""Root mean square in [-1, 1] below which a picture is plain, and alike to none."""
_QUANTILE = 0.01
_LARGEST_THRESHOLD = 0.7
"""What is less near than this is no copy for people either, whatever few held-out pictures say."""
_MOST_HELD_OUT = 1000
_BLOCK = 256
"""Pictures compared at a time: under 200 MiB beside 50,000 training pictures (of 150 MiB)."""


class TrainingNeighbours:
    """The training pictures of a dataset, and how near others are to them.

    UserError when there are no training pictures.
    """

    def __init__(self, dataset: PinnedDataset) -> None:
        images, _ = dataset.part("train")
        if len(images) == 0:
            raise UserError(f"{dataset.folder} has no training pictures to find copies of")
        self._channels = dataset.channels
        starts = range(0, len(images), _BLOCK)
        self._train = torch.cat([_embedded(images[at : at + _BLOCK]) for at in starts])
        self.threshold = self._calibrated(dataset)
        """Below it, a picture is a copy."""

    def nearest(self, pictures: Sequence[Picture]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest row of the train split, N, and the relative distance to it, N, from 0 to 1.

        Pictures are straight-alpha H×W×C of any size. 0 = the same picture, or its mirror image;
        1 = no nearer than the next 49. UserError for another number of channels.
        """
        parts = [pictures[at : at + _BLOCK] for at in range(0, len(pictures), _BLOCK)]
        found = [self._compared(self._embedded(part)) for part in parts]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        rows, distances = zip(*found, strict=True)
        return torch.cat(rows).numpy(), torch.cat(distances).numpy()

    def copies(self, pictures: Sequence[Picture]) -> NDArray[np.bool_]:
        """Which pictures are copies of a training picture, N."""
        copied: NDArray[np.bool_] = self.nearest(pictures)[1] < self.threshold
        return copied

    def rate(self, pictures: Sequence[Picture]) -> float:
        """Share of the pictures (0…1) that are copies of a training picture; 0 of none."""
        return float(self.copies(pictures).mean()) if len(pictures) else 0.0

    def _calibrated(self, dataset: PinnedDataset) -> float:
        """What 1 in 100 held-out pictures is nearer than; the largest when there are none."""
        splits: tuple[SplitName, ...] = ("validation", "test")
        rows = [row for split in splits for row in dataset.split[split]]
        chosen = rows[:: max(1, -(-len(rows) // _MOST_HELD_OUT))]
        if not chosen:
            return _LARGEST_THRESHOLD
        parts = [chosen[at : at + _BLOCK] for at in range(0, len(chosen), _BLOCK)]
        found = [self._compared(_embedded(dataset.images_nhwc[part]))[1] for part in parts]
        return min(_LARGEST_THRESHOLD, float(torch.cat(found).quantile(_QUANTILE)))

    def _embedded(self, pictures: Sequence[Picture]) -> Tensor:
        for picture in pictures:
            if picture.ndim != 3 or picture.shape[-1] != self._channels:
                channels = picture.shape[-1] if picture.ndim == 3 else 1
                raise UserError(
                    f"pictures with {channels} channels, but the training pictures have "
                    f"{self._channels}: name the dataset that their model was trained on"
                )
        return torch.cat([_embedded(premultiply(picture)[None]) for picture in pictures])

    def _compared(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest rows and relative distances of embedded pictures."""
        likeness = torch.maximum(queries @ self._train.T, _mirrored(queries) @ self._train.T)
        near, rows = likeness.topk(min(_NEIGHBOURS, len(self._train)))
        distance = (2 - 2 * near).clamp(min=0).sqrt()
        # Unit vectors that have nothing in common are √2 apart: beside a single training picture.
        others = distance[:, 1:].mean(1) if distance.shape[1] > 1 else distance.new_tensor(2).sqrt()
        return rows[:, 0], distance[:, 0] / others.clamp(min=1e-6)


def _embedded(images_nhwc: NDArray[np.uint8]) -> Tensor:
    """Premultiplied pictures as N unit vectors; plain ones are shorter."""
    small = resized(torch.from_numpy(np.array(images_nhwc)), _SIDE_PX)
    flat = (small - small.mean((2, 3), keepdim=True)).flatten(1)
    least = _LEAST_CONTRAST * flat.shape[1] ** 0.5
    unit: Tensor = flat / flat.norm(dim=1, keepdim=True).clamp(min=least)
    return unit


def _mirrored(embedded: Tensor) -> Tensor:
    return embedded.view(len(embedded), -1, _SIDE_PX, _SIDE_PX).flip(3).flatten(1)
