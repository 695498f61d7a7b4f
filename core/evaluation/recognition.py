"""A small classifier, trained in a minute on a pinned dataset, that says what a picture shows.

It never sees a generated picture while it learns, so the share of samples that it recognises as
what they were asked to be is a fair, if coarse, figure of merit.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn

from core.data.pinned import PinnedDataset, SplitName
from core.errors import UserError
from core.evaluation.features import COARSE_PX, FEATURES, features_of, resized
from core.files import digest_bytes, read_json, write_json
from core.images import Picture, premultiply
from core.progress import progress
from core.sampleset import Sample
from core.seeds import mixed_seed
from core.threads import fixed_threads

_BATCH = 64
"""Pictures judged at a time: always the same ones together, so that sums round alike."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recognizer:
    """A trained classifier and what it is for."""

    network: nn.Sequential
    label_names: tuple[str, ...]
    channels: int
    dataset_digest: str
    """The data that it learned from."""
    held_out_accuracy: float
    """Share of that data's test pictures that it recognises."""

    @torch.no_grad()
    def probabilities(self, pictures: Sequence[Picture]) -> Tensor:
        """Class probabilities, N×L, of straight-alpha H×W×C pictures of any size."""
        with fixed_threads():
            small = torch.cat([resized(self._stored(p), COARSE_PX) for p in pictures])
            logits = [self.network(part) for part in torch.split(small, _BATCH)]
            return torch.cat(logits).softmax(1)

    @torch.no_grad()
    def features(self, pictures: Sequence[Picture]) -> Tensor:
        """Features, N×224, of straight-alpha H×W×C pictures of any size: see `features_of`."""
        parts = [pictures[at : at + _BATCH] for at in range(0, len(pictures), _BATCH)]
        with fixed_threads():
            found = [features_of(self.network, [*map(self._stored, part)]) for part in parts]
        return torch.cat([torch.empty((0, FEATURES)), *found])

    @torch.no_grad()
    def features_of_part(self, dataset: PinnedDataset, split: SplitName) -> Tensor:
        """Features, N×224, of a split's pictures; for a dataset of the pictures' kind."""
        images, _ = dataset.part(split)
        starts = range(0, len(images), _BATCH)
        title = f"features of the {split} pictures"
        found = [torch.empty((0, FEATURES))]
        with fixed_threads():
            for at in progress(starts, title=title, unit="batch", hidden=len(starts) < 20):
                part = torch.from_numpy(np.array(images[at : at + _BATCH]))
                found.append(features_of(self.network, [part]))
        return torch.cat(found)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights: figures of other weights do not compare."""
        return digest_bytes(save(self.network.state_dict()))

    def judge(self, samples: Sequence[Sample]) -> list[dict[str, Any]]:
        """What each sample is taken for, and with which confidence (0…1, four digits)."""
        return self.told(samples, self.probabilities([s.image_hwc for s in samples]))

    def told(self, samples: Sequence[Sample], probabilities: Tensor) -> list[dict[str, Any]]:
        """The same, of class probabilities, N×L, that are known already."""
        confidence, guess = probabilities.max(1)
        return [
            {
                "seed": sample.seed,
                "label": sample.label,
                "guess": self.label_names[index],
                "confidence": round(share, 4),
            }
            for sample, index, share in zip(
                samples, guess.tolist(), confidence.tolist(), strict=True
            )
        ]

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and facts into an existing folder."""
        facts = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "network"
        }
        save_file(self.network.state_dict(), folder / "network.safetensors")
        write_json(folder / "recognizer.json", facts)

    def _stored(self, picture: Picture) -> Tensor:
        """1×H×W×C, premultiplied like the pictures of a pinned dataset."""
        if picture.ndim != 3 or picture.shape[-1] != self.channels:
            channels = picture.shape[-1] if picture.ndim == 3 else 1
            raise UserError(
                f"pictures with {channels} channels, but the classifier learned from "
                f"{self.channels}: name the dataset that the samples' model was trained on"
            )
        return torch.from_numpy(premultiply(picture)[None])


def open_recognizer(folder: Path) -> Recognizer:
    """Read what `Recognizer.save` wrote."""
    facts = read_json(folder / "recognizer.json")
    names = tuple(facts.pop("label_names"))
    network = _network(facts["channels"], len(names))
    network.load_state_dict(load_file(folder / "network.safetensors"))
    return Recognizer(network=network.eval(), label_names=names, **facts)


def train_recognizer(dataset: PinnedDataset, *, epochs: int = 8, seed: int = 0) -> Recognizer:
    """Train on the train split, at 32 px, with mirrored, shifted, blurred and noisy copies.

    The same weights for any number of cores. UserError when there is nothing to train or test on.
    """
    images, _ = dataset.part("train")
    if len(images) == 0:
        raise UserError(f"{dataset.folder} has no training pictures to learn classes from")
    with fixed_threads():
        network = _trained_network(dataset, epochs=epochs, seed=seed)
        accuracy = held_out_accuracy(network, dataset, "test")
    return Recognizer(
        network=network,
        label_names=dataset.label_names,
        channels=dataset.channels,
        dataset_digest=dataset.digest,
        held_out_accuracy=accuracy,
    )


def _trained_network(dataset: PinnedDataset, *, epochs: int, seed: int) -> nn.Sequential:
    images, labels = dataset.part("train")
    pictures = resized(torch.from_numpy(np.array(images)), COARSE_PX)
    targets = torch.from_numpy(np.array(labels))
    torch.manual_seed(seed)
    network = _network(dataset.channels, len(dataset.label_names))
    steps = epochs * max(1, len(pictures) // 64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in progress(range(steps), title="learning the classes", unit="step"):
        generator = torch.Generator().manual_seed(mixed_seed(seed, step))
        rows = torch.randint(len(pictures), (64,), generator=generator)
        logits = network(_augmented(pictures[rows], generator))
        loss = functional.cross_entropy(logits, targets[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def held_out_accuracy(network: nn.Module, dataset: PinnedDataset, split: SplitName) -> float:
    """Share of a split's pictures that are recognised; UserError when the split is empty."""
    images, labels = dataset.part(split)
    if len(images) == 0:
        raise UserError(f"{dataset.folder} has no {split} pictures to test on")
    guess = _predict(network, torch.from_numpy(np.array(images))).argmax(1)
    return float((guess.numpy() == labels).mean())


def _network(channels: int, classes: int) -> nn.Sequential:
    """Three stages of 3×3 convolutions: 32 → 16 → 8 → 4 px, then the mean."""

    def stage(before: int, after: int) -> list[nn.Module]:
        return [
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]

    return nn.Sequential(
        *stage(channels, 32),
        *stage(32, 64),
        *stage(64, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, classes),
    )


def _augmented(batch_nchw: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of them, shift by up to 3 px, and blur or add noise to some."""
    count = len(batch_nchw)
    chance = torch.rand((count, 3), generator=generator)
    mirrored = torch.where(_wide(chance[:, 0] < 0.5), batch_nchw.flip(3), batch_nchw)
    shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
    shifted = torch.roll(mirrored, shift, (2, 3))
    blurred = functional.avg_pool2d(shifted, 3, stride=1, padding=1)
    softened = torch.where(_wide(chance[:, 1] < 0.2), blurred, shifted)
    noise = torch.randn(batch_nchw.shape, generator=generator) * 0.15
    return torch.where(_wide(chance[:, 2] < 0.3), softened + noise, softened)


@torch.no_grad()
def _predict(network: nn.Module, images_nhwc: Tensor) -> Tensor:
    logits = [network(resized(part, COARSE_PX)) for part in torch.split(images_nhwc, 512)]
    return torch.cat(logits).softmax(1)


def _wide(mask: Tensor) -> Tensor:
    return mask[:, None, None, None]
