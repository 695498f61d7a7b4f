"""What each skip connection of a U-Net contributes: the same forward with one of them zeroed."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.diffusion.denoiser import UNet
from core.inspection.naming import words_of
from core.inspection.specimens import Specimens
from core.inspection.subject import Subject

_TINY = 1e-30
"""An error of nothing has no decibels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Skip:
    """One connection across the U."""

    block: int
    """Which of the way up's blocks reads it, …"""
    place: int
    """… and where in the tuple that it is given."""
    source: str
    """The layer that it comes from, for people."""
    target: str
    """The layer that reads it."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.source} → {self.target}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SkipAblation:
    """What changes without each connection, skips × noise levels."""

    skips: tuple[Skip, ...]
    sigmas: tuple[float, ...]
    change: NDArray[np.float64]
    """RMS change of the guess, as a share of the clean pictures' spread; 0 = nothing."""
    loss_db: NDArray[np.float64]
    """By how many decibels the guess's error grows; below 0 where the network errs less."""
    error: NDArray[np.float64]
    """The whole network's mean squared error, by level."""
    guesses: Tensor
    """1 + skips, of the first picture at `sigmas[shown]`: whole, then without each; …×C×H×W."""
    noisy: Tensor
    """The first picture at that level, C×H×W."""
    shown: int


def skips_of(unet: UNet) -> list[Skip]:
    """All connections, from the first layer's to the deepest one's."""
    sources = ["conv_in"]
    for block, module in enumerate(unet.down_blocks):
        # A down block hands over each residual layer's output (attention included).
        sources += [f"down_blocks.{block}.resnets.{k}" for k in range(len(module.resnets))]
        if getattr(module, "downsamplers", None) is not None:
            sources.append(f"down_blocks.{block}.downsamplers.0")
    found = []
    for block, module in enumerate(unet.up_blocks):
        count = len(module.resnets)
        given, sources = sources[-count:], sources[:-count]
        for place, source in enumerate(given):
            target = f"up_blocks.{block}.resnets.{count - 1 - place}"
            skip = Skip(block=block, place=place, source=words_of(source), target=words_of(target))
            found.append(skip)
    return sorted(found, key=lambda skip: (-skip.block, skip.place))


@contextlib.contextmanager
def without(unet: UNet, skip: Skip) -> Iterator[None]:
    """Forwards within read zeros from this connection."""

    def zeroed(_: nn.Module, args: Any, named: Any) -> tuple[Any, Any]:
        given = list(args[1] if len(args) > 1 else named["res_hidden_states_tuple"])
        given[skip.place] = torch.zeros_like(given[skip.place])
        if len(args) > 1:
            return (args[0], tuple(given), *args[2:]), named
        return args, {**named, "res_hidden_states_tuple": tuple(given)}

    handle = unet.up_blocks[skip.block].register_forward_pre_hook(zeroed, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def ablate_skips(
    subject: Subject,
    specimens: Specimens,
    sigmas: Sequence[float],
    *,
    seed: int = 0,
    shown: int = 0,
) -> SkipAblation:
    """Zero one connection at a time, at these noise levels, with the same noise everywhere.

    shown: the place in `sigmas` of the level whose guesses are kept to be looked at.
    """
    skips, noise = skips_of(subject.unet), specimens.noise(seed)
    clean = specimens.clean
    spread = float(clean.double().std())
    change, loss = np.zeros((2, len(skips), len(sigmas)))
    errors: list[float] = []
    pictures: list[Tensor] = []
    for column, sigma in enumerate(sigmas):
        x = clean + sigma * noise
        whole, *ablated = _guesses(subject, x, sigma, specimens.labels, skips)
        errors.append(max(_mean_square(whole - clean), _TINY))
        for row, guess in enumerate(ablated):
            change[row, column] = _mean_square(guess - whole) ** 0.5 / spread
            loss[row, column] = 10 * np.log10(max(_mean_square(guess - clean), _TINY) / errors[-1])
        if column == shown:
            pictures = [guess[0] for guess in (whole, *ablated)]
    return SkipAblation(
        skips=tuple(skips),
        sigmas=tuple(sigmas),
        change=change,
        loss_db=loss,
        error=np.array(errors),
        guesses=torch.stack(pictures),
        noisy=clean[0] + sigmas[shown] * noise[0],
        shown=shown,
    )


def _guesses(
    subject: Subject, x: Tensor, sigma: float, labels: Tensor, skips: Sequence[Skip]
) -> list[Tensor]:
    level = torch.full((len(x),), sigma, device=x.device)
    guesses = [subject.guess(x, level, labels)]
    for skip in skips:
        with without(subject.unet, skip):
            guesses.append(subject.guess(x, level, labels))
    return guesses


def _mean_square(values: Tensor) -> float:
    return float(values.double().square().mean())
