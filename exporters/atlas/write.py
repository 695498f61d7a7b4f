"""Atlases of a pack: frames in, sheets and their descriptions out."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.images import png_bytes
from exporters.atlas.formats import WRITERS
from exporters.atlas.frames import Frame, Painted, Placed, paint
from exporters.atlas.layout import Room, Sheet, lay_out


def write_atlases(
    folder: Path,
    stem: str,
    frames: Sequence[Frame],
    *,
    room: Room,
    formats: Iterable[str],
    text: Mapping[str, str],
) -> dict[str, Any]:
    """Write `<stem>-0.png` and on into `folder`, with each format's files; what pack.json says.

    `text` goes into the sheets' text chunks.
    One sheet at a time is in memory. The same frames give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    painted = []
    for number, sheet in enumerate(lay_out([frame.trim[2:] for frame in frames], room)):
        image = f"{stem}-{number}.png"
        picture = paint(sheet, frames, room.extrude_px)
        (folder / image).write_bytes(png_bytes(picture, text))
        painted.append(_describe(sheet, frames, number, image))
    files = {}
    for name in formats:
        described = WRITERS[name](stem, painted)
        for path, content in described.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8", newline="\n")
        files[name] = _entry_files(described)
    return {
        "sheets": [{"file": one.image, "size": [one.width, one.height]} for one in painted],
        "formats": files,
    }


def _describe(sheet: Sheet, frames: Sequence[Frame], number: int, image: str) -> Painted:
    placed = tuple(Placed(frame=frames[n], x=x, y=y) for n, (x, y) in sheet.places.items())
    return Painted(
        number=number, image=image, width=sheet.width_px, height=sheet.height_px, frames=placed
    )


def _entry_files(described: dict[str, str]) -> list[str]:
    """What a program loads: the files, or the folder where there is one for each frame."""
    return sorted({f"{name.split('/')[0]}/" if "/" in name else name for name in described})
