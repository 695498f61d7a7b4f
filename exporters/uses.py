"""How to use a pack's atlases and messenger packs: a part of its page, with lines to copy."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from exporters.atlas.formats import css_class
from exporters.platforms.limits import LIMITS

_PIXI = "const sheet = await Assets.load('{file}'); new Sprite(sheet.textures.{one})"
_PHASER = "this.load.multiatlas('zoo', '{file}', 'atlas'); this.add.sprite(x, y, 'zoo', '{one}')"
_ENGINES = {
    "pixi": ("PixiJS", _PIXI),
    "phaser": ("Phaser 3", _PHASER),
    "godot4": ("Godot 4", 'load("res://{file}{one}.tres")'),
    "godot3": ("Godot 3", 'load("res://{file}{one}.tres")'),
    "unity": ("Unity", "{file}: import with TexturePacker Importer"),
    "css": ("CSS", '<i class="{css} {css}-{one}"></i>'),
    "array": ("Others", "{file}: TexturePacker's JSON array"),
}
"""Title and the line to copy, for each format."""


def render_uses(facts: Mapping[str, Any]) -> str:
    """Sections for engines and messengers, as HTML; empty for a pack without either."""
    parts = []
    if atlas := facts.get("atlas"):
        one = facts["stickers"][0]["name"]
        cards = [_engine(key, atlas, one) for key in _ENGINES if key in atlas["formats"]]
        count = len(atlas["sheets"])
        sheets = f"{count} sheet{'s' * (count != 1)} in atlas/, the same for all engines"
        parts.append(_section("engines", "In your game", sheets, cards))
    if platforms := facts.get("platforms"):
        cards = [_platform(key, platforms[key]) for key in LIMITS if key in platforms]
        parts.append(_section("messengers", "In messengers", "ready to upload", cards))
    return "\n".join(parts)


def _section(key: str, title: str, more: str, cards: Sequence[str]) -> str:
    return (
        f'<section aria-labelledby="{key}"><h2 id="{key}">{title} <small>{more}</small></h2>\n'
        f'<div class="uses">{"".join(cards)}</div></section>'
    )


def _engine(key: str, atlas: Mapping[str, Any], one: str) -> str:
    title, line = _ENGINES[key]
    file = f"atlas/{atlas['formats'][key][0]}"
    stem = atlas["sheets"][0]["file"].removesuffix("-0.png")
    shown = line.format(file=file, one=one, css=css_class(stem))
    return f"<div><h3>{title}</h3><p><code>{escape(shown)}</code></p></div>"


def _platform(key: str, made: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<p><code>{escape(pack['folder'])}</code>: {pack['stickers']}</p>"
        for pack in made["packs"]
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in made["notes"])
    return f"<div><h3>{escape(LIMITS[key].title)}</h3>{rows}{notes}</div>"
