"""The training pictures in memory, and each step's batch as a function of (seed, step) alone.

Nothing random outlives a step: order, noise, flips and label drops are drawn from generators made
from the seed and the step, so a resumed run draws what an undisturbed one would have drawn, and
any number of processes share one global batch.
"""

import dataclasses
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.pinned import PinnedDataset, SplitName
from core.diffusion.pixels import as_network_input
from core.diffusion.schedule import NoiseSchedule
from core.errors import UserError
from core.seeds import mixed_seed
from core.training.augment import changed, draw_changes
from core.training.config import TrainConfig
from core.training.order import epoch_order, score_weights

_GPU_SHARE = 0.25
"""Largest share of a GPU's free memory that the pictures may take; beyond it they stay outside."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """One process's share of a step's pictures, on its device."""

    clean: Tensor
    """N×C×H×W float32: premultiplied pictures in [-1, 1], or latents."""
    labels: Tensor
    """N class indices; dropped ones are `no_label`."""
    sigma: Tensor
    """N noise levels."""
    noise: Tensor
    """N×C×H×W unit noise."""
    rows: Tensor
    """N places in the global batch."""
    told: Tensor | None = None
    """N×8 numbers of what was done to the pictures, see `augment.CHANGES`; None = nothing."""

    def parts(self, count: int) -> "list[Batch]":
        """Nearly equal micro-batches; fewer than `count` when there are not so many pictures."""
        count = min(count, len(self.rows))
        split = {
            name: values.tensor_split(count)
            for name, values in vars(self).items()
            if values is not None
        }
        return [Batch(**{name: part[k] for name, part in split.items()}) for k in range(count)]


class TrainingPictures:
    """A dataset's train split, held where it is quickest to reach, or read from its file."""

    def __init__(
        self,
        dataset: PinnedDataset,
        config: TrainConfig,
        device: torch.device,
        *,
        hold: bool = True,
    ) -> None:
        _require_changeable(dataset, config)
        self._map, labels = _stored(dataset, "train")
        self._shape_chw = dataset.network_shape_chw
        self._latent = dataset.latents is not None
        self._config, self._device = config, device
        self._no_label = len(dataset.label_names)
        self._labels = torch.from_numpy(np.array(labels))
        self._weights = score_weights(dataset, config.score_weight)
        self._held = _hold(self._map, device) if hold else None
        self._order_epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, step: int, *, rank: int = 0, processes: int = 1) -> Batch:
        """Rank's slice of the global batch of `step` (from 0)."""
        config, count = self._config, self._config.batch_size
        generator = torch.Generator().manual_seed(mixed_seed(config.seed, step, 1))
        noise = self._noise(step, generator)
        sigma = noise_schedule(config).draw(count, generator)
        flipped = torch.rand(count, generator=generator) < (0.5 if config.flip else 0.0)
        dropped = torch.rand(count, generator=generator) < config.label_drop
        rows = self._rows(step)
        mine = slice(count * rank // processes, count * (rank + 1) // processes)
        labels = self._labels[rows].masked_fill(dropped, self._no_label)
        clean = self._clean(rows[mine], flipped[mine])
        told = self._changes(step)
        if told is not None:
            told = _sent(told[mine], self._device)
            clean = changed(clean, told)
        return Batch(
            clean=clean,
            labels=_sent(labels[mine], self._device),
            sigma=_sent(sigma[mine], self._device),
            noise=noise[mine],
            rows=torch.arange(mine.start, mine.stop, device=self._device),
            told=told,
        )

    def _noise(self, step: int, generator: torch.Generator) -> Tensor:
        """The global batch's noise on the device: a GPU draws its own, quicker than it is sent."""
        shape = (self._config.batch_size, *self._shape_chw)
        if self._device.type == "cuda":
            generator = torch.Generator(self._device)
            generator.manual_seed(mixed_seed(self._config.seed, step, 6))
        return torch.randn(shape, generator=generator, device=generator.device)

    def _changes(self, step: int) -> Tensor | None:
        """What is done to the pictures of the global batch; None without augmentation."""
        config = self._config
        if config.augment == 0:
            return None
        generator = torch.Generator().manual_seed(mixed_seed(config.seed, step, 5))
        return draw_changes(
            config.batch_size, chance=config.augment, mirror=not config.flip, generator=generator
        )

    def _rows(self, step: int) -> Tensor:
        """Dataset rows of a step: shuffled epochs, end to end."""
        first = step * self._config.batch_size
        position = torch.arange(first, first + self._config.batch_size)
        epochs = position // len(self)
        rows = [
            self._epoch_order(epoch)[position[epochs == epoch] % len(self)]
            for epoch in range(int(epochs[0]), int(epochs[-1]) + 1)
        ]
        return torch.cat(rows)

    def _epoch_order(self, epoch: int) -> Tensor:
        if epoch != self._order_epoch:
            generator = torch.Generator().manual_seed(mixed_seed(self._config.seed, epoch, 2))
            self._order = epoch_order(len(self), self._weights, generator)
            self._order_epoch = epoch
        return self._order

    def _clean(self, rows: Tensor, flipped: Tensor) -> Tensor:
        """Network input, N×C×H×W, some of it mirrored; of latents, both kinds are stored."""
        if self._latent:
            return self._chosen(rows, flipped.long()).float()
        clean = as_network_input(self._chosen(rows))
        if not self._config.flip:
            return clean
        mirror = _sent(flipped, self._device)[:, None, None, None]
        return torch.where(mirror, clean.flip(3), clean)

    def _chosen(self, *index: Tensor) -> Tensor:
        """What is stored there, on the device."""
        if self._held is None:
            places = tuple(axis.numpy() for axis in index)
            return _sent(torch.from_numpy(self._map[places]), self._device)
        if self._held.device.type == self._device.type:
            return self._held[tuple(_sent(axis, self._device) for axis in index)]
        return _sent(self._held[index], self._device)


def noise_schedule(config: TrainConfig) -> NoiseSchedule:
    """The noise levels that a config trains."""
    return NoiseSchedule(
        kind=config.noise_schedule,
        mean=config.noise_mean,
        std=config.noise_std,
        timesteps=config.timesteps,
    )


def pictures_of(
    dataset: PinnedDataset, device: torch.device, *, at_most: int = 256, split: SplitName
) -> tuple[Tensor, Tensor]:
    """Evenly spaced pictures of a split as network input, N×C×H×W, and their labels, N."""
    stored, labels = _stored(dataset, split)
    rows = np.unique(np.linspace(0, len(stored) - 1, min(at_most, len(stored))).astype(int))
    chosen = torch.from_numpy(np.array(stored[rows])).to(device)
    clean = as_network_input(chosen) if dataset.latents is None else chosen[:, 0].float()
    return clean, torch.from_numpy(np.array(labels[rows])).to(device)


def _stored(dataset: PinnedDataset, split: SplitName) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A split's latents (N×2×C×h×w, see PinnedDataset) or else its pictures, and its labels."""
    images, labels = dataset.part(split)
    rows = dataset.split[split]
    return (images if dataset.latents is None else dataset.latents[rows.start : rows.stop]), labels


def _require_changeable(dataset: PinnedDataset, config: TrainConfig) -> None:
    if config.augment and dataset.latents is not None:
        raise UserError(
            f"--augment is {config.augment:g}, but {dataset.folder} holds latents, which cannot be "
            "turned or coloured: leave --augment at 0, or prepare the pictures without --encode"
        )


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """On the device. To a GPU from pinned memory: an ordinary copy would wait for its work."""
    if device.type == "cpu":
        return values
    return values.pin_memory().to(device, non_blocking=True)


def _hold(images: NDArray[Any], device: torch.device) -> Tensor | None:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.nbytes < free * _GPU_SHARE:
            return torch.from_numpy(np.array(images)).to(device)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return None if images.nbytes > memory / 2 else torch.from_numpy(np.array(images))
