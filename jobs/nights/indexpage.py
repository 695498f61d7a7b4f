"""The page over a night's published packs."""

from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from core.report.page import html_page, many

_CSS = """
.pack img { display: block; width: 100%; height: 13rem; object-fit: contain; background: #fff;
  border-radius: 8px; margin-bottom: .7rem; }
.pack h2 { margin: 0 0 .2rem; font-size: 1.2rem; overflow-wrap: anywhere; }
.button { display: inline-block; margin: .6rem .4rem 0 0; padding: .45rem .9rem; font-weight: 600;
  border: 1px solid var(--line); border-radius: 999px; text-decoration: none; color: var(--ink); }
.button.main { background: var(--accent); color: var(--on-accent); border-color: transparent; }
"""


def render_index(facts: Mapping[str, Any]) -> str:
    """The page for the contents of published.json."""
    cards = "\n".join(_card(pack) for pack in facts["packs"])
    stickers = sum(pack["stickers"] for pack in facts["packs"])
    body = (
        f"<h1>{escape(facts['title'])}</h1>\n"
        f'<p class="soft">{many(stickers, "sticker")} in {many(len(facts["packs"]), "pack")}, '
        f"made in the night of {escape(facts['night'])}, with generative AI.</p>\n"
        f'<div class="cards" style="margin-top:1.2rem">\n{cards}\n</div>'
    )
    return html_page(title=facts["title"], body=body, css=_CSS)


def _card(pack: Mapping[str, Any]) -> str:
    folder, name = quote(pack["folder"]), escape(pack["name"])
    classes = ", ".join(f"{escape(k)} ({n})" for k, n in sorted(pack["by_class"].items()))
    terms = "" if pack["redistributable"] else "<br><strong>Do not redistribute.</strong>"
    return (
        f'<section class="card pack"><a href="{folder}/index.html">'
        f'<img src="{folder}/preview.png" alt="Contact sheet of {name}"></a>'
        f"<h2>{name}</h2><p>{many(pack['stickers'], 'sticker')}: {classes}</p>"
        f'<p class="soft">Licence of the data: {escape(pack["licence"])}{terms}</p>'
        f'<a class="button main" href="{folder}/index.html">Look</a>'
        f'<a class="button" href="{folder}.zip" download>Zip, '
        f"{pack['zip_bytes'] / 2**20:,.1f} MiB</a></section>"
    )
