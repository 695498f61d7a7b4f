"""What postcards depend on. Free of torch."""

import dataclasses
from pathlib import Path

from core.errors import UserError

MOST = 500
"""Cards of one set."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PostcardsConfig:
    """Which animals get a card, and what stands on it."""

    samples: Path
    """A finished sample set, or a pack (its folder or zip), whose drawings are then used."""
    count: int = 8
    """Number of cards; they are spread evenly over the classes, the first of each first."""
    labels: tuple[str, ...] = ()
    """Only these classes; empty: all."""
    seeds: tuple[int, ...] = ()
    """Only pictures of these seeds; empty: all."""
    title: str = "Menagerie"
    """Name of the set, on every card and page."""
    calls: Path | None = None
    """A folder that `menagerie calls` made; unset: the embedded synthesiser calls."""
    phrases: Path | None = None
    """A folder that `menagerie phrases` made; unset: the embedded generator speaks."""
    noise_levels: float = 0.0
    """Mottling of samples, in grey levels, that is smoothed away before they are traced."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise UserError(f"--count is {self.count}: from 1 to {MOST} cards")
        if not 0 < len(self.title.strip()) <= 40:
            raise UserError("--title has to have 1 to 40 characters: it stands on the stamp")
        if not 0 <= self.noise_levels <= 255:
            raise UserError(f"--noise-levels is {self.noise_levels:g}: allowed are 0 to 255")
