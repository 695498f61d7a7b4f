"""What a pack holds beside its SVGs: sizes of its PNGs, atlases for engines, sticker platforms."""

import dataclasses

from core.errors import UserError

ATLAS_FORMATS = ("pixi", "array", "phaser", "godot3", "godot4", "unity", "css")
"""Descriptions of the sheets: TexturePacker's JSON hash and array, Phaser 3 multi-atlas, Godot's
AtlasTexture, Unity's .tpsheet, CSS sprites."""
PLATFORMS = (
    *("whatsapp", "telegram", "telegram-emoji", "signal"),
    *("discord", "discord-emoji", "imessage", "line"),
)
"""Messengers whose packs can be made."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackOptions:
    """Which files a pack holds for engines and messengers."""

    densities: tuple[int, ...] = (1, 2, 4)
    """PNGs are made at so many times `small_px`, in png/@1x, png/@2x, png/@4x."""
    atlas: str = "all"
    """Atlases, by comma: pixi, array (TexturePacker JSON), phaser, godot3, godot4, unity, css; or
    all, or none."""
    atlas_density: int = 2
    """Density of the atlases' frames, one of `densities`."""
    atlas_max_px: int = 2048
    """Largest width and height of a sheet (64…16384); another one is begun when it is full."""
    atlas_padding_px: int = 2
    """Clear pixels between two frames of a sheet (0…64)."""
    atlas_extrude_px: int = 1
    """Rows by which a frame's edge is repeated outwards, against bleeding neighbours (0…16)."""
    atlas_power_of_two: bool = False
    """Widths and heights of sheets are powers of two."""
    platforms: str = "none"
    """Sticker platforms, by comma: whatsapp, telegram, telegram-emoji, signal, discord,
    discord-emoji, imessage, line; or all, or none."""
    publisher: str = "Menagerie"
    """Who publishes the pack, where a platform asks for it (at most 64 characters)."""

    @property
    def atlas_formats(self) -> tuple[str, ...]:
        """The chosen formats, in their fixed order."""
        return _chosen("atlas", self.atlas, ATLAS_FORMATS)

    @property
    def chosen_platforms(self) -> tuple[str, ...]:
        """The chosen platforms, in their fixed order."""
        return _chosen("platforms", self.platforms, PLATFORMS)

    def check_pack(self, small_px: int) -> None:
        """UserError names the first option that cannot be; `small_px` is the size at @1x."""
        _check_densities(self.densities, small_px)
        for name, least, most in (
            ("atlas_max_px", 64, 16384),
            ("atlas_padding_px", 0, 64),
            ("atlas_extrude_px", 0, 16),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UserError(f"{name} is {value}: allowed are {least} to {most}")
        if not 0 < len(self.publisher) <= 64:
            raise UserError("publisher has to have 1 to 64 characters")
        _ = self.chosen_platforms
        if self.atlas_formats:
            self._check_atlas(small_px)

    @property
    def sheet_px(self) -> int:
        """Width and height of the largest sheet, in pixels."""
        side_px = self.atlas_max_px
        return 1 << (side_px.bit_length() - 1) if self.atlas_power_of_two else side_px

    def _check_atlas(self, small_px: int) -> None:
        if self.atlas_density not in self.densities:
            raise UserError(
                f"atlas_density is {self.atlas_density}: one of the densities "
                f"{_listed(self.densities)}, whose PNGs the sheets hold"
            )
        frame_px = self.atlas_density * small_px
        needed = frame_px + 2 * (self.atlas_extrude_px + self.atlas_padding_px)
        if needed > self.sheet_px:
            largest = f", as a power of two {self.sheet_px}" * (self.sheet_px < self.atlas_max_px)
            raise UserError(
                f"atlas_max_px is {self.atlas_max_px}{largest}: a frame of {frame_px} px with its "
                f"edges needs {needed}; raise it, or lower --atlas-density or --small-px"
            )


def _check_densities(densities: tuple[int, ...], small_px: int) -> None:
    if 1 not in densities or len(set(densities)) != len(densities):
        raise UserError(f"densities are {_listed(densities)}: 1 and others, each once")
    if not all(density >= 1 and density * small_px <= 4096 for density in densities):
        raise UserError(
            f"densities are {_listed(densities)} at a small_px of {small_px}: from 1, and no PNG "
            "above 4096 px"
        )


def _chosen(name: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if words in (["all"], ["none"]):
        return known if words == ["all"] else ()
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        raise UserError(f"{name} is {text!r}: by comma {', '.join(known)}; or all, or none")
    return tuple(word for word in known if word in words)


def _listed(values: tuple[int, ...]) -> str:
    return " ".join(map(str, values)) or "none"
