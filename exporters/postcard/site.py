"""Cards as pages: each alone in one file, and all of them as a small site; both from a disk."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any
from urllib.parse import quote

from core.report.page import many
from exporters.postcard.back import BARS
from exporters.postcard.scene import path_data
from exporters.postcard.waveform import bars_in

_TONGUE = "art-x-menagerie"
"""BCP 47 for an invented language, so that no screen reader takes it for English."""
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="menagerie">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file: data:;
 media-src 'self' file: data:; style-src 'unsafe-inline'; script-src 'sha256-$digest'">
<title>$title</title>
<style>
$css
</style>
</head>
<body>
$body
<script>$script</script>
</body>
</html>
""")
_ICONS = (
    '<svg viewBox="0 0 20 20" aria-hidden="true"><path class="start" d="M5 2.5v15l12.5-7.5z"/>'
    '<path class="pause" d="M4 4h12v12H4z"/></svg>'
)


def card_page(
    card: Mapping[str, Any],
    front: bytes,
    back: bytes,
    wav: bytes,
    provenance: Mapping[str, str],
) -> str:
    """One card as a file that needs no other: `front` and `back` are SVG, `wav` the call."""
    sources = {
        "front": _inline("image/svg+xml", front),
        "back": _inline("image/svg+xml", back),
        "call": _inline("audio/wav", wav),
    }
    head = f"<h1>{escape(card['name'])}</h1>"
    body = f'<article class="postcard" data-name="{escape(card["name"])}">'
    body += f"{head}{_sides(card, sources)}{_voice(card, sources['call'])}</article>"
    made_of = {**provenance, **_digests(card)}
    return _page(card["name"], f'<main class="alone">{body}{_origin(made_of)}</main>')


def index_page(
    title: str, cards: Sequence[Mapping[str, Any]], provenance: Mapping[str, str]
) -> str:
    """All cards on one page, beside their folders."""
    lead = (
        f"{many(len(cards), 'postcard')} from animals that nobody has met. Listen to each, turn it "
        'over, print it: <a href="cards.pdf">all cards as PDF</a>.'
    )
    shown = "".join(_entry(card) for card in cards)
    head = f'<h1>{escape(title)}</h1><p class="lead">{lead}</p>'
    return _page(title, f'<main>{head}<ul class="cards">{shown}</ul>{_origin(provenance)}</main>')


def _entry(card: Mapping[str, Any]) -> str:
    folder, name = quote(card["folder"]), escape(card["name"])
    sources = {"front": f"{folder}/front.svg", "back": f"{folder}/back.svg"}
    files = {"card.html": "Open alone", "card.pdf": "PDF", "front.png": "Front"}
    files |= {"back.png": "Back", "call.wav": "Sound"}
    links = "".join(
        f'<a href="{folder}/{file}" aria-label="{text}: {name}">{text}</a>'
        for file, text in files.items()
    )
    return (
        f'<li class="postcard" data-name="{name}">{_sides(card, sources)}'
        f'<div class="row"><h2>{name}</h2>'
        f'<button class="turn" type="button" hidden>Turn over</button></div>'
        f'{_voice(card, f"{folder}/call.wav")}<p class="links">{links}</p></li>'
    )


def _sides(card: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    name = escape(card["name"])
    alts = {
        "front": f"Front: {escape(card['alt'])}, titled {name}",
        "back": "Back: the phrase in a speech bubble, the waveform, a stamp, lines for an address",
    }
    images = "".join(
        f'<img class="{side}" src="{sources[side]}" alt="{alts[side]}" width="1480" height="1050">'
        for side in ("front", "back")
    )
    return f'<div class="sides">{images}</div>'


def _voice(card: Mapping[str, Any], source: str) -> str:
    """Player, waveform and what is said."""
    name = escape(card["name"])
    width = 4 * BARS
    bars = [bars_in([bar], (place * 4.0, 2.0, 4.0, 36.0)) for place, bar in enumerate(card["bars"])]
    strokes = "".join(f'<path d="{path_data(bar)}"/>' for bar in bars)
    return (
        f'<audio controls preload="metadata" aria-label="Call of {name}" src="{source}"></audio>'
        f'<div class="voice" hidden><button class="play" type="button" '
        f'aria-label="Play the call of {name}">{_ICONS}</button>'
        f'<svg class="wave" viewBox="0 0 {width} 40" preserveAspectRatio="none" role="img" '
        f'aria-label="Waveform of the call, {card["seconds"]:.1f} seconds">{strokes}</svg></div>'
        f'<blockquote lang="{_TONGUE}">“{escape(card["phrase"])}”</blockquote>'
    )


def _origin(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items()
    )
    intro = "No such animal exists: a computer made pictures, calls and words."
    return (
        f"<details><summary>Where this comes from</summary><p>{intro}</p><dl>{rows}</dl></details>"
    )


def _digests(card: Mapping[str, Any]) -> dict[str, str]:
    picture = card["picture"]
    return {
        "seed": str(card["seed"]),
        "picture": picture.get("svg_sha256") or picture["pixels_sha256"],
        "call": card["call"]["sha256"],
        "phrase": card["phrase_sha256"],
    }


def _inline(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _page(title: str, body: str) -> str:
    files = resources.files("exporters.postcard")
    css, script = (files.joinpath(f"postcard.{kind}").read_text("utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _PAGE.substitute(title=escape(title), body=body, css=css, script=script, digest=digest)
