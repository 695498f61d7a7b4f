"""Muon: momentum whose direction is made orthogonal, for the matrices of a network.

In one short comparison on the starter animals its held-out error ended a fifth to a quarter below
AdamW's after as many steps, each at 1.4 times the processor time (README, "What we measured").
Convolutions are taken as matrices, out × (in·h·w). Everything else (biases, norms, embeddings, the
first and last layer) is better served by AdamW. Source: Jordan et al. 2024, "Muon: an optimizer for
hidden layers in neural networks".
"""

from collections.abc import Iterable

import torch
from torch import Tensor

_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        bf16: bool = True,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._bf16 = bf16

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, float]) -> None:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        average = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(average, group["momentum"])
        matrix = ahead.reshape(len(ahead), -1)
        direction = orthogonalised(matrix, bf16=self._bf16)
        scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction.view_as(parameter), alpha=-group["lr"] * scale)


def orthogonalised(matrix: Tensor, *, bf16: bool = True) -> Tensor:
    """The matrix (R×C) with its singular values pushed to about 1 (0.7 to 1.2).

    Five Newton-Schulz rounds, in bf16 or fp32, on the side where the Gram matrix is small.
    (Iterating the Gram matrix alone would cost a third, but diverges on the nearly singular
    gradients of the first steps.) Rounding to bf16 makes a last bit of the gradient into a
    thousandth of the direction: with it, the losses of one and of two processes part by 1e-3 in 50
    steps; in fp32, at twice the price, by 2e-7.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(torch.bfloat16 if bf16 else torch.float32)
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    result: Tensor = (x.T if tall else x).float()
    return result
