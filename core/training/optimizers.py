"""Which optimiser moves which parameters."""

import itertools
from typing import Any, Protocol

import torch
from torch import nn

from core.diffusion.denoiser import UNet
from core.training.config import TrainConfig
from core.training.muon import Muon

_NOT_MATRICES = ("conv_in.", "conv_out.", "embedding.", "encoder_hid_proj.")
"""Layers that meet the pictures, the time or the class: better with AdamW."""

_BETA1 = 0.9


class OptimizerSettings(Protocol):
    """What of a config an optimiser depends on."""

    @property
    def optimizer(self) -> str:
        """Its name."""

    @property
    def learning_rate(self) -> float:
        """The rate at its highest."""

    @property
    def weight_decay(self) -> float:
        """Decoupled weight decay."""

    @property
    def beta2(self) -> float:
        """Memory for squared gradients."""


def new_optimizers(
    unet: UNet,
    config: TrainConfig,
    *,
    bf16: bool = True,
    uncertainty: nn.Module | None = None,
) -> list[torch.optim.Optimizer]:
    """The config's optimiser, or AdamW and Muon; each group knows its `highest_lr`.

    bf16: Muon's arithmetic, fp32 otherwise. uncertainty: a module of the loss, moved by the first
    optimiser in its last group, without weight decay. All state that decides a step (also Prodigy's
    estimates and ADOPT's count of steps) is in `state_dict()`.
    """
    named = list(unet.named_parameters())
    matrices = []
    if config.optimizer == "muon":
        matrices = [p for name, p in named if p.ndim >= 2 and not _is_outer(name)]
    chosen = {id(parameter) for parameter in matrices}
    groups: list[dict[str, Any]] = [{"params": [p for _, p in named if id(p) not in chosen]}]
    if uncertainty is not None:
        groups.append({"params": [*uncertainty.parameters()], "weight_decay": 0.0})
    optimizers = [new_optimizer(groups, config)]
    if matrices:
        optimizers.append(
            Muon(matrices, config.muon_rate, weight_decay=config.weight_decay, bf16=bf16)
        )
    for group in itertools.chain(*(optimizer.param_groups for optimizer in optimizers)):
        group["highest_lr"] = group["lr"]
    return optimizers


def new_optimizer(groups: list[dict[str, Any]], config: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimiser by its name; with `muon`, the AdamW beside it."""
    rate, decay, betas = config.learning_rate, config.weight_decay, (_BETA1, config.beta2)
    match config.optimizer:
        case "adam":
            return torch.optim.Adam(groups, rate, betas, fused=True)
        case "rmsprop":
            return torch.optim.RMSprop(groups, rate, config.beta2)
        case "prodigy":
            # Imported when used: the package has a hundred optimisers and takes most of a second.
            from pytorch_optimizer import Prodigy

            # What it finds must not depend on our warm-up of the rate. Without a correction of the
            # moments' bias it found the rate in a third of the steps.
            return Prodigy(groups, rate, betas, weight_decay=decay, safeguard_warmup=True)
        case "adopt":
            from pytorch_optimizer import ADOPT

            # On a CPU all parameters at once take twice the time: they fit into no cache.
            at_once = bool(groups[0]["params"][0].is_cuda)
            return ADOPT(
                groups, rate, betas, weight_decay=decay, weight_decouple=True, foreach=at_once
            )
        case _:
            return torch.optim.AdamW(groups, rate, betas, weight_decay=decay, fused=True)


def _is_outer(name: str) -> bool:
    return any(part in name for part in _NOT_MATRICES)
