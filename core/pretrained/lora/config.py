"""What a LoRA's weights depend on. Free of torch: `--help` is quick."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from core.errors import UserError
from core.pretrained.lora.captions import check_template

TARGETS = {
    "attention": ("to_q", "to_k", "to_v", "to_out.0"),
    "feed-forward": ("ff.net.0.proj", "ff.net.2"),
    "projections": ("proj_in", "proj_out"),
    "convolutions": ("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"),
}
"""Groups of a U-Net's layers, by the ends of their names."""
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
"""Layers of a text encoder that are adapted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """All that the trained adapters depend on."""

    pipeline: str
    """The Stable Diffusion or SDXL-class pipeline to adapt: the folder that it was saved in, or its
    name on the hub. Only safetensors are read."""
    data: str
    """Pictures: a pinned dataset (from `prepare`); or, in their own shapes, what `prepare` takes: a
    folder of class folders or with metadata.jsonl, a .zip, a .parquet, a Hugging Face data set,
    `starter`."""
    revision: str = ""
    """Of a pipeline on the hub: branch, tag or commit. Default: its newest."""
    resolution_px: int = 0
    """Side of a square picture in training, in pixels; others have about the same area. 0 = what
    the pipeline was trained for."""
    buckets: bool = True
    """Keep the pictures' shapes, in batches of one shape; off, the centred square is cut out."""
    bucket_step_px: int = 64
    """Sides of the shapes are multiples of this."""
    caption: str = "a {label}"
    """Caption of pictures that have none of their own; {label} is their class."""
    caption_column: str = "text"
    """Column of metadata.jsonl (or of a table) with captions."""
    caption_drop: float = 0.05
    """Share of pictures trained without their caption, for classifier-free guidance."""
    flip: bool = True
    """Mirror half of the pictures, drawn anew at each step; off, for what has a left and a right.
    """
    rank: int = 16
    """Rank of the adapters: more can learn more, and take more space."""
    alpha: float = 16.0
    """Strength of the adapters: what they add is scaled by alpha / rank."""
    targets: tuple[str, ...] = ("attention",)
    """Layers of the U-Net to adapt: `attention`, `feed-forward`, `projections`, `convolutions`, or
    ends of layers' names such as attn2.to_k."""
    dropout: float = 0.0
    """Share of an adapter's inputs that are dropped while training."""
    text_encoders: bool = False
    """Adapt the text encoders too."""
    text_encoder_rate: float = 0.5
    """The text encoders' learning rate, as a share of the U-Net's (prodigy finds one for both)."""
    steps: int = 1000
    """Length of the training, in optimiser steps."""
    batch_size: int = 4
    """Pictures per step, over all processes together."""
    optimizer: Literal["adamw", "prodigy"] = "adamw"
    """`prodigy` finds its rate itself (--learning-rate is then a factor, 1 as a rule)."""
    learning_rate: float = 1e-4
    """The rate at its highest; `--find-lr` measures a good one."""
    warmup_steps: int = 50
    """Steps over which the rate rises from 0."""
    decay: Literal["cosine", "constant", "late"] = "cosine"
    """What the rate does after the warm-up: fall to 0 by the last step, stay, or stay and fall over
    the last --decay-share of the steps."""
    decay_share: float = 0.2
    """Share of the steps over which `--decay late` falls."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    beta2: float = 0.999
    """Memory for squared gradients."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm at most."""
    snr_gamma: float = 5.0
    """Min-SNR-gamma: errors at low noise count no more than this signal-to-noise ratio says; 0 =
    all levels alike."""
    noise_offset: float = 0.0
    """Standard deviation of a shift of each channel's noise: 0.05 to 0.1 lets a pipeline learn very
    dark and very light pictures."""
    gradient_checkpointing: bool = False
    """Recompute activations on the way back: much less memory, about a third slower."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the frozen networks (adapters are fp32); auto = on a GPU bf16, or fp16 where
    that is not native; on a CPU fp32."""
    max_halvings: int = 3
    """How often a training that diverges goes back to its last good checkpoint and on with half the
    rate; then it ends."""
    divergence: float = 4.0
    """A loss above this many times the median of the last rows counts as diverged."""
    validation_prompts: tuple[str, ...] = ()
    """Prompts to draw while training; default: the captions of up to four classes."""
    validation_pictures: int = 2
    """Pictures of each of these prompts."""
    validation_steps: int = 20
    """Sampler steps of these pictures."""
    seed: int = 0
    """Decides first weights, order, noise, mirroring and dropout."""
    log_every: int = 10
    """Steps between rows of metrics.jsonl."""
    validate_every: int = 250
    """Steps between validation pictures; 0 = none."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""

    def __post_init__(self) -> None:
        if not self.pipeline.strip() or not self.data.strip():
            raise UserError("--pipeline and --data are both needed: name a pipeline and pictures")
        for name in _COUNTS:
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name in _POSITIVE:
            _require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in _NOT_NEGATIVE:
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("dropout", "caption_drop", "beta2"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        _require(0 <= self.decay_share <= 1, "decay_share", self.decay_share, "from 0 to 1")
        _require(self.divergence > 1, "divergence", self.divergence, "above 1")
        _require(
            self.bucket_step_px % 8 == 0 and self.resolution_px % 8 == 0,
            "resolution_px" if self.resolution_px % 8 else "bucket_step_px",
            self.resolution_px if self.resolution_px % 8 else self.bucket_step_px,
            "a multiple of 8",
        )
        _require(
            self.optimizer != "prodigy" or self.learning_rate >= 0.1,
            "learning_rate",
            self.learning_rate,
            "0.1 or more (1 as a rule) with --optimizer prodigy, which finds the rate itself",
        )
        _require(bool(self.targets), "targets", "empty", f"some of {', '.join(TARGETS)}")
        check_template(self.caption)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Ends of the names of the U-Net's layers to adapt."""
        return tuple(end for name in self.targets for end in TARGETS.get(name, (name,)))

    @property
    def highest_rates(self) -> Mapping[str, float]:
        """The learning rate at its highest, by flag."""
        return {"--learning-rate": self.learning_rate}

    @property
    def loss_may_be_negative(self) -> bool:
        """A weighted mean of squares never is."""
        return False


_COUNTS = (
    *("rank", "steps", "batch_size", "bucket_step_px", "log_every", "checkpoint_every"),
    *("keep_checkpoints", "validation_pictures", "validation_steps"),
)
_POSITIVE = ("alpha", "learning_rate", "clip_norm")
_NOT_NEGATIVE = (
    *("resolution_px", "text_encoder_rate", "warmup_steps", "weight_decay", "snr_gamma"),
    *("noise_offset", "max_halvings", "seed", "validate_every"),
)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        flag = "--" + name.replace("_", "-")
        raise UserError(f"{flag} is {value}; it must be {allowed}")
