"""The gallery's pages: an index over all packs, and a page for each; no inline script or style."""

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any
from urllib.parse import quote

from exporters.gallery.shelf import Shown
from exporters.notices import pictures_of

_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="menagerie">
$policy
<title>$title</title>
<link rel="stylesheet" href="gallery.css">
<link rel="icon" href="data:,">
<script src="gallery.js" defer></script>
</head>
<body>
<a class="skip" href="#main">To the stickers</a>
<header>
$head
<div class="bar" role="search">
<input id="search" type="search" placeholder="Search: orange cat"
  aria-label="Search stickers" hidden>
<fieldset id="grounds" hidden><legend>Ground</legend>
<label><input type="radio" name="ground" value="auto" checked> <span>Page</span></label>
<label><input type="radio" name="ground" value="light"> <span>Light</span></label>
<label><input type="radio" name="ground" value="dark"> <span>Dark</span></label>
<label><input type="radio" name="ground" value="chequered"> <span>Chequered</span></label>
</fieldset>
<p id="found" role="status"></p>
</div>
</header>
<main id="main" tabindex="-1">
$body
</main>
<footer>
<p>How each pack was made, and from what, its own page and its disclosure say.</p>
</footer>
</body>
</html>
""")


def render_index(title: str, packs: Sequence[Shown]) -> str:
    """The first page: a card for each pack, then a carousel for each class over all packs."""
    count = sum(len(pack.facts["stickers"]) for pack in packs)
    head = (
        f"<h1>{escape(title)}</h1><p class='lead'>{_count(count, 'sticker')} in "
        f"{_count(len(packs), 'pack')}, for games and messengers</p>"
    )
    cards = "".join(_pack_card(pack) for pack in packs)
    groups: dict[str, list[tuple[Shown, Mapping[str, Any]]]] = {}
    for pack in packs:
        for item in pack.facts["stickers"]:
            groups.setdefault(item["label"], []).append((pack, item))
    named = {label: len({pack.slug for pack, _ in group}) > 1 for label, group in groups.items()}
    carousels = "".join(
        _carousel(number, label, [_sticker(pack, item, named[label]) for pack, item in group])
        for number, (label, group) in enumerate(groups.items())
    )
    return _page(title, head, f'<ul class="packs">{cards}</ul>{carousels}')


def render_pack(title: str, pack: Shown) -> str:
    """One pack's page: downloads, terms, a carousel for each class."""
    facts = pack.facts
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for item in facts["stickers"]:
        groups.setdefault(item["label"], []).append(item)
    head = (
        f'<p class="back"><a href="index.html">{escape(title)}</a></p>'
        f"<h1>{escape(facts['name'])}</h1>"
        f"<p class='lead'>{_contents(facts)}</p>{_warning(pack)}{_downloads(pack)}"
    )
    carousels = "".join(
        _carousel(number, label, [_sticker(pack, item, False) for item in items])
        for number, (label, items) in enumerate(groups.items())
    )
    return _page(f"{facts['name']}: {title}", head, carousels + _origin(pack))


def _page(title: str, head: str, body: str) -> str:
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    return _PAGE.substitute(title=escape(title), head=head, body=body, policy=policy)


def _pack_card(pack: Shown) -> str:
    name = escape(pack.facts["name"])
    badge = "" if pack.redistributable else '<strong class="badge">Do not redistribute</strong>'
    return (
        f'<li><a class="cover" href="{quote(pack.slug)}.html"><img alt="" loading="lazy" '
        f'src="packs/{quote(pack.slug)}/preview.png"><span class="name">{name}</span></a>'
        f'<p>{_contents(pack.facts)}</p>{badge}<p><a class="button" download '
        f'href="packs/{quote(pack.slug)}.zip">Download<span class="hush"> {name}</span> '
        f"({_size(pack.zip_bytes)})</a></p></li>"
    )


def _carousel(number: int, label: str, items: Sequence[str]) -> str:
    name = escape(label)
    return (
        f'<section class="carousel" aria-labelledby="class-{number}">'
        f'<div class="row"><h2 id="class-{number}">{name} <small>{len(items):,}</small></h2>'
        f'<button type="button" class="turn" data-turn="-1" aria-label="{name}: back" hidden>'
        '<span aria-hidden="true">←</span></button>'
        f'<button type="button" class="turn" data-turn="1" aria-label="{name}: on" hidden>'
        '<span aria-hidden="true">→</span></button></div>'
        f'<ul class="strip" tabindex="0" aria-labelledby="class-{number}">{"".join(items)}</ul>'
        "</section>"
    )


def _sticker(pack: Shown, item: Mapping[str, Any], with_pack: bool) -> str:
    root = f"packs/{quote(pack.slug)}/"
    tags = item.get("tags", [])
    words = (item["name"], item["label"], item["alt"], *tags, pack.facts["name"])
    name = escape(item["name"])
    links = "".join(
        f'<a href="{root}{quote(item[key])}" download>{what}'
        f'<span class="hush"> of {name}</span></a>'
        for key, what in (("file", "SVG"), ("png", "PNG"), ("webp", "WebP"))
    )
    origin = f'<span class="of">{escape(pack.facts["name"])}</span>' if with_pack else ""
    return (
        f'<li data-text="{escape(" ".join(words).lower())}"><span class="stage">'
        f'<img src="{root}{quote(item["file"])}" alt="{escape(item["alt"])}" width="176" '
        f'height="176" loading="lazy"></span>{origin}<span class="links">{links}</span></li>'
    )


def _downloads(pack: Shown) -> str:
    root = f"packs/{quote(pack.slug)}"
    return (
        f'<p class="bar"><a class="button main" href="{root}.zip" download>Download all '
        f'({_size(pack.zip_bytes)})</a><a class="button" href="{root}/LICENSE">Licence</a>'
        f'<a class="button" href="{root}/AI-DISCLOSURE.md">AI disclosure</a>'
        f'<a class="button" href="{root}/index.html">The pack\'s own page</a></p>'
    )


def _warning(pack: Shown) -> str:
    if pack.redistributable:
        return ""
    forbidden = pack.facts["redistributable"] is False
    reason = "does not allow it" if forbidden else "is not known to allow it"
    return (
        '<p class="warning" role="note"><strong>Do not redistribute.</strong> The licence of the '
        f"{pictures_of(pack.facts['parents'])} ({escape(pack.facts['licence'])}) {reason}.</p>"
    )


def _origin(pack: Shown) -> str:
    parents = pack.facts["parents"]
    rows = {
        "Licence of the data": pack.facts["licence"],
        "Dataset": parents.get("dataset", "unknown"),
        "Model": parents.get("model", "unknown"),
        "Checksums": pack.digest,
    }
    told = "".join(f"<dt>{key}</dt><dd>{escape(str(value))}</dd>" for key, value in rows.items())
    return f'<section class="origin"><h2>Where it comes from</h2><dl>{told}</dl></section>'


def _contents(facts: Mapping[str, Any]) -> str:
    stickers = facts["stickers"]
    labels = len({item["label"] for item in stickers})
    parts = ["SVG, PNG, WebP"]
    parts += ["sprite sheets"] * ("atlas" in facts)
    parts += ["messenger packs"] * ("platforms" in facts)
    counts = f"{_count(len(stickers), 'sticker')}, {_count(labels, 'class', 'classes')}"
    return f"{counts}: {', '.join(parts)}"


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{max(1, round(count / 1024))} KiB"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
