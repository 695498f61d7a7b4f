"""The Inception network of the Fréchet Inception Distance, from a weights file that people fetch.

The figures of papers are in the features of TensorFlow's network of 2015-12-05, converted for
PyTorch. It differs from torchvision's in three places: averages at a border leave out what is
outside, the last block takes the maximum where others average, and there are 1008 classes. Pictures
are enlarged as TensorFlow 1 did it, whose bilinear grid starts at the corner of a pixel.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from core.errors import UserError

FEATURES = 2048
"""Of a picture."""
CLASSES = 1008
SIDE_PX = 299
WHERE = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
"""Where the weights are, 91 MB."""


class Inception:
    """The network with its weights: features and class probabilities."""

    def __init__(self, weights: Path) -> None:
        self._network = _open(weights)

    @torch.no_grad()
    def __call__(self, batch_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Features, N×2048, and probabilities, N×1008, of uint8 RGB pictures, N×3×H×W.

        Probabilities leave the bias out, as the Inception Score is defined.
        """
        enlarged = resize_like_tensorflow(batch_nchw.float(), SIDE_PX)
        features = self._network((enlarged - 128) / 128)
        return features, (features @ self._head.weight.T).softmax(1)

    @property
    def _head(self) -> nn.Linear:
        return cast(nn.Linear, self._network.head)

    def state(self) -> dict[str, Tensor]:
        """All weights, for their digest."""
        return dict(self._network.state_dict())


def resize_like_tensorflow(batch_nchw: Tensor, side_px: int) -> Tensor:
    """Bilinear, N×C×side×side, each result at its index times the scale, without half pixels."""
    wide = _along(batch_nchw, side_px, dim=2)
    return _along(wide, side_px, dim=3)


def _along(batch_nchw: Tensor, side_px: int, *, dim: int) -> Tensor:
    length = batch_nchw.shape[dim]
    places = torch.arange(side_px, dtype=torch.float32) * (length / side_px)
    before = places.floor().long()
    after = (before + 1).clamp(max=length - 1)
    share = (places - before).view([-1 if axis == dim else 1 for axis in range(4)])
    low, high = batch_nchw.index_select(dim, before), batch_nchw.index_select(dim, after)
    return low + (high - low) * share


def _open(weights: Path) -> nn.Module:
    if not weights.is_file():
        raise UserError(
            f"--weights {weights} is not there: fetch {WHERE} (91 MB) and name the file, or use "
            "--features built-in, which needs no download"
        )
    network = _network()
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(_renamed(state))
    except Exception as error:  # Whatever a file of strangers breaks in torch's reader.
        reason = str(error).splitlines()[0][:200]
        raise UserError(
            f"--weights {weights} is not the Inception network of the Fréchet distance "
            f"({reason}): fetch {WHERE}"
        ) from None
    return network.eval()


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The last layer is taken off the network, to be a head beside it."""
    changed = {name.replace("fc.", "head.", 1): value for name, value in state.items()}
    return {name: value for name, value in changed.items() if "AuxLogits" not in name}


def _network() -> nn.Module:
    """torchvision's network, changed where TensorFlow's differs; it ends with its features."""
    from torchvision.models import (  # type: ignore[import-untyped]  # it ships no types
        inception as vision,
    )

    network: Any = vision.Inception3(
        num_classes=CLASSES, aux_logits=False, transform_input=False, init_weights=False
    )
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d", *(f"Mixed_6{letter}" for letter in "bcde")):
        _pool_by(getattr(network, name), _mean_inside)
    _pool_by(network.Mixed_7b, _mean_inside)
    _pool_by(network.Mixed_7c, _largest)
    network.head, network.fc = network.fc, nn.Identity()
    network.dropout = nn.Identity()
    return cast(nn.Module, network)


def _mean_inside(features: Tensor) -> Tensor:
    return functional.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)


def _largest(features: Tensor) -> Tensor:
    return functional.max_pool2d(features, 3, stride=1, padding=1)


def _pool_by(block: Any, pool: Callable[[Tensor], Tensor]) -> None:
    """Let a block's pooling branch, the last of its results, pool otherwise."""
    forward = block._forward

    def changed(features: Tensor) -> Sequence[Tensor]:
        branches = list(forward(features))
        branches[-1] = block.branch_pool(pool(features))
        return branches

    block._forward = changed
