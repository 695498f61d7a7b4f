"""A U-Net that is told how its training picture was changed, beside the picture's class.

Only training needs it: `plain` gives the network as diffusers knows it, which was told nothing.
"""

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from core.diffusion.denoiser import UNet
from core.seeds import mixed_seed
from core.training.augment import CHANGES


class ToldEmbedding(nn.Embedding):
    """The class embedding, plus a linear function of what was done to the picture.

    Spread like the classes' rows from the start: begun at zero, the network had learned to average
    over the changes before it heard of them, and its samples were as smeared as a deaf one's.
    """

    def __init__(self, classes: nn.Embedding, seed: int) -> None:
        super().__init__(
            classes.num_embeddings, classes.embedding_dim, _weight=classes.weight.detach()
        )
        # A generator of its own: the other weights are those of the network without this.
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(classes.embedding_dim, len(CHANGES), generator=generator)
        self.changes = nn.Parameter(rows.to(classes.weight.device))
        self.told: Tensor | None = None
        """N×8 numbers of the batch's pictures, see `augment.CHANGES`; None = no change."""

    def forward(self, labels: Tensor) -> Tensor:
        """Labels N to embeddings N×E."""
        embedded: Tensor = super().forward(labels)
        if self.told is None:
            return embedded
        return embedded + nn.functional.linear(self.told, self.changes)


def tell_network(unet: UNet, *, seed: int) -> None:
    """Give the U-Net a class embedding that can be told changes; in place."""
    unet.class_embedding = ToldEmbedding(unet.class_embedding, mixed_seed(seed, 7))


@contextlib.contextmanager
def telling(unet: UNet, told: Tensor | None) -> Iterator[None]:
    """While this holds, the network's pictures are changed as `told`, N×8, says."""
    embedding = unet.class_embedding
    if told is None or not isinstance(embedding, ToldEmbedding):
        yield
        return
    embedding.told = told
    try:
        yield
    finally:
        embedding.told = None


def plain(unet: UNet) -> UNet:
    """The same network, its weights shared, without the ear for changes."""
    embedding = unet.class_embedding
    if not isinstance(embedding, ToldEmbedding):
        return unet
    network: UNet = copy.copy(unet)
    network._modules = dict(unet._modules)
    network.class_embedding = nn.Embedding(
        embedding.num_embeddings, embedding.embedding_dim, _weight=embedding.weight
    ).requires_grad_(embedding.weight.requires_grad)
    return network
