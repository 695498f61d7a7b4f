"""Dropout whose masks depend on a picture's place in the global batch, on nothing else.

`nn.Dropout` draws one mask for the tensor that it gets, so the number of processes and of
micro-batches would change every mask. Here all of them draw the same random tile, twice as long as
one picture's activations, and picture n takes the stretch that begins at its own random offset:
independent within a picture, and as cheap as one mask.
"""

import torch
from torch import Tensor, nn


class RowDropout(nn.Module):
    """Dropout for N×… activations of the rows `rows` of a global batch of `batch_size`.

    The default generator must stand at the same place in all processes and micro-batches.
    """

    def __init__(self, p: float, batch_size: int) -> None:
        super().__init__()
        self.p, self.batch_size = p, batch_size
        self.rows: Tensor | None = None
        """N places in the global batch; None = the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share p of x (N×C×…) and scale up the rest, while training."""
        if not self.training:
            return x
        size = x[0].numel()
        tile = (torch.rand(2 * size, device=x.device) >= self.p).to(x.dtype).div_(1 - self.p)
        begin = torch.randint(size + 1, (self.batch_size,), device=x.device)
        stretches = tile.unfold(0, size, 1)[begin if self.rows is None else begin[self.rows]]
        # Channels last in memory, as the activations are.
        return x * stretches.view(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)


def use_row_dropout(network: nn.Module, batch_size: int) -> list[RowDropout]:
    """Put a new RowDropout in the place of every dropout that drops something; returns them."""
    made = []
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout | RowDropout) and child.p > 0:
                made.append(RowDropout(child.p, batch_size))
                setattr(module, name, made[-1])
    return made
