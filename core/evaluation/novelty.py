"""Which pictures are copies of training pictures: mirrored, shifted and turned ones too.

Pictures are compared at 16 px, each channel less its mean and all together of length 1, so that
neither brightness nor tint hides a copy. Cartoons are nearer to each other than photographs are, so
what is told is how much nearer the nearest training picture is than the next 49 on average
(Carlini et al. 2023, "Extracting training data from diffusion models", section 4.2.2). A copy is
nearer than all but 1 in 100 held-out pictures, which are copies of none.

A picture that was shifted and turned is near to its original no more. So the training pictures that
are most alike at 8 px are laid over it (`core.evaluation.registration`), and how much of it the
best leaves unexplained is told, too, and compared with held-out pictures again. Where held-out
pictures themselves have near twins, a single copy cannot be told from one; a set of copies can: the
share of its pictures that is nearer than held-out ones are is its `excess`.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from core.data.pinned import PinnedDataset, SplitName
from core.errors import UserError
from core.evaluation.features import resized
from core.evaluation.registration import FINE_PX, correlations, explained, moved
from core.images import Picture, premultiply

_SIDE_PX = 16
_CANDIDATES = 16
"""Training pictures, mirrored or not, that are laid over a picture."""
_FINALISTS = 2
"""Of those, how many are laid over it with care."""
_NEIGHBOURS = 50
_LEAST_CONTRAST = 0.04
"""Root mean square in [-1, 1] below which a picture is plain, and alike to none."""
_QUANTILE = 0.01
_LARGEST_THRESHOLD = 0.7
"""What is less near than this is no copy for people either, whatever few held-out pictures say."""
_MOST_HELD_OUT = 1000
_MOST_LAID = 400
"""Of those, as laying pictures over each other takes 5 ms each: training waits for it."""
_WAYS = [
    (turn_deg, x, y)
    for turn_deg in (-6.0, 0.0, 6.0)
    for x, y in ((0.0, 0.0), (0.08, 0.08), (-0.08, 0.08), (0.08, -0.08), (-0.08, -0.08))
]
"""How a picture is moved to find its candidates: degrees, and shifts by shares of a side."""
_CHANCE = 0.001
_LEAST_THRESHOLD = 1e-3
"""Of datasets whose held-out pictures are training pictures."""
SUSPICIOUS_RATE = 0.05
"""Copies among pictures up to which no set is said to copy; honest ones have 1 or 2 in 100."""
_LARGEST_LAID = 0.5
_QUANTILE_LAID = 0.005
"""Half as many: held-out pictures have two ways to be taken for copies."""
_BLOCK = 256
"""Pictures compared at a time: under 200 MiB beside 50,000 training pictures (of 400 MiB)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matches:
    """What pictures are nearest to, N each."""

    rows: NDArray[np.int64]
    """The nearest row of the train split."""
    distances: NDArray[np.float32]
    """How much nearer it is than the next ones: 0 = the same, 1 = no nearer."""
    laid: NDArray[np.float32]
    """√(1 - R²): what the nearest leaves unexplained when it is laid over the picture, 0…1."""
    laid_rows: NDArray[np.int64]
    """Which one that is."""
    closeness: NDArray[np.float32]
    """The nearer of both, over what a copy is nearer than: under 1 for copies."""
    copies: NDArray[np.bool_]
    """Whether the picture is a copy of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Excess:
    """How many more of a set's pictures are near to a training picture than held-out ones are."""

    share: float
    """Of the set (0…1), at the distance where it is largest (Smirnov's one-sided statistic)."""
    chance: float
    """What honest sets of this size exceed once in 1000."""

    @property
    def copies(self) -> bool:
        """Whether that many cannot be chance: the set holds copies."""
        return self.share > self.chance


class TrainingNeighbours:
    """The training pictures of a dataset, and how near others are to them.

    UserError when there are no training pictures.
    """

    def __init__(self, dataset: PinnedDataset) -> None:
        images, _ = dataset.part("train")
        if len(images) == 0:
            raise UserError(f"{dataset.folder} has no training pictures to find copies of")
        self._channels = dataset.channels
        blocks = [np.array(images[at : at + _BLOCK]) for at in range(0, len(images), _BLOCK)]
        self._train = torch.cat([_embedded(block) for block in blocks])
        self._coarse = _coarse(self._train)
        self._small = torch.cat([_shown(block) for block in blocks])
        self.held_out_laid: NDArray[np.float32] = np.empty(0, np.float32)
        """What training pictures leave unexplained of held-out ones, rising."""
        self.calibrated_on = 0
        """So many held-out pictures gave the thresholds."""
        self.threshold, self.laid_threshold = self._calibrated(dataset)
        """Below one of them, a picture is a copy."""

    def nearest(self, pictures: Sequence[Picture]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest row of the train split, N, and the relative distance to it, N, from 0 to 1.

        Pictures are straight-alpha H×W×C of any size. 0 = the same picture, or its mirror image;
        1 = no nearer than the next 49. UserError for another number of channels.
        """
        found = [self._compared(self._embedded(part)) for part in _parts(pictures)]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        rows, distances = zip(*found, strict=True)
        return torch.cat(rows).numpy(), torch.cat(distances).numpy()

    def matches(self, pictures: Sequence[Picture]) -> Matches:
        """What each picture is nearest to, and whether it is a copy; as `nearest` otherwise."""
        rows, distances = self.nearest(pictures)
        found = [self._laid(*self._prepared(part)) for part in _parts(pictures)]
        laid_rows = torch.cat([torch.empty(0, dtype=torch.int64), *(row for row, _ in found)])
        laid = torch.cat([torch.empty(0), *(distance for _, distance in found)]).numpy()
        shares = (
            distances / max(self.threshold, _LEAST_THRESHOLD),
            laid / max(self.laid_threshold, _LEAST_THRESHOLD),
        )
        closeness = np.minimum(*shares).astype(np.float32)
        return Matches(
            rows=np.where(shares[1] < shares[0], laid_rows.numpy(), rows),
            distances=distances,
            laid=laid,
            laid_rows=laid_rows.numpy(),
            closeness=closeness,
            copies=closeness < 1,
        )

    def excess(self, laid: Sequence[float]) -> Excess:
        """Whether a set's pictures are nearer to training pictures than held-out ones are."""
        theirs, ours = self.held_out_laid, np.sort(np.asarray(laid, np.float32))
        if not len(theirs) or not len(ours):
            return Excess(share=0.0, chance=1.0)
        below = np.searchsorted(ours, ours, side="right") / len(ours)
        share = float((below - np.searchsorted(theirs, ours, side="right") / len(theirs)).max())
        chance = float(np.sqrt(-np.log(_CHANCE) / 2 * (1 / len(ours) + 1 / len(theirs))))
        return Excess(share=max(0.0, share), chance=min(1.0, chance))

    def are_too_many(self, copies: int, count: int) -> bool:
        """Whether so many copies among so many pictures are more than chance.

        Of honest pictures, 1 or 2 in 100 lie below thresholds that many held-out ones gave; of
        thresholds from a few it may be many more. With m held-out pictures that share is as if
        drawn from Beta(2 + 0.015 m, m), and their number is beta-binomial.
        """
        if copies <= SUSPICIOUS_RATE * count:
            return False
        if not self.calibrated_on:
            return True
        from scipy.stats import betabinom  # Takes half a second; only here.

        most = 2 + (_QUANTILE + _QUANTILE_LAID) * self.calibrated_on
        return bool(betabinom.sf(copies - 1, count, most, self.calibrated_on) < _CHANCE)

    def copies(self, pictures: Sequence[Picture]) -> NDArray[np.bool_]:
        """Which pictures are copies of a training picture, N."""
        return self.matches(pictures).copies

    def rate(self, pictures: Sequence[Picture]) -> float:
        """Share of the pictures (0…1) that are copies of a training picture; 0 of none."""
        return float(self.copies(pictures).mean()) if len(pictures) else 0.0

    def _calibrated(self, dataset: PinnedDataset) -> tuple[float, float]:
        """What few held-out pictures are nearer than; the largest when there are none."""
        splits: tuple[SplitName, ...] = ("validation", "test")
        rows = [row for split in splits for row in dataset.split[split]]
        chosen = rows[:: max(1, -(-len(rows) // _MOST_HELD_OUT))]
        if not chosen:
            return _LARGEST_THRESHOLD, _LARGEST_LAID
        every = -(-len(chosen) // _MOST_LAID)
        near, laid = [], []
        for at in range(0, len(chosen), _BLOCK):
            images = np.array(dataset.images_nhwc[chosen[at : at + _BLOCK]])
            embedded = _embedded(images)
            near.append(self._compared(embedded)[1])
            laid.append(self._laid(embedded[::every], _shown(images[::every]))[1])
        self.held_out_laid = torch.cat(laid).sort().values.numpy()
        self.calibrated_on = len(self.held_out_laid)
        return (
            min(_LARGEST_THRESHOLD, float(torch.cat(near).quantile(_QUANTILE))),
            min(_LARGEST_LAID, float(torch.cat(laid).quantile(_QUANTILE_LAID))),
        )

    def _embedded(self, pictures: Sequence[Picture]) -> Tensor:
        return self._prepared(pictures)[0]

    def _prepared(self, pictures: Sequence[Picture]) -> tuple[Tensor, Tensor]:
        """Embedded pictures, and as they are laid over others."""
        for picture in pictures:
            if picture.ndim != 3 or picture.shape[-1] != self._channels:
                channels = picture.shape[-1] if picture.ndim == 3 else 1
                raise UserError(
                    f"pictures with {channels} channels, but the training pictures have "
                    f"{self._channels}: name the dataset that their model was trained on"
                )
        stored = [premultiply(picture)[None] for picture in pictures]
        return torch.cat(list(map(_embedded, stored))), torch.cat(list(map(_shown, stored)))

    def _laid(self, embedded: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest rows and distances, N, when pictures are laid over each other."""
        both = torch.cat([self._likeness(embedded), self._likeness(_mirrored(embedded))], dim=1)
        count = len(self._train)
        places = both.topk(min(_CANDIDATES, 2 * count)).indices
        found = [
            self._best(
                shown[at : at + 64], places[at : at + 64] % count, places[at : at + 64] >= count
            )
            for at in range(0, len(shown), 64)
        ]
        rows, distances = zip(*found, strict=True)
        return torch.cat(rows), torch.cat(distances)

    def _likeness(self, embedded: Tensor) -> Tensor:
        """Coarse likeness to each training picture, N×T, at the best of some shifts and turns."""
        wide = embedded.view(len(embedded), -1, _SIDE_PX, _SIDE_PX)
        found = [_coarse(moved(wide, *way).flatten(1)) @ self._coarse.T for way in _WAYS]
        return torch.stack(found).amax(0)

    def _best(self, shown: Tensor, rows: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """Of K candidates for each picture, the row that explains it best, and how badly."""
        queries, candidates = _unit_range(shown), _unit_range(self._small[rows])
        candidates = torch.where(mirrored[:, :, None, None, None], candidates.flip(-1), candidates)
        few = min(_FINALISTS, rows.shape[1])
        finalists = correlations(queries, candidates).topk(few).indices
        every = torch.arange(len(rows))[:, None]
        finals = candidates[every, finalists].flatten(0, 1)
        shares = explained(queries.repeat_interleave(few, 0), finals).view(-1, few)
        best = shares.argmax(1)
        chosen = rows[every[:, 0], finalists[every[:, 0], best]]
        return chosen, (1 - shares.amax(1)).clamp(0, 1).sqrt()

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


def _coarse(embedded: Tensor) -> Tensor:
    """Embedded pictures at 8 px, which small shifts leave nearly as they are."""
    wide = functional.avg_pool2d(embedded.view(len(embedded), -1, _SIDE_PX, _SIDE_PX), 2)
    return functional.normalize(wide.flatten(1))


def _shown(images_nhwc: NDArray[np.uint8]) -> Tensor:
    """Premultiplied pictures as they are laid over others, uint8 N×C×32×32 to save memory."""
    small = resized(torch.from_numpy(np.array(images_nhwc)), FINE_PX)
    return ((small + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _unit_range(shown: Tensor) -> Tensor:
    return shown.float() / 127.5 - 1


def _mirrored(embedded: Tensor) -> Tensor:
    """Flattened square pictures, mirrored."""
    return embedded.view(len(embedded), -1, _SIDE_PX, _SIDE_PX).flip(3).flatten(1)


def _parts(pictures: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
    for at in range(0, len(pictures), _BLOCK):
        yield pictures[at : at + _BLOCK]
