"""Pictures of the validation prompts while a LoRA trains: one row a prompt, always of one noise."""

from typing import Any

import numpy as np
import torch

from core.files import write_bytes
from core.images import contact_sheet, png_bytes
from core.pretrained.lora.adapters import Adapters
from core.pretrained.lora.config import LoraConfig
from core.pretrained.lora.encoded import Encoded
from core.pretrained.lora.run import LoraRun
from core.pretrained.text_to_image.config import TextToImageConfig
from core.pretrained.text_to_image.drawing import draw

_CLASSES = 4
_CELL_PX = 256


class Validation:
    """Draws with the adapters as they are."""

    def __init__(
        self,
        config: LoraConfig,
        encoded: Encoded,
        pipeline: Any,
        adapters: Adapters,
        run: LoraRun,
        device: torch.device,
    ) -> None:
        self._config, self._pipeline, self._run = config, pipeline, run
        self._adapters, self._device = adapters, device
        self.prompts = config.validation_prompts or _prompts_of(encoded)

    @property
    def forwards(self) -> int:
        """Steps of denoising that a sheet takes."""
        return len(self.prompts) * self._config.validation_steps

    def due(self, step: int) -> bool:
        """Whether pictures of this step are wanted and missing."""
        every = self._config.validate_every
        wanted = every > 0 and step > 0 and (step % every == 0 or step == self._config.steps)
        return wanted and not self._run.grid(step).exists()

    def draw(self, step: int) -> None:
        """Write the sheet of a step."""
        config = self._config
        asked = TextToImageConfig(
            pipeline=config.pipeline,
            prompt=self.prompts,
            steps=config.validation_steps,
            width=config.resolution_px or None,
            height=config.resolution_px or None,
        )
        pictures = []
        with _drawing(self._pipeline, self._adapters, self._device):
            for prompt in self.prompts:
                for seed in range(config.validation_pictures):
                    pictures += draw(self._pipeline, asked, [prompt], [seed])
        sheet = contact_sheet(
            [np.ascontiguousarray(picture) for picture in pictures],
            columns=config.validation_pictures,
            cell_px=min(_CELL_PX, pictures[0].shape[1]),
        )
        write_bytes(self._run.grid(step), png_bytes(sheet))


class _drawing:  # noqa: N801 - a context, read as a verb
    """All networks on the device and without dropout within; those that train go on after."""

    def __init__(self, pipeline: Any, adapters: Adapters, device: torch.device) -> None:
        self._pipeline, self._adapters, self._device = pipeline, adapters, device
        trained = [id(module) for module in adapters.modules.values()]
        self._guests = [
            module
            for module in pipeline.components.values()
            if isinstance(module, torch.nn.Module) and id(module) not in trained
        ]

    def __enter__(self) -> None:
        for module in self._adapters.modules.values():
            module.eval()
        for module in self._guests:
            module.to(self._device)

    def __exit__(self, *_: object) -> None:
        for module in self._guests:
            module.to("cpu")
        for module in self._adapters.modules.values():
            module.train()


def _prompts_of(encoded: Encoded) -> tuple[str, ...]:
    """A caption of each of the first classes."""
    found: dict[str, str] = {}
    for item in encoded.items:
        found.setdefault(item.label, encoded.captions[item.caption])
    return tuple(found[label] for label in sorted(found)[:_CLASSES])
