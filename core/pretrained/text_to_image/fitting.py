"""What fits the machine that draws: its free memory asked, the switches chosen and said."""

import torch

from core.errors import UserError
from core.pretrained.text_to_image.config import TextToImageConfig
from core.pretrained.text_to_image.memory import (
    Drawn,
    Offload,
    Switches,
    choose,
    free_main_bytes,
    words_of,
)
from core.pretrained.text_to_image.source import PipelineSource


def fit(
    source: PipelineSource,
    drawn: Drawn,
    config: TextToImageConfig,
    *,
    device: str,
    offload: Offload = "auto",
) -> tuple[Switches, str]:
    """Switches with which the pipeline fits this device, and the choice in one line.

    UserError for what the device cannot do.
    """
    if device == "cpu":
        if offload not in ("auto", "off"):
            raise UserError(f"--offload {offload} goes with a GPU: on the CPU all is main memory")
        free, native = free_main_bytes(), True
    else:
        if not torch.cuda.is_available():
            raise UserError("--device cuda: there is no CUDA device here; give --device cpu")
        free = torch.cuda.mem_get_info(device)[0]
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    switches, need = choose(
        source,
        drawn,
        device="cpu" if device == "cpu" else "cuda",
        free_bytes=free,
        native_bf16=native,
        precision=config.precision,
        tiling=config.tiling,
        offload=offload,
    )
    return switches, words_of(switches, need, device=device, free_bytes=free)
