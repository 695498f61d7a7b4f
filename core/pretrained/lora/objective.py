"""What the adapted network is trained to say, and how much each error counts.

The noise levels are the pipeline's own (DDPM's). Min-SNR-gamma: Hang et al., "Efficient Diffusion
Training via Min-SNR Weighting Strategy" (2023).
"""

from typing import Any

import torch
from torch import Tensor


class Objective:
    """Noise of a pipeline's levels, and the loss of what its network makes of it."""

    def __init__(self, pipeline: Any, *, snr_gamma: float, device: torch.device) -> None:
        from diffusers import DDPMScheduler

        config = pipeline.scheduler.config
        kept: Tensor = DDPMScheduler.from_config(config).alphas_cumprod
        self._kept = kept.to(device, torch.float32)
        """Share of a picture's variance that is left, by timestep."""
        self._gamma = snr_gamma
        self._velocity = config.get("prediction_type", "epsilon") == "v_prediction"

    @property
    def timesteps(self) -> int:
        """Noise levels."""
        return len(self._kept)

    def noisy(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """N×C×h×w latents with noise of N levels."""
        kept = self._kept[timesteps].view(-1, 1, 1, 1)
        return kept.sqrt() * clean + (1 - kept).sqrt() * noise

    def losses(self, found: Tensor, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """N weighted mean squared errors of what the network wrote."""
        kept = self._kept[timesteps].view(-1, 1, 1, 1)
        wanted = kept.sqrt() * noise - (1 - kept).sqrt() * clean if self._velocity else noise
        errors = (found.float() - wanted).square().mean((1, 2, 3))
        return errors * self.weights(timesteps)

    def weights(self, timesteps: Tensor) -> Tensor:
        """How much an error counts at N levels."""
        if not self._gamma:
            return torch.ones_like(timesteps, dtype=torch.float32)
        kept = self._kept[timesteps]
        snr = (kept / (1 - kept)).clamp(min=1e-8)
        share = snr.clamp(max=self._gamma)
        return share / (snr + 1) if self._velocity else share / snr
