"""Anybody's diffusers `UNet2DModel`, made to guess clean pictures as ours do."""

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from core.errors import UserError
from core.files import read_json
from core.inspection.planning import weights_of

_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_BETAS = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    "rescale_betas_zero_snr",
)


class ForeignDenoiser(nn.Module):
    """D(x; sigma) of a network that was trained on a discrete, variance-preserving schedule.

    It reads x/√(1 + sigma²) and the (fractional) step whose noise level is sigma; what it writes is
    the noise (Ho et al. 2020), v (Salimans & Ho 2022), or the picture.
    """

    def __init__(self, unet: UNet2DModel, scheduler: dict[str, Any], folder: Path) -> None:
        super().__init__()
        self.unet, self.folder = unet, folder
        self.prediction = str(scheduler.get("prediction_type", "epsilon"))
        if self.prediction not in _PREDICTIONS:
            raise UserError(
                f"{folder}: its scheduler has prediction_type {self.prediction!r}; "
                f"known are {', '.join(_PREDICTIONS)}"
            )
        self.assumed = not scheduler
        self.levels = _levels(scheduler)
        """Noise levels of the steps, float64, rising."""

    @property
    def classes(self) -> int:
        """Number of classes; 0 = none."""
        embedding = self.unet.class_embedding
        return int(embedding.num_embeddings) if embedding is not None else 0

    @property
    def side_hw(self) -> tuple[int, int]:
        """Height and width of what it makes; UserError when its config does not say."""
        size = self.unet.config.sample_size
        if size is None:
            raise UserError(f"{self.folder / 'config.json'} has no sample_size: write it there")
        return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Clean pictures from noisy ones: x N×C×H×W, sigma N, labels N; N×C×H×W."""
        wide = sigma[:, None, None, None]
        alpha = 1 / (1 + wide**2).sqrt()
        inner = alpha * x
        given = {"class_labels": labels} if self.classes else {}
        raw = self.unet(inner, self._time(sigma), **given).sample[:, : x.shape[1]]
        guess: Tensor = raw
        if self.prediction == "epsilon":
            guess = x - wide * raw
        elif self.prediction == "v_prediction":
            guess = alpha * inner - alpha * wide * raw
        return guess

    def _time(self, sigma: Tensor) -> Tensor:
        """Steps, N, between the two whose levels are next to sigma, by its logarithm."""
        known = self.levels.log().to(sigma.device)
        wanted = sigma.double().log().clamp(known[0], known[-1])
        above = torch.searchsorted(known, wanted).clamp(1, len(known) - 1)
        low, high = known[above - 1], known[above]
        return ((above - 1) + (wanted - low) / (high - low)).to(sigma.dtype)


def open_foreign(path: Path, *, device: str = "cpu") -> ForeignDenoiser:
    """The UNet2DModel of a folder, or of `unet` in it; UserError says what is wrong with it."""
    folder = path / "unet" if (path / "unet" / "config.json").is_file() else path
    config = folder / "config.json"
    weights_of(path)
    kind = read_json(config).get("_class_name")
    if kind != "UNet2DModel":
        raise UserError(f"{config} describes {kind!r}; only UNet2DModel can be looked into")
    try:
        unet = UNet2DModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"the network in {folder} cannot be opened: {reason}") from None
    embedding = unet.class_embedding
    if embedding is not None and not isinstance(embedding, nn.Embedding):
        raise UserError(
            f"{config} has class_embed_type {unet.config.class_embed_type!r}: only classes by "
            "number (num_class_embeds) can be looked into"
        )
    unet = unet.float().to(device).eval().requires_grad_(False)
    return ForeignDenoiser(unet, _scheduler(path), folder).eval()


def schedule_words(guess: ForeignDenoiser) -> str:
    """The schedule, for people."""
    known = f"{len(guess.levels)} steps, sigma {guess.levels[0]:.3g} to {guess.levels[-1]:.3g}"
    return known + (" (assumed: DDPM's linear one, no scheduler was found)" * guess.assumed)


def _scheduler(path: Path) -> dict[str, Any]:
    """The scheduler's config beside or around the network; empty without one."""
    for folder in (path / "scheduler", path, path.parent / "scheduler"):
        file = folder / "scheduler_config.json"
        if file.is_file():
            found: dict[str, Any] = read_json(file)
            if "beta_schedule" not in found and "trained_betas" not in found:
                raise UserError(
                    f"{file} is of {found.get('_class_name')!r}, which has no betas; only "
                    "variance-preserving schedules (DDPM's, DDIM's, …) are known"
                )
            return found
    return {}


def _levels(scheduler: dict[str, Any]) -> Tensor:
    """sigma² = 1/ᾱ - 1 of each step, in double precision."""
    known = {name: scheduler[name] for name in _BETAS if name in scheduler}
    try:
        betas = DDPMScheduler(**known).betas.double()
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UserError(f"the model's scheduler cannot be understood: {error}") from None
    levels = torch.expm1(-torch.log1p(-betas).cumsum(0)).sqrt()
    return levels[levels < math.inf]
