"""A traced sticker in, all of its files out: PNGs at each density, a WebP, what messengers take."""

import dataclasses
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from core.images import Picture, png_bytes
from core.render import render_smaller
from exporters.config import ExportConfig
from exporters.drawing.sticker import Sticker
from exporters.platforms.encode import Artist
from exporters.platforms.limits import LIMITS
from exporters.webp import webp_candidates


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """A sticker and its files."""

    sticker: Sticker
    files: Mapping[str, bytes]
    """By ending: `svg`, `@2x.png`, `webp`, `whatsapp.webp`."""
    encodings: Mapping[str, str]
    """How a platform's file was squeezed under its limit, by platform: `quality 80, 512 px`."""


def dress(sticker: Sticker, config: ExportConfig) -> Piece:
    """A sticker's files in every size and format that the config asks for.

    A pure function: the same sticker gives the same bytes. UserError when a platform's limits
    cannot be kept.
    """
    large, text = _read(sticker.png_large)
    ready = {config.size_px: sticker.png_large, config.small_px: sticker.png_small}
    files = {"svg": sticker.svg.encode()}
    for density in config.densities:
        side_px = density * config.small_px
        png = ready.get(side_px) or png_bytes(render_smaller(sticker.svg, side_px, large), text)
        files[f"@{density}x.png"] = png
    facts = {key.removeprefix("menagerie:"): value for key, value in text.items()}
    files["webp"], _ = next(webp_candidates(large, facts))
    encodings = {}
    artist = Artist(sticker.svg, large, text)
    for platform in config.chosen_platforms:
        limits = LIMITS[platform]
        drawn = artist.draw(limits)
        files[f"{platform}.{limits.ending}"] = drawn.data
        encodings[platform] = drawn.how
    return Piece(sticker=sticker, files=files, encodings=encodings)


def _read(png: bytes) -> tuple[Picture, dict[str, str]]:
    """A PNG's pixels (straight RGBA), and the origin that the tracer wrote into its text chunks."""
    with Image.open(io.BytesIO(png)) as image:
        picture = np.array(image.convert("RGBA"))
        return picture, {key: str(value) for key, value in getattr(image, "text", {}).items()}
