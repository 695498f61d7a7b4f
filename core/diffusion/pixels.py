"""Stored pictures as the network sees them."""

from torch import Tensor


def as_network_input(images_nhwc: Tensor) -> Tensor:
    """uint8 N×H×W×C to float32 N×C×H×W in [-1, 1]."""
    return images_nhwc.permute(0, 3, 1, 2).float() / 127.5 - 1
