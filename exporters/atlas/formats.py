"""Sheets described for engines. Each function turns painted sheets into files: name to text.

Sources: TexturePacker's JSON as PixiJS 8 (`Spritesheet`) and Phaser 3 (`MultiAtlas`) read it;
Godot's AtlasTexture as text resource; TexturePacker Importer for Unity (`.tpsheet`, format 40300).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporters.atlas.frames import Painted, Placed

GENERATOR = "menagerie"
Files = dict[str, str]


def pixi(stem: str, sheets: Sequence[Painted]) -> Files:
    """TexturePacker's JSON hash, a file for each sheet; the first one names the others.

    `animations` gathers the frames of each class.
    """
    names = [f"{stem}-{sheet.number}.json" for sheet in sheets]
    files = {}
    for name, sheet in zip(names, sheets, strict=True):
        meta = _meta(sheet)
        if len(sheets) > 1:
            meta["related_multi_packs"] = [other for other in names if other != name]
        groups: dict[str, list[str]] = {}
        for placed in sheet.frames:
            groups.setdefault(placed.frame.label, []).append(placed.frame.name)
        frames = {placed.frame.name: _entry(placed) for placed in sheet.frames}
        files[name] = _json({"frames": frames, "animations": groups, "meta": meta})
    return files


def array(stem: str, sheets: Sequence[Painted]) -> Files:
    """TexturePacker's JSON array, a file for each sheet."""
    return {
        f"{stem}-{sheet.number}.array.json": _json(
            {"frames": [_named(placed) for placed in sheet.frames], "meta": _meta(sheet)}
        )
        for sheet in sheets
    }


def phaser(stem: str, sheets: Sequence[Painted]) -> Files:
    """Phaser 3's multi-atlas: all sheets in one file."""
    textures = [
        {
            "image": sheet.image,
            "format": "RGBA8888",
            "size": {"w": sheet.width, "h": sheet.height},
            "scale": 1,
            "frames": [_named(placed) for placed in sheet.frames],
        }
        for sheet in sheets
    ]
    return {f"{stem}.phaser.json": _json({"textures": textures, "meta": {"app": GENERATOR}})}


def godot3(stem: str, sheets: Sequence[Painted]) -> Files:
    """An AtlasTexture for each frame, for Godot 3; copy atlas/ whole, paths are relative."""
    head = '[gd_resource type="AtlasTexture" load_steps=2 format=2]'
    link = '[ext_resource path="../{image}" type="Texture" id=1]'
    return _godot("godot3", head, link, "ExtResource( 1 )", sheets)


def godot4(stem: str, sheets: Sequence[Painted]) -> Files:
    """An AtlasTexture for each frame, for Godot 4; copy atlas/ whole, paths are relative."""
    head = '[gd_resource type="AtlasTexture" load_steps=2 format=3]'
    link = '[ext_resource type="Texture2D" path="../{image}" id="1"]'
    return _godot("godot4", head, link, 'ExtResource("1")', sheets)


def unity(stem: str, sheets: Sequence[Painted]) -> Files:
    """TexturePacker Importer's data; y counts from below, the pivot is the source's middle."""
    files = {}
    for sheet in sheets:
        lines = [
            f"# Sprite sheet data for Unity: {sheet.image}, {sheet.width} x {sheet.height}",
            "# Import it with TexturePacker Importer, from the Asset Store",
            ":format=40300",
            f":texture={sheet.image}",
            f":size={sheet.width}x{sheet.height}",
            ":pivotpoints=enabled",
            ":borders=disabled",
            ":alphahandling=ClearTransparentPixels",
        ]
        lines += [_unity_line(placed, sheet.height) for placed in sheet.frames]
        files[f"{stem}-{sheet.number}.tpsheet"] = "\n".join(lines) + "\n"
    return files


def css_class(stem: str) -> str:
    """A class name for sheets of this name: it may begin with no digit and no hyphen."""
    return stem if stem[0].isalpha() or stem[0] == "_" else f"_{stem}"


def css(stem: str, sheets: Sequence[Painted]) -> Files:
    """A class for each frame, as large as its source: <i class="zoo zoo-cat_000001"></i>."""
    name = css_class(stem)
    lines = [f".{name} {{ display: inline-block; background-repeat: no-repeat; }}"]
    for sheet in sheets:
        for placed in sheet.frames:
            left, top, width, height = placed.frame.trim
            right = placed.frame.source[0] - left - width
            below = placed.frame.source[1] - top - height
            lines.append(
                f".{name}-{placed.frame.name} {{ width: {width}px; height: {height}px; "
                f"margin: {top}px {right}px {below}px {left}px; "
                f"background-image: url({sheet.image}); "
                f"background-position: -{placed.x}px -{placed.y}px; }}"
            )
    return {f"{stem}.css": "\n".join(lines) + "\n"}


WRITERS: Mapping[str, Callable[[str, Sequence[Painted]], Files]] = {
    "pixi": pixi,
    "array": array,
    "phaser": phaser,
    "godot3": godot3,
    "godot4": godot4,
    "unity": unity,
    "css": css,
}
"""By the names that `PackOptions.atlas` takes."""


def _entry(placed: Placed) -> dict[str, Any]:
    """One frame in TexturePacker's words."""
    left, top, width, height = placed.frame.trim
    source_width, source_height = placed.frame.source
    return {
        "frame": {"x": placed.x, "y": placed.y, "w": width, "h": height},
        "rotated": False,
        "trimmed": (width, height) != placed.frame.source,
        "spriteSourceSize": {"x": left, "y": top, "w": width, "h": height},
        "sourceSize": {"w": source_width, "h": source_height},
        "pivot": {"x": 0.5, "y": 0.5},
        "anchor": {"x": 0.5, "y": 0.5},
    }


def _named(placed: Placed) -> dict[str, Any]:
    return {"filename": placed.frame.name, **_entry(placed)}


def _meta(sheet: Painted) -> dict[str, Any]:
    return {
        "app": GENERATOR,
        "version": "1.0",
        "image": sheet.image,
        "format": "RGBA8888",
        "size": {"w": sheet.width, "h": sheet.height},
        "scale": "1",
    }


def _godot(folder: str, head: str, link: str, reference: str, sheets: Sequence[Painted]) -> Files:
    files = {}
    for sheet in sheets:
        for placed in sheet.frames:
            left, top, width, height = placed.frame.trim
            more_x, more_y = placed.frame.source[0] - width, placed.frame.source[1] - height
            files[f"{folder}/{placed.frame.name}.tres"] = (
                f"{head}\n\n{link.format(image=sheet.image)}\n\n[resource]\natlas = {reference}\n"
                f"region = Rect2( {placed.x}, {placed.y}, {width}, {height} )\n"
                f"margin = Rect2( {left}, {top}, {more_x}, {more_y} )\n"
                "filter_clip = true\n"
            )
    return files


def _unity_line(placed: Placed, sheet_height: int) -> str:
    left, top, width, height = placed.frame.trim
    pivot_x = (placed.frame.source[0] / 2 - left) / width
    pivot_y = 1 - (placed.frame.source[1] / 2 - top) / height
    below = sheet_height - placed.y - height
    return (
        f"{placed.frame.name};{placed.x};{below};{width};{height}; "
        f"{pivot_x:.6f};{pivot_y:.6f}; 0;0;0;0"
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
