"""What the classifier's layers answer to a picture: the features that sets are compared by.

The last 128 features, of a picture at 32 px, tell what it shows; the means of the first two
stages' 32 and 64, at 64 px, how it is drawn. On photographs of 64 px the last features alone do not
feel what lies under 48 px, nor noise of 8 levels, and all stages at 32 px do not either; these do,
and still feel a missing class most. Detail finer than 64 px is not seen.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from core.diffusion.pixels import as_network_input

FEATURES = 128 + 32 + 64
"""Features of a picture."""
COARSE_PX = 32
"""Side of the pictures that the classifier learns from."""
_FINE_PX = 64
_BEFORE_CLASSES = -2
"""Less the dropout and the classes, the network ends with its 128 features."""
_FIRST_STAGE, _SECOND_STAGE = slice(0, 6), slice(6, 13)
"""Each up to its last activation, the pooling before it included."""


def features_of(network: nn.Sequential, images_nhwc: Sequence[Tensor]) -> Tensor:
    """Features, N×`FEATURES`, of premultiplied uint8 pictures; each tensor may have its size."""
    shows = network[:_BEFORE_CLASSES](torch.cat([resized(i, COARSE_PX) for i in images_nhwc]))
    first = network[_FIRST_STAGE](torch.cat([resized(i, _FINE_PX) for i in images_nhwc]))
    second = network[_SECOND_STAGE](first)
    return torch.cat([shows, first.mean((2, 3)), second.mean((2, 3))], dim=1)


def resized(images_nhwc: Tensor, side_px: int) -> Tensor:
    """uint8 N×H×W×C to float N×C×side×side in [-1, 1]."""
    parts = [
        functional.interpolate(
            as_network_input(part), (side_px, side_px), mode="bilinear", antialias=True
        )
        for part in torch.split(images_nhwc, 512)
    ]
    return torch.cat(parts)
