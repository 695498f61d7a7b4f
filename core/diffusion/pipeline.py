"""The trained model as a diffusers pipeline: labels and seeds in, RGBA or RGB pictures out.

pipeline = ClassConditionalPipeline.from_pretrained("runs/starter/model")
pictures = pipeline(["cat", "fish"], seeds=[1, 2]).images
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
    ImagePipelineOutput,
    ModelMixin,
    UNet2DConditionModel,
    UNet2DModel,
)
from PIL import Image
from torch import Tensor

from core.diffusion.autoencoder import compression, from_latents
from core.diffusion.defaults import BUILT_IN
from core.diffusion.denoiser import Denoiser, UNet
from core.diffusion.ema import averaged_weights
from core.diffusion.guidance import Denoise, guided
from core.diffusion.kinds import NoiseKind, Prediction
from core.diffusion.modelinfo import describe_model
from core.diffusion.patches import PatchStatistics
from core.diffusion.sampleconfig import Guide, SamplePrecision
from core.diffusion.sampler import discrete_levels, noise_levels, sampler_named, unit_noise
from core.diffusion.schedule import NoiseSchedule
from core.errors import UserError
from core.images import Picture, unpremultiply
from core.seeds import mixed_seed

_DECODED_TOGETHER = 4 * 256**2
"""Pixels that an autoencoder decodes at once: under 2 GiB with Stable Diffusion's."""
_LEAST_LEVEL = 0.002
"""Where sampling ends, but for the picture itself (Karras et al. 2022, table 1)."""
_STEPS = 1
"""Sets the noise of a sampler's steps apart from that of its start."""


class ClassConditionalPipeline(DiffusionPipeline):  # type: ignore[misc]  # diffusers has no types
    """Class-conditional diffusion of pictures, or of an autoencoder's latents.

    Saved and opened like any diffusers pipeline; all weights are safetensors.
    """

    _optional_components: ClassVar[list[str]] = ["guide", "vae"]

    def __init__(
        self,
        unet: UNet2DModel | UNet2DConditionModel,
        guide: UNet2DModel | UNet2DConditionModel | None = None,
        vae: ModelMixin | None = None,
        labels: list[str] | None = None,
        patch: int = 1,
        frequency_mean: list[float] | None = None,
        frequency_scale: list[float] | None = None,
        prediction: str = "edm",
        sigma_max: float = 80.0,
        noise_schedule: str = "lognormal",
        timesteps: int = 1000,
        defaults: dict[str, Any] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """guide: the same network early in its training, to be guided by.

        vae: one of diffusers' autoencoders, when the network makes latents. sigma_max: the noise
        level to begin with. noise_schedule, timesteps: the trained one, for ddpm and ddim.
        defaults: of sampling, as in `core.diffusion.defaults`.
        """
        super().__init__()
        self.register_modules(unet=unet, guide=guide, vae=vae)
        self.register_to_config(
            labels=labels or [],
            patch=patch,
            frequency_mean=frequency_mean or [],
            frequency_scale=frequency_scale or [],
            prediction=prediction,
            sigma_max=sigma_max,
            noise_schedule=noise_schedule,
            timesteps=timesteps,
            defaults=defaults or {},
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
        """Channels, height and width of what the network makes: pictures, or latents."""
        size = int(self.unet.config.sample_size) * int(self.config.patch)
        return int(self.unet.config.out_channels) // int(self.config.patch) ** 2, size, size

    def denoiser(self, precision: SamplePrecision = "fp32") -> Denoiser:
        """The U-Net with its preconditioning, on the pipeline's device."""
        return self._denoiser_of(self.unet, precision)

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
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        guidance_parallel: float | None = None,
        guidance_rescale: float | None = None,
        guide: Guide | None = None,
        num_inference_steps: int | None = None,
        solver: str | None = None,
    ) -> ImagePipelineOutput:
        """One PIL image per (label, seed), as diffusers pipelines give them: see `generate`.

        None = the model's own default, else ours; the weights are always those of the pipeline.
        """
        own = BUILT_IN | dict(self.config.defaults)
        given = {
            "guidance": guidance_scale,
            "guidance_interval": guidance_interval,
            "guidance_parallel": guidance_parallel,
            "guidance_rescale": guidance_rescale,
            "guide": guide,
            "steps": num_inference_steps,
            "solver": solver,
        }
        settings: dict[str, Any] = {
            name.removeprefix("guidance_"): own[name] if value is None else value
            for name, value in given.items()
        }
        pictures = self.generate(labels, seeds, **settings)
        return ImagePipelineOutput(images=[Image.fromarray(picture) for picture in pictures])

    @torch.inference_mode()
    def generate(
        self,
        labels: Sequence[str],
        seeds: Sequence[int],
        *,
        guidance: float,
        interval: tuple[float, float] = (0.0, float("inf")),
        parallel: float = 1.0,
        rescale: float = 0.0,
        guide: Guide = "label",
        steps: int,
        solver: str = "dpmpp-2m",
        precision: SamplePrecision = "fp32",
    ) -> list[Picture]:
        """One H×W×C uint8 picture (straight alpha) per (label, seed).

        A picture depends on its label, its seed and the settings, not on its companions. UserError
        for an unknown class or solver, and for the early guide where the model has none.
        """
        if len(labels) != len(seeds):
            raise UserError(f"{len(labels)} labels but {len(seeds)} seeds: give one seed a label")
        denoise = guided(
            self.denoiser(precision),
            self.label_indices(labels).to(self.device),
            scale=guidance,
            interval=interval,
            parallel=parallel,
            rescale=rescale,
            guide=self._early(precision) if guide == "early" and guidance != 1 else None,
        )
        return self._drawn(denoise, seeds, steps, solver)

    def _drawn(
        self, denoise: Denoise, seeds: Sequence[int], steps: int, solver: str
    ) -> list[Picture]:
        """Walk from noise to pictures."""
        sampler, sigmas = sampler_named(solver), self._levels(steps, solver)
        generators = [seeded(mixed_seed(seed, _STEPS)) for seed in seeds]
        noise = starting_noise(seeds, self.shape_chw).to(self.device)
        clean = sampler(denoise, noise * sigmas[0], sigmas, generators)
        return to_pictures(clean if self.vae is None else self._decoded(clean))

    def _levels(self, steps: int, solver: str) -> list[float]:
        """The falling noise levels that a sampler walks along."""
        kind = cast(NoiseKind, self.config.noise_schedule)
        own = NoiseSchedule(kind=kind, timesteps=self.config.timesteps).levels()
        if solver not in ("ddpm", "ddim"):
            # Below its lowest level a discrete schedule has taught the network nothing.
            least = _LEAST_LEVEL if own is None else max(_LEAST_LEVEL, float(own[0]))
            return noise_levels(steps, sigma_min=least, sigma_max=self.config.sigma_max)
        if own is None:
            own = NoiseSchedule(kind="linear").levels()
        assert own is not None
        return discrete_levels(own.tolist(), steps)

    def _decoded(self, latents: Tensor) -> Tensor:
        """Pictures of latents, few at a time: decoding takes far more memory than the network."""
        scale = compression(self.vae)
        together = max(1, _DECODED_TOGETHER // (latents[0, 0].numel() * scale**2))
        return torch.cat([from_latents(self.vae, part) for part in torch.split(latents, together)])

    def _early(self, precision: SamplePrecision) -> Denoiser:
        if self.guide is None:
            raise UserError(
                "this model has no early snapshot to guide by: give the guide `label`, or train "
                "with --snapshots 8"
            )
        return self._denoiser_of(self.guide, precision)

    def _denoiser_of(self, unet: UNet, precision: SamplePrecision) -> Denoiser:
        statistics = PatchStatistics(
            patch=self.config.patch,
            mean=tuple(self.config.frequency_mean),
            scale=tuple(self.config.frequency_scale),
        )
        denoiser = Denoiser(unet, statistics, cast(Prediction, self.config.prediction))
        denoiser.autocast_dtype = autocast_dtype(precision, self.device)
        return denoiser.to(self.device).eval()


def autocast_dtype(precision: SamplePrecision, device: torch.device) -> torch.dtype | None:
    """What the network computes in; None = fp32. `auto` asks the processor for native bf16."""
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        precision = "bf16" if native else "fp32"
    return torch.bfloat16 if precision == "bf16" else None


def starting_noise(seeds: Sequence[int], shape_chw: tuple[int, int, int]) -> Tensor:
    """Unit noise, N×C×H×W, of one generator per seed: the same everywhere."""
    return unit_noise(shape_chw, [seeded(seed) for seed in seeds])


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


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


def open_pipeline(
    run: Path, *, device: str | torch.device = "cpu", ema_width: float = 0.0
) -> ClassConditionalPipeline:
    """Open the model of a run (its folder or `model` in it); UserError if there is none.

    ema_width: of another average of the weights, made from the run's snapshots; 0 = the model's.
    """
    model = describe_model(run)
    try:
        pipeline: ClassConditionalPipeline = ClassConditionalPipeline.from_pretrained(
            model.folder, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"the model in {model.folder} cannot be opened: {error}") from None
    if ema_width:
        _use_average(pipeline.unet, averaged_weights(model.averages, ema_width), model.averages)
    for network in filter(None, (pipeline.unet, pipeline.guide, pipeline.vae)):
        network.to(device, memory_format=torch.channels_last)
    return pipeline


def _use_average(unet: UNet, weights: dict[str, Tensor], folder: Path) -> None:
    """Take over those of the weights that the network has; training may have had more."""
    try:
        unet.load_state_dict({name: weights[name] for name in unet.state_dict()})
    except (KeyError, RuntimeError):
        raise UserError(
            f"the snapshots in {folder} are not of this model: give --ema-width 0"
        ) from None
