"""DINOv2's features, from a local folder or the Hugging Face hub.

Stein et al. 2023, "Exposing flaws of generative model evaluation metrics", found distances in them
to agree with people where Inception's do not. Their figures are of `facebook/dinov2-large`.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from core.errors import UserError

DEFAULT = "facebook/dinov2-large"
SIDE_PX = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures, by which the network was trained."""


class Dinov2:
    """The network with its weights."""

    def __init__(self, weights: str) -> None:
        self._network = _open(weights or DEFAULT)
        self.features: int = self._network.config.hidden_size
        """Of a picture."""

    @torch.no_grad()
    def __call__(self, batch_nchw: Tensor) -> Tensor:
        """The first token after the last norm, N×D, of uint8 RGB pictures, N×3×H×W."""
        size = (SIDE_PX, SIDE_PX)
        shown = functional.interpolate(
            batch_nchw.float() / 255, size, mode="bicubic", antialias=True
        )
        mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
        found: Tensor = self._network(pixel_values=(shown.clamp(0, 1) - mean) / std).pooler_output
        return found

    def state(self) -> dict[str, Tensor]:
        """All weights, for their digest."""
        return dict(self._network.state_dict())


def _open(weights: str) -> Any:
    try:
        from transformers import AutoModel
    except ImportError:
        raise UserError(
            "--features dinov2 takes the package transformers: pip install 'menagerie[dinov2]'"
        ) from None
    hint = (
        f"fetch https://huggingface.co/{DEFAULT} (config.json and model.safetensors) into a folder "
        "and give --weights FOLDER, or use --features built-in, which needs no download"
    )
    if Path(weights).exists() and not (Path(weights) / "config.json").exists():
        raise UserError(f"--weights {weights} holds no config.json: {hint}")
    try:
        network = AutoModel.from_pretrained(weights, use_safetensors=True)
    except Exception as error:  # The hub's client has many: no network, no such name, no weights.
        reason = (str(error).splitlines() or ["unknown"])[0][:160]
        raise UserError(f"--weights {weights} cannot be opened ({reason}): {hint}") from None
    if network.config.model_type not in ("dinov2", "dinov2_with_registers"):
        raise UserError(f"--weights {weights} is a {network.config.model_type}: {hint}")
    return network.eval()
