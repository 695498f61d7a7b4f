"""The kinds of objective that there are, as types; read without torch."""

from typing import Literal

Prediction = Literal["noise", "clean", "velocity", "flow", "edm"]
"""What the network writes (`core.diffusion.denoiser` has the equations)."""

WeightingKind = Literal["edm", "uniform", "min-snr", "learned"]
"""How much an error counts at each noise level (`core.diffusion.objective`)."""

Attention = Literal["self", "cross", "none"]
"""What the network attends to (`core.diffusion.denoiser.build_unet`)."""

NoiseKind = Literal["lognormal", "linear", "cosine", "flow"]
"""Which noise levels are trained how often (`core.diffusion.schedule`)."""
