"""stickers/: the files that workers drew, in the folders that each platform's uploader reads.

stickers/whatsapp/1/     cat_000001.webp …  tray.png  contents.json
stickers/telegram/1/     …  set.json
stickers/imessage/1.stickerpack/cat_000001.sticker/cat_000001.png
"""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.images import png_bytes
from exporters.platforms.check import check_platform
from exporters.platforms.limits import LIMITS, Limits
from exporters.platforms.sets import Member, Set, deal, in_turn, lists_of

LINE_COUNTS = (8, 16, 24, 32, 40)
"""How many stickers LINE's shop takes in one set."""

Bring = Callable[[str, str, Path], None]
"""Puts the file that was drawn for (sticker's name, ending) at a path."""


def write_platform(
    folder: Path,
    platform: str,
    stickers: Sequence[Mapping[str, Any]],
    *,
    pack_name: str,
    publisher: str,
    stem: str,
    bring: Bring,
) -> dict[str, Any]:
    """Write one platform's packs under `folder`/stickers; what pack.json says of them.

    A pack that is too small for the platform is left out, with a note that says so. Every file is
    checked again once it is written.
    """
    limits = LIMITS[platform]
    if len(stickers) < limits.at_least:
        note = (
            f"{limits.title} takes packs of {limits.at_least} to {limits.at_most} stickers, here "
            f"are {len(stickers)}: none was made"
        )
        return {"packs": [], "notes": [note]}
    mixed = in_turn(stickers, lambda item: str(item["label"]))
    packs = []
    groups = deal(mixed, limits)
    for number, group in enumerate(groups, start=1):
        title = _title(pack_name, number, len(groups), limits.name_chars)
        members = tuple(_member(item, limits) for item in group)
        identifier = f"{stem}_{number}".replace("-", "_")
        one = Set(title=title, publisher=publisher, identifier=identifier, members=members)
        where = f"stickers/{platform}/{number}" + ".stickerpack" * (platform == "imessage")
        _fill(folder / where, platform, one, bring)
        packs.append({"folder": where, "title": title, "stickers": len(members)})
    problems = check_platform(folder / "stickers" / platform, platform)
    if problems:
        raise RuntimeError(f"{limits.title}'s limits are not kept: {'; '.join(problems[:3])}")
    return {"packs": packs, "notes": _notes(platform, [len(group) for group in groups])}


def _member(item: Mapping[str, Any], limits: Limits) -> Member:
    return Member(
        name=item["name"],
        file=f"{item['name']}.{limits.ending}",
        label=item["label"],
        alt=item["alt"],
    )


def _fill(folder: Path, platform: str, one: Set, bring: Bring) -> None:
    """One pack's stickers, covers and lists."""
    folder.mkdir(parents=True)
    ending = f"{platform}.{LIMITS[platform].ending}"
    for member in one.members:
        inside = f"{member.name}.sticker/" if platform == "imessage" else ""
        bring(member.name, ending, folder / f"{inside}{member.file}")
    for name, size in _COVERS.get(platform, {}).items():
        cover = _cover(folder / one.members[0].file, size)
        (folder / name).write_bytes(cover)
    for name, text in lists_of(platform, one).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


_COVERS = {
    "whatsapp": {"tray.png": (96, 96)},
    "line": {"main.png": (240, 240), "tab.png": (96, 74)},
}
"""Pictures of a whole pack, in pixels (width, height), drawn from its first sticker."""


def _cover(path: Path, size: tuple[int, int]) -> bytes:
    """A sticker on a clear picture of the given size."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        small = image.convert("RGBA")
    small.thumbnail(size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", size, (0, 0, 0, 0))
    canvas.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return png_bytes(np.asarray(canvas))


def _title(name: str, number: int, count: int, longest: int) -> str:
    end = f" {number}" if count > 1 else ""
    return name[: longest - len(end)] + end


def _notes(platform: str, sizes: Sequence[int]) -> list[str]:
    if platform == "line" and any(size not in LINE_COUNTS for size in sizes):
        counts = ", ".join(map(str, sizes))
        return [
            f"LINE's shop takes sets of {', '.join(map(str, LINE_COUNTS))} stickers, here are "
            f"{counts}: leave some out, or add some, before you submit them"
        ]
    return []
