"""How the learning rate rises and falls over a training."""

import math
from typing import Protocol


class RateSettings(Protocol):
    """What of a config the rate's course depends on."""

    @property
    def steps(self) -> int:
        """Length of the training."""

    @property
    def warmup_steps(self) -> int:
        """Steps over which the rate rises from 0."""

    @property
    def decay(self) -> str:
        """`cosine`, `constant` or `late`."""

    @property
    def decay_share(self) -> float:
        """Share of the steps over which `late` falls."""


def rate_share(config: RateSettings, step: int) -> float:
    """Share of the highest rates that step `step` (from 0) uses."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.decay == "constant":
        return warm
    if config.decay == "late":
        return warm * min(1.0, (config.steps - step) / max(1.0, config.decay_share * config.steps))
    return warm * (1 + math.cos(math.pi * step / config.steps)) / 2
