"""The network that is looked at, ours or anybody's, behind one face.

Every prediction kind becomes the same thing here: a guess D(x; sigma) of the clean picture, where x
is a picture plus noise of standard deviation sigma.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.config import load_config
from core.diffusion.defaults import BUILT_IN
from core.diffusion.denoiser import Denoiser, UNet
from core.diffusion.guidance import Denoise, guided
from core.diffusion.objective import Weighting
from core.diffusion.pipeline import open_pipeline
from core.errors import UserError
from core.inspection.foreign import open_foreign, schedule_words
from core.inspection.planning import run_of
from core.rundir import RunFolder
from core.training.config import TrainConfig

Guess = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x N×C×H×W, sigma N, labels N) to the guess of the clean pictures, N×C×H×W."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A trained network and what is needed to look at it."""

    name: str
    unet: UNet
    guess: Guess
    shape_chw: tuple[int, int, int]
    """Of what the network makes: pictures, or latents."""
    label_names: tuple[str, ...]
    """Empty for a network without classes."""
    no_label: int | None
    """The class index that means "any class", where there is one."""
    sigma_min: float
    """Below this level the network was taught nothing."""
    sigma_max: float
    weighting: Weighting
    """How much errors count, for losses and gradients."""
    decode: Callable[[Tensor], Tensor]
    """From what the network makes to pictures in about [-1, 1], N×C×H×W."""
    facts: dict[str, str]
    """What people like to know, by name."""
    latents: bool = False
    """Whether it makes latents: pictures end at -1 and 1, latents nowhere."""
    metrics: Path | None = None
    """The training's rows of figures, where there are any."""
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The model's own defaults of sampling."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device(self.unet.device)

    def denoise(self, labels: Tensor) -> Denoise:
        """Without guidance, for these classes, N."""

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return self.guess(x, torch.full((len(x),), sigma, device=x.device), labels)

        return denoise

    def denoise_guided(self, labels: Tensor) -> tuple[Denoise, float]:
        """With the model's own guidance, by the label, and its scale; foreign ones have none: 1."""
        own = BUILT_IN | self.defaults
        if not isinstance(self.guess, Denoiser):
            return self.denoise(labels), 1.0
        denoise = guided(
            self.guess,
            labels,
            scale=own["guidance"],
            interval=tuple(own["guidance_interval"]),
            parallel=own["guidance_parallel"],
            rescale=own["guidance_rescale"],
        )
        return denoise, float(own["guidance"])


def open_subject(path: Path, *, device: str = "cpu") -> Subject:
    """The network of a run or of a diffusers folder, without gradients; UserError names why not."""
    if _is_ours(path):
        return _ours(path, device)
    if (path / "config.json").is_file() and RunFolder(path).checkpoints.is_dir():
        raise UserError(f"{path} has no finished model yet: run its train command again")
    return _foreign(path, device)


def _is_ours(path: Path) -> bool:
    for folder in (path / "model", path):
        index = folder / "model_index.json"
        if index.is_file():
            return "ClassConditionalPipeline" in index.read_text(encoding="utf-8")
    return False


def _ours(path: Path, device: str) -> Subject:
    pipeline = open_pipeline(path, device=device)
    pipeline.unet.requires_grad_(False)
    denoiser = pipeline.denoiser()
    run = run_of(path)
    config = load_config(TrainConfig, run.config) if run.config.is_file() else None
    settings = pipeline.config
    levels = pipeline._levels(2, "heun")
    return Subject(
        name=run.root.resolve().name,
        unet=pipeline.unet,
        guess=denoiser,
        shape_chw=pipeline.shape_chw,
        label_names=pipeline.label_names,
        no_label=denoiser.no_label,
        sigma_min=levels[-2],
        sigma_max=levels[0],
        weighting=_weighting(config, denoiser),
        decode=(lambda x: x) if pipeline.vae is None else pipeline._decoded,
        latents=pipeline.vae is not None,
        facts={
            "kind": "a run of Menagerie" if config else "a model of Menagerie",
            "what the network writes": str(settings.prediction),
            "blocks folded into channels": f"{settings.patch} × {settings.patch} px",
            "works on": "pictures" if pipeline.vae is None else "an autoencoder's latents",
        },
        metrics=run.metrics if run.metrics.is_file() else None,
        defaults=dict(settings.defaults),
    )


def _weighting(config: TrainConfig | None, denoiser: Denoiser) -> Weighting:
    if config is None:
        return Weighting(sigma_data=0.5)
    return Weighting(
        sigma_data=config.sigma_data,
        sigma_floor=config.sigma_floor,
        kind=config.weighting,
        gamma=config.snr_gamma,
        prediction=config.prediction,
        scale=tuple(denoiser.patches.scale.flatten().tolist()),
    )


def _foreign(path: Path, device: str) -> Subject:
    guess = open_foreign(path, device=device)
    side = guess.side_hw
    classes = guess.classes
    return Subject(
        name=path.resolve().name,
        unet=guess.unet,
        guess=guess,
        shape_chw=(int(guess.unet.config.in_channels), *side),
        label_names=tuple(f"class {k}" for k in range(classes)),
        no_label=None,
        sigma_min=float(guess.levels[0]),
        sigma_max=min(80.0, float(guess.levels[-1])),
        weighting=Weighting(sigma_data=0.5),
        decode=lambda x: x,
        facts={
            "kind": "a diffusers UNet2DModel",
            "what the network writes": guess.prediction,
            "noise schedule": schedule_words(guess),
        },
    )
