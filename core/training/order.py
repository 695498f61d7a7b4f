"""In which order an epoch shows the pictures, and how often those that curators like best."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.data.pinned import PinnedDataset
from core.errors import UserError


def score_weights(dataset: PinnedDataset, strength: float) -> Tensor | None:
    """Relative weights of the training pictures, N float64; None when all count alike.

    e^(strength·z), with z a picture's score standardised over the train split; 0 where it has none.
    UserError when no training picture has a score.
    """
    if strength == 0:
        return None
    rows = dataset.split["train"]
    scores = None if dataset.scores is None else dataset.scores[rows.start : rows.stop]
    if scores is None or np.isnan(scores).all():
        raise UserError(
            f"--score-weight is {strength:g}, but no training picture of {dataset.folder} has a "
            "score: rank the pictures in the curation app and prepare again, or leave it at 0"
        )
    return torch.from_numpy(np.exp(strength * _standardised(scores)))


def epoch_order(count: int, weights: Tensor | None, generator: torch.Generator) -> Tensor:
    """`count` rows out of range(count), shuffled: each once, or in proportion to its weight.

    By systematic resampling: a row that is expected e times comes floor(e) or ceil(e) times.
    """
    order = torch.randperm(count, generator=generator)
    if weights is None:
        return order
    # Shuffled before, so that neighbours in the dataset do not share their luck, and after.
    ends = weights[order].cumsum(0) * (count / weights.sum())
    ends[-1] = count
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    ends = (ends + offset).floor().long()
    copies = ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
    return order.repeat_interleave(copies)[torch.randperm(count, generator=generator)]


def _standardised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = np.nanstd(scores)
    if spread == 0:
        return np.zeros_like(scores)
    standardised: NDArray[np.float64] = (scores - np.nanmean(scores)) / spread
    return np.nan_to_num(standardised)
