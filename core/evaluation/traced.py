"""What evaluation is told of a picture that was drawn as an SVG: `core` cannot draw it itself."""

import dataclasses
from collections.abc import Callable

from core.images import Picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traced:
    """A picture drawn as a flat SVG."""

    bytes: int
    psnr_db: float
    """Against the enlarged picture, the worse of white and black ground."""
    ssim: float


Trace = Callable[[Picture], Traced | None]
"""Draws a straight-alpha picture as a flat SVG; None when it cannot be drawn well enough."""
