"""The adapters of a pipeline: put in, read out, and put back."""

from collections.abc import Iterator
from typing import Any

import torch
from peft import LoraConfig as PeftConfig
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from core.errors import UserError
from core.pretrained.lora.config import TARGETS, TEXT_TARGETS, LoraConfig
from core.pretrained.lora.texts import text_encoders

UNET = "unet"


class Adapters:
    """Trainable low-rank matrices (fp32) in a frozen pipeline's networks."""

    def __init__(self, pipeline: Any, config: LoraConfig) -> None:
        """Put them in; their first values are decided by the seed. They add nothing at first."""
        self.modules: dict[str, Any] = {UNET: pipeline.unet}
        if config.text_encoders:
            self.modules |= text_encoders(pipeline)
        check_targets(pipeline.unet, config)
        torch.manual_seed(config.seed)
        for name, module in self.modules.items():
            targets = config.target_names if name == UNET else TEXT_TARGETS
            _put_in(module, targets, config)

    def named_parameters(self, component: str) -> Iterator[tuple[str, nn.Parameter]]:
        """What is trained of a component."""
        named = self.modules[component].named_parameters()
        return ((name, weight) for name, weight in named if weight.requires_grad)

    def parameters(self) -> list[nn.Parameter]:
        """All that is trained, in one order."""
        return [w for component in self.modules for _, w in self.named_parameters(component)]

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Weights by component, as peft names them."""
        return {
            component: {
                name: tensor.detach().to("cpu", copy=True).contiguous()
                for name, tensor in get_peft_model_state_dict(module).items()
            }
            for component, module in self.modules.items()
        }

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Take weights that `state` gave; ValueError when they are of other adapters."""
        for component, module in self.modules.items():
            found = set_peft_model_state_dict(module, state[component])
            missing = [name for name in found.missing_keys if "lora_" in name]
            if missing or found.unexpected_keys:
                raise ValueError(f"weights of {component} do not fit its adapters")


def check_targets(unet: Any, config: LoraConfig) -> None:
    """UserError when none of the network's layers ends as --targets say."""
    names = [name for name, _ in unet.named_modules()]
    for end in config.target_names:
        if any(name == end or name.endswith("." + end) for name in names):
            return
    raise UserError(
        f"--targets {' '.join(config.targets)}: no layer of the U-Net ends so; known groups are "
        f"{', '.join(TARGETS)}"
    )


def _put_in(module: Any, targets: tuple[str, ...], config: LoraConfig) -> None:
    asked = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(targets),
        init_lora_weights="gaussian",
    )
    module.add_adapter(asked)
    for weight in module.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
