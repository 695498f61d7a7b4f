"""The trained model as a diffusers pipeline: labels and seeds in, RGBA or RGB pictures out.

pipeline = ClassConditionalPipeline.from_pretrained("runs/starter/model")
pictures = pipeline(["cat", "fish"], seeds=[1, 2]).images
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, UNet2DModel
from PIL import Image
from torch import Tensor

from core.diffusion.denoiser import Denoiser
from core.diffusion.guidance import guided
from core.diffusion.kinds import Prediction
from core.diffusion.modelinfo import model_folder
from core.diffusion.patches import PatchStatistics
from core.diffusion.sampler import SOLVERS, noise_levels
from core.errors import UserError
from core.images import Picture, unpremultiply

SIGMA_MAX = 80.0


class ClassConditionalPipeline(DiffusionPipeline):  # type: ignore[misc]  # diffusers has no types
    """Class-conditional pixel-space diffusion.

    Saved and opened like any diffusers pipeline; the U-Net's weights are safetensors.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        labels: list[str] | None = None,
        patch: int = 1,
        frequency_mean: list[float] | None = None,
        frequency_scale: list[float] | None = None,
        prediction: str = "edm",
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet)
        self.register_to_config(
            labels=labels or [],
            patch=patch,
            frequency_mean=frequency_mean or [],
            frequency_scale=frequency_scale or [],
            prediction=prediction,
            facts=facts or {},
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names, in the order of the network's class indices."""
        return tuple(self.config.labels)

    @property
    def facts(self) -> dict[str, Any]:
        """What made the model: dataset digest, licence, and so on."""
        return dict(self.config.facts)

    @property
    def shape_chw(self) -> tuple[int, int, int]:
        """Channels, height and width of the pictures that the model makes."""
        size = int(self.unet.config.sample_size) * int(self.config.patch)
        return int(self.unet.config.in_channels) // int(self.config.patch) ** 2, size, size

    def denoiser(self) -> Denoiser:
        """The U-Net with its preconditioning, on the pipeline's device, in fp32."""
        statistics = PatchStatistics(
            patch=self.config.patch,
            mean=tuple(self.config.frequency_mean),
            scale=tuple(self.config.frequency_scale),
        )
        prediction = cast(Prediction, self.config.prediction)
        return Denoiser(self.unet, statistics, prediction).to(self.device)

    def label_indices(self, labels: Sequence[str]) -> Tensor:
        """Class indices of label names, N; UserError names an unknown one."""
        unknown = sorted(set(labels) - set(self.label_names))
        if unknown:
            known = ", ".join(self.label_names)
            raise UserError(f"no class {unknown[0]!r}; this model knows {known}")
        return torch.tensor([self.label_names.index(label) for label in labels])

    def __call__(
        self,
        labels: Sequence[str],
        *,
        seeds: Sequence[int],
        guidance_scale: float = 1.5,
        guidance_interval: tuple[float, float] = (0.0, float("inf")),
        num_inference_steps: int = 18,
        solver: str = "dpmpp-2m",
    ) -> ImagePipelineOutput:
        """One PIL image per (label, seed), as diffusers pipelines give them: see `generate`."""
        pictures = self.generate(
            labels,
            seeds,
            guidance=guidance_scale,
            interval=guidance_interval,
            steps=num_inference_steps,
            solver=solver,
        )
        return ImagePipelineOutput(images=[Image.fromarray(picture) for picture in pictures])

    @torch.no_grad()
    def generate(
        self,
        labels: Sequence[str],
        seeds: Sequence[int],
        *,
        guidance: float,
        interval: tuple[float, float] = (0.0, float("inf")),
        steps: int,
        solver: str,
    ) -> list[Picture]:
        """One H×W×C uint8 picture (straight alpha) per (label, seed).

        A picture depends on its label, its seed and the settings, not on its companions.
        """
        if len(labels) != len(seeds):
            raise UserError(f"{len(labels)} labels but {len(seeds)} seeds: give one seed a label")
        if solver not in SOLVERS:
            raise UserError(f"no solver {solver!r}; known are {', '.join(sorted(SOLVERS))}")
        denoise = guided(
            self.denoiser().eval(),
            self.label_indices(labels).to(self.device),
            scale=guidance,
            interval=interval,
        )
        noise = starting_noise(seeds, self.shape_chw).to(self.device)
        sigmas = noise_levels(steps, sigma_max=SIGMA_MAX)
        return to_pictures(SOLVERS[solver](denoise, noise * SIGMA_MAX, sigmas))


def starting_noise(seeds: Sequence[int], shape_chw: tuple[int, int, int]) -> Tensor:
    """Unit noise, N×C×H×W, drawn on the CPU with one generator per seed: the same everywhere."""
    return torch.stack(
        [torch.randn(shape_chw, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


def to_pictures(batch_nchw: Tensor) -> list[Picture]:
    """Network output (premultiplied, [-1, 1]) as uint8 H×W×C pictures with straight alpha."""
    levels = ((batch_nchw.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    array = levels.permute(0, 2, 3, 1).cpu().numpy()
    if array.shape[-1] == 4:
        # A colour brighter than its alpha cannot be premultiplied: the model's small overshoot.
        array = np.concatenate(
            [np.minimum(array[..., :3], array[..., 3:]), array[..., 3:]], axis=-1
        )
    return [unpremultiply(picture) for picture in array]


def open_pipeline(run: Path, *, device: str | torch.device = "cpu") -> ClassConditionalPipeline:
    """Open the model of a run (its folder or `model` in it); UserError if there is none."""
    folder = model_folder(run)
    try:
        pipeline: ClassConditionalPipeline = ClassConditionalPipeline.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"the model in {folder} cannot be opened: {error}") from None
    pipeline.unet.to(device, memory_format=torch.channels_last)
    return pipeline
