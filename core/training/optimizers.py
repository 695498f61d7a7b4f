"""Which optimiser moves which parameters."""

import torch
from diffusers import UNet2DModel

from core.training.config import TrainConfig
from core.training.muon import Muon

_NOT_MATRICES = ("conv_in.", "conv_out.", "embedding.")
"""Layers that meet the pictures, the time or the class: better with AdamW."""


def new_optimizers(
    unet: UNet2DModel, config: TrainConfig, *, bf16: bool = True
) -> list[torch.optim.Optimizer]:
    """AdamW alone, or AdamW and Muon; each group knows its `highest_lr`.

    bf16: Muon's arithmetic, fp32 otherwise.
    """
    named = list(unet.named_parameters())
    matrices = []
    if config.optimizer == "muon":
        matrices = [p for name, p in named if p.ndim >= 2 and not _is_outer(name)]
    chosen = {id(parameter) for parameter in matrices}
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [parameter for _, parameter in named if id(parameter) not in chosen],
            lr=config.learning_rate,
            betas=(0.9, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
    ]
    if matrices:
        optimizers.append(
            Muon(matrices, config.muon_rate, weight_decay=config.weight_decay, bf16=bf16)
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["highest_lr"] = group["lr"]
    return optimizers


def _is_outer(name: str) -> bool:
    return any(part in name for part in _NOT_MATRICES)
