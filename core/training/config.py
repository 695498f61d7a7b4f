"""What a training run depends on, and the presets."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from core.config import UNSAID
from core.diffusion.kinds import Attention, NoiseKind, Prediction, WeightingKind
from core.errors import UserError

Preset = Literal["starter", "animals-64", "animals-128", "animals-256"]
Optimizer = Literal["adamw", "adam", "rmsprop", "prodigy", "adopt", "muon"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All that the trained weights depend on."""

    data: Path | None = None
    """Folder of a pinned dataset (from `prepare`); default: the starter animals."""
    init_from: Path | None = None
    """A run to fine-tune: start from its model's weights; the network must have this config's
    shape, classes are matched by name."""
    steps: int = 1100
    """Length of the training, in optimiser steps."""
    batch_size: int = 32
    """Pictures per step, over all processes together."""
    optimizer: Optimizer = "muon"
    """`muon` orthogonalises the steps of the network's matrices (the rest stays with AdamW): more
    learnt per step, which pays in short runs; `prodigy` finds its rate itself (--learning-rate is
    then a factor, 1 as a rule); the others as everybody knows them."""
    learning_rate: float = 1e-3
    """The rate at its highest (with `muon`: AdamW's); `--find-lr` measures a good one."""
    muon_rate: float = 0.02
    """Muon's rate at its highest."""
    warmup_steps: int = 50
    """Steps over which the rate rises from 0."""
    decay: Literal["cosine", "constant", "late"] = "cosine"
    """What the rate does after the warm-up: fall to 0 by the last step, stay, or stay and fall to
    0 over the last --decay-share of the steps."""
    decay_share: float = 0.2
    """Share of the steps over which `--decay late` falls."""
    weight_decay: float = 0.01
    """Decoupled weight decay (Adam's and RMSprop's is 0)."""
    beta2: float = 0.99
    """Memory for squared gradients (RMSprop's alpha)."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm at most."""
    ema_width: float = 0.1
    """Width of the power-function average of the weights, relative to the run; above 0 to 0.28.
    Another can be made after training from the snapshots."""
    snapshots: int = 8
    """Snapshots of the averages kept over the run, evenly spaced; 0 = none."""
    max_halvings: int = 3
    """How often a training that diverges goes back to its last good checkpoint and on with half
    the rate; then it ends."""
    divergence: float = 4.0
    """A loss above this many times the median of the last rows counts as diverged."""
    early_stop: int = 0
    """End after this many evaluations in a row without a better held-out loss, or with more than
    --max-copies; 0 = never."""
    max_copies: float = 0.2
    """Share of the sample grid that may be copies of training pictures, for --early-stop and
    --keep best."""
    keep: Literal["last", "best"] = "last"
    """Which averaged weights become the model: the last, or those with the least held-out loss
    (and not more copies than --max-copies)."""
    label_drop: float = 0.1
    """Share of pictures trained without their class, for classifier-free guidance."""
    flip: bool = True
    """Mirror half of the pictures, drawn anew at each step: a mirrored animal is an animal."""
    augment: float = 0.0
    """Chance of each further change (rotation, shift, scale, brightness, contrast, saturation;
    mirroring where --no-flip) to a picture. The network is told, so that samples show none."""
    score_weight: float = 0.0
    """How strongly curators' scores decide how often a picture is trained on: a picture one
    standard deviation above the mean comes e^score_weight times as often; 0 = all alike."""
    whiten: bool = True
    """Scale each block frequency by its spread in the data; off, the network sees plain pixels."""
    patch: int = 2
    """Side of the pixel blocks folded into channels before the U-Net; 1 = none."""
    block_channels: tuple[int, ...] = (96, 160, 192)
    """Channels of the U-Net's levels, from full to lowest resolution; multiples of 32."""
    layers_per_block: int = 1
    """Residual layers per level."""
    attention_levels: tuple[int, ...] = (1,)
    """Levels with self-attention; 0 = full resolution."""
    attention: Attention = dataclasses.field(default="self", metadata=UNSAID)
    """What these levels, and the middle, attend to: themselves; themselves and, by `cross`
    attention, learned tokens of the class; or nothing anywhere."""
    dropout: float = 0.0
    """Dropout in the residual layers; 0.1 to 0.3 helps on few pictures."""
    gradient_checkpointing: bool = False
    """Recompute activations on the way back: less memory, about a third slower."""
    prediction: Prediction = "clean"
    """What the network writes: the `clean` picture, quicker to learn for large patches; `edm`'s
    mix of picture and noise, finer at low noise given time and width; the `noise` (with --weighting
    uniform or min-snr: EDM's weights count its errors sigma² times); the `velocity` between both;
    or rectified `flow`'s noise - picture."""
    weighting: WeightingKind = "edm"
    """How much an error counts at each noise level: EDM's weights; alike in what the network
    writes; min-SNR-gamma (of the clean picture); or EDM's, levelled by a learned uncertainty."""
    snr_gamma: float = 5.0
    """The gamma of min-snr."""
    sigma_data: float = 0.5
    """Standard deviation of the pictures that the loss weights assume."""
    sigma_floor: float = 0.2
    """With the weights `edm` and `learned`, noise levels below this one weigh no more than it
    does; 0 = EDM's weights."""
    noise_schedule: NoiseKind = "lognormal"
    """Noise levels in training: EDM's log-normal; DDPM's `linear` or `cosine` with --timesteps;
    or t/(1-t) for uniform t."""
    timesteps: int = 1000
    """Length of the linear or cosine schedule."""
    noise_mean: float = -0.2
    """Mean of ln(noise level), log-normal."""
    noise_std: float = 1.2
    """Standard deviation of ln(noise level), log-normal."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the network and of Muon; auto = bf16 where the processor multiplies it
    natively; fp16 (GPUs without bf16) scales the loss. Only in fp32 are the losses of one and of
    many processes equal to six digits."""
    seed: int = 0
    """Decides weights, order, noise and augmentation."""
    log_every: int = 20
    """Steps between rows of metrics.jsonl."""
    log_gradients: bool = dataclasses.field(default=False, metadata=UNSAID)
    """Add each layer's gradient norm, before clipping, to those rows; `visualize` draws them. The
    weights are the same."""
    evaluate_every: int = 220
    """Steps between held-out losses."""
    sample_every: int = 550
    """Steps between sample grids."""
    checkpoint_every: int = 220
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""

    def __post_init__(self) -> None:
        depth = len(self.block_channels)
        for name in _COUNTS:
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name in _POSITIVE:
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in _NOT_NEGATIVE:
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(self.timesteps >= 10, "timesteps", self.timesteps, "10 or more")
        _require(self.divergence > 1, "divergence", self.divergence, "above 1")
        _require(
            self.optimizer != "prodigy" or self.learning_rate >= 0.1,
            "learning_rate",
            self.learning_rate,
            "0.1 or more (1 as a rule) with --optimizer prodigy, which finds the rate itself",
        )
        for name in ("augment", "max_copies", "decay_share"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        for name in ("label_drop", "dropout", "beta2"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        _require(0 < self.ema_width <= 0.28, "ema_width", self.ema_width, "above 0, at most 0.28")
        _require(
            depth >= 1 and all(c > 0 and c % 32 == 0 for c in self.block_channels),
            "block_channels",
            self.block_channels,
            "one or more multiples of 32",
        )
        _require(
            all(0 <= level < depth for level in self.attention_levels),
            "attention_levels",
            self.attention_levels,
            f"levels from 0 to {depth - 1}",
        )

    @property
    def highest_rates(self) -> Mapping[str, float]:
        """The learning rates at their highest, by flag."""
        rates = {"--learning-rate": self.learning_rate}
        return rates | {"--muon-rate": self.muon_rate} if self.optimizer == "muon" else rates

    @property
    def loss_may_be_negative(self) -> bool:
        """Whether the loss is 1 + the logarithm of an error: a learned weighting's is."""
        return self.weighting == "learned"


def preset(name: Preset) -> TrainConfig:
    """The config of a preset: `starter` for CPU minutes, the others for GPU hours."""
    if name == "starter":
        return TrainConfig()
    longer = TrainConfig(
        steps=60_000,
        batch_size=128,
        optimizer="adamw",
        learning_rate=4e-4,
        warmup_steps=500,
        patch=2,
        prediction="edm",
        sigma_floor=0.0,
        noise_mean=-0.8,
        noise_std=1.6,
        block_channels=(128, 192, 192),
        layers_per_block=2,
        attention_levels=(1, 2),
        dropout=0.1,
        log_every=50,
        evaluate_every=500,
        sample_every=2000,
        checkpoint_every=1000,
    )
    if name == "animals-64":
        return longer
    if name == "animals-128":
        return dataclasses.replace(
            longer, block_channels=(128, 192, 192, 256), attention_levels=(2, 3), batch_size=64
        )
    if name == "animals-256":
        return dataclasses.replace(
            longer,
            patch=4,
            block_channels=(128, 192, 256, 256),
            attention_levels=(2, 3),
            batch_size=32,
            gradient_checkpointing=True,
        )
    raise UserError(f"no preset {name!r}; known are starter, animals-64, animals-128, animals-256")


def preset_size_px(name: Preset) -> int:
    """Side of the pictures that the preset is meant for, in pixels."""
    return 32 if name == "starter" else int(name.removeprefix("animals-"))


_COUNTS = (
    *("steps", "batch_size", "patch", "layers_per_block", "log_every", "evaluate_every"),
    *("sample_every", "checkpoint_every", "keep_checkpoints"),
)
_POSITIVE = ("learning_rate", "muon_rate", "clip_norm", "sigma_data", "noise_std", "snr_gamma")
_NOT_NEGATIVE = (
    *("warmup_steps", "weight_decay", "seed", "sigma_floor", "snapshots", "max_halvings"),
    *("early_stop", "score_weight"),
)


def fitting_preset(size_px: int) -> Preset:
    """The preset meant for pictures of this size, or for the nearest size above it."""
    if size_px <= 32:
        return "starter"
    if size_px <= 64:
        return "animals-64"
    return "animals-128" if size_px <= 128 else "animals-256"


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} is {value}; it must be {allowed}")
