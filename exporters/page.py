"""The pack's page: one self-contained HTML file that opens without a server or a network."""

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any
from urllib.parse import quote

from exporters.notices import made_by, pictures_of
from exporters.uses import render_uses

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="menagerie">
<title>$name: $count stickers</title>
<style>
:root { --page: #f7f3ea; --card: #fffdf8; --ink: #2a2620; --soft: #6d6558; --line: #e5dccb;
  --accent: #b4451f; --on-accent: #fff; --warn: #fff0d6; --radius: 18px; }
@media (prefers-color-scheme: dark) { :root:not([data-theme="light"]) { --page: #17161a;
  --card: #222127; --ink: #f1ede4; --soft: #aaa398; --line: #37353d; --accent: #ffa376;
  --on-accent: #2a1208; --warn: #45341a; } }
:root[data-theme="dark"] { --page: #17161a; --card: #222127; --ink: #f1ede4; --soft: #aaa398;
  --line: #37353d; --accent: #ffa376; --on-accent: #2a1208; --warn: #45341a; }
:root[data-theme="light"] { color-scheme: light; }
:root[data-theme="dark"] { color-scheme: dark; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 ui-rounded, "SF Pro Rounded", Nunito, "Segoe UI", system-ui, sans-serif; }
main, header, footer { max-width: 76rem; margin: auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: clamp(2rem, 6vw, 3.2rem); line-height: 1.1; margin: 0 0 .4rem;
  letter-spacing: -.02em; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 1rem; font-size: 1.4rem; }
h2::first-letter { text-transform: uppercase; }
h2 small, .soft { color: var(--soft); font-weight: 400; font-size: .95rem; }
a { color: var(--accent); }
a:focus-visible, button:focus-visible, summary:focus-visible { outline: 3px solid var(--accent);
  outline-offset: 3px; border-radius: 8px; }
.bar, nav ul { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; }
.bar { margin: 1.2rem 0; }
.button { font: inherit; font-weight: 600; padding: .6rem 1.1rem; border-radius: 999px;
  border: 1px solid var(--line); background: var(--card); color: var(--ink); cursor: pointer;
  text-decoration: none; }
.button.main { background: var(--accent); color: var(--on-accent); border-color: transparent; }
nav ul { list-style: none; padding: 0; margin: 0; }
nav a { display: block; padding: .25rem .8rem; border: 1px solid var(--line);
  border-radius: 999px; text-decoration: none; color: var(--ink); }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); }
figure { margin: 0; padding: .9rem; background: var(--card); border: 1px solid var(--line);
  border-radius: var(--radius); transition: transform .15s; }
figure:hover { transform: translateY(-3px); }
@media (prefers-reduced-motion: reduce) { figure { transition: none; } }
figure img { display: block; width: 100%; height: auto; aspect-ratio: 1; }
figcaption { font-size: .82rem; color: var(--soft); margin-top: .6rem; }
figcaption a { margin-right: .5rem; }
.search { font: inherit; padding: .6rem 1.1rem; border-radius: 999px; border: 1px solid var(--soft);
  background: var(--card); color: var(--ink); min-width: 12rem; }
.tag { display: inline-block; padding: 0 .5rem; border: 1px solid var(--soft);
  border-radius: 999px; margin-right: .3rem; }
.uses { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
.uses > div { padding: 1rem 1.2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: var(--radius); min-width: 0; }
.uses h3 { margin: 0 0 .4rem; font-size: 1.05rem; }
.uses p { margin: .3rem 0; overflow-wrap: anywhere; }
code { font: .85rem/1.5 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.warning { font-size: 1.1rem; border: 2px solid var(--accent); }
[hidden] { display: none !important; }
.warning { background: var(--warn); padding: .9rem 1.2rem; border-radius: var(--radius); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 1rem 0; } summary { cursor: pointer; }
footer { padding-bottom: 3rem; }
</style>
</head>
<body>
<header>
<h1>$name</h1>
<p class="soft">$summary</p>
<div class="bar">
<a class="button main" id="zip" href="$zip" download>Download all (zip)</a>
<button class="button" id="theme" type="button" aria-pressed="false">Dark</button>
<input class="search" id="search" type="search" placeholder="Search stickers"
  aria-label="Search stickers" hidden>
<span class="soft" id="found" role="status"></span>
</div>
$warning
<nav aria-label="Classes"><ul>$nav</ul></nav>
</header>
<main>
$sections
$uses
</main>
<footer>
<h2 id="origin">Where it comes from</h2>
<dl>$origin</dl>
<p>$made: see <a href="AI-DISCLOSURE.md">the disclosure</a>. Terms:
<a href="LICENSE">licence</a>. All figures: <a href="pack.json">pack.json</a>; checksums:
<a href="SHA256SUMS">SHA256SUMS</a>; <a href="preview.png">contact sheet</a>.</p>
$refused
</footer>
<script>
const root = document.documentElement, button = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
function show(theme) {
  root.dataset.theme = theme;
  button.setAttribute("aria-pressed", String(theme === "dark"));
}
let kept = null;
try { kept = localStorage.getItem("theme"); } catch {}
show(kept || (system.matches ? "dark" : "light"));
button.addEventListener("click", () => {
  const theme = root.dataset.theme === "dark" ? "light" : "dark";
  show(theme);
  try { localStorage.setItem("theme", theme); } catch {}
});
// a figure stays when each word is in what is said of it
const search = document.getElementById("search"), found = document.getElementById("found");
search.hidden = false;
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/ +/).filter(Boolean);
  let count = 0;
  for (const section of document.querySelectorAll("main > section[data-class]")) {
    let left = 0;
    for (const figure of section.querySelectorAll("figure")) {
      figure.hidden = !words.every((word) => figure.dataset.text.includes(word));
      left += !figure.hidden;
    }
    section.hidden = !left;
    count += left;
  }
  found.textContent = words.length ? count + (count === 1 ? " sticker" : " stickers") : "";
});
// the zip lies beside this page's folder and bears its name
const folder = location.pathname.replace(/[/][^/]*$$/, "").split("/").pop();
if (folder) document.getElementById("zip").href = "../" + folder + ".zip";
</script>
</body>
</html>
""")


def render_page(facts: Mapping[str, Any]) -> str:
    """The page for the contents of pack.json: stickers by class, figures, origin, licence."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for item in facts["stickers"]:
        groups.setdefault(item["label"], []).append(item)
    numbered = list(enumerate(groups.items()))
    return _PAGE.substitute(
        name=escape(facts["name"]),
        zip=escape(f"../{quote(facts['name'], safe='')}.zip"),
        count=len(facts["stickers"]),
        summary=_summary(facts, len(groups)),
        warning=_warning(facts),
        nav="".join(_nav_item(number, label, items) for number, (label, items) in numbered),
        uses=render_uses(facts),
        sections="\n".join(_section(number, label, items) for number, (label, items) in numbered),
        origin=_origin(facts),
        made=made_by(facts["parents"]),
        refused=_refused(facts["refused"]),
    )


def _summary(facts: Mapping[str, Any], classes: int) -> str:
    stickers = facts["stickers"]
    size = statistics.median(item["bytes"] for item in stickers) / 1024
    worst = statistics.median(_psnr(item) for item in stickers)
    return (
        f"{_count(len(stickers), 'sticker')} in {_count(classes, 'class', 'classes')}, as SVG, PNG "
        f"and WebP. Median {size:.1f} KiB and {worst:.1f} dB of fidelity."
    )


def _warning(facts: Mapping[str, Any]) -> str:
    if facts["redistributable"]:
        return ""
    licence = escape(facts["licence"])
    reason = (
        "does not allow it" if facts["redistributable"] is False else "is not known to allow it"
    )
    return (
        '<p class="warning" role="note"><strong>Do not redistribute.</strong> '
        f"The licence of the {pictures_of(facts['parents'])} ({licence}) {reason}.</p>"
    )


def _nav_item(number: int, label: str, items: Sequence[Mapping[str, Any]]) -> str:
    return f'<li><a href="#class-{number}">{escape(label)} ({len(items)})</a></li>'


def _section(number: int, label: str, items: Sequence[Mapping[str, Any]]) -> str:
    cards = "\n".join(_card(item) for item in items)
    heading = f"{escape(label)} <small>{_count(len(items), 'sticker')}</small>"
    return (
        f'<section data-class aria-labelledby="class-{number}">'
        f'<h2 id="class-{number}">{heading}</h2>\n'
        f'<div class="grid">\n{cards}\n</div></section>'
    )


def _card(item: Mapping[str, Any]) -> str:
    svg, large, webp = (quote(item[key]) for key in ("file", "png", "webp"))
    tags = item.get("tags", [])
    text = " ".join((item["name"], item["label"], item["alt"], *tags)).lower()
    figures = f"seed {item['seed']}, {item['bytes'] / 1024:.1f} KiB, {_psnr(item):.1f} dB"
    marks = "".join(f'<span class="tag">{escape(tag)}</span>' for tag in tags)
    pngs = "".join(
        f'<a href="{quote(path)}" download>{escape(density)}</a>'
        for density, path in item["pngs"].items()
    )
    return (
        f'<figure data-text="{escape(text)}"><a href="{large}"><img src="{svg}" '
        f'alt="{escape(item["alt"])}" width="512" height="512" loading="lazy"></a>'
        f"<figcaption>{figures}<br>{marks}"
        f'<a href="{svg}" download>SVG</a><a href="{webp}" download>WebP</a>PNG {pngs}'
        "</figcaption></figure>"
    )


def _origin(facts: Mapping[str, Any]) -> str:
    parents = facts["parents"]
    rows = {
        "Licence of the data": facts["licence"],
        "Dataset": parents.get("dataset", "unknown"),
        "Model": parents.get("model", "unknown"),
        "Sample set": facts["inputs"]["samples"],
        "Made with": ", ".join(f"{name} {version}" for name, version in facts["tools"].items()),
    }
    return "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in rows.items())


def _refused(refused: Sequence[Mapping[str, Any]]) -> str:
    if not refused:
        return ""
    rows = "".join(
        f"<li>{escape(item['label'])}, seed {item['seed']}: {escape(item['reason'])}</li>"
        for item in refused
    )
    heading = f"{_count(len(refused), 'picture')} refused"
    return f"<details><summary>{heading}</summary><ul>{rows}</ul></details>"


def _psnr(item: Mapping[str, Any]) -> float:
    return min(float(item["psnr_white_db"]), float(item["psnr_black_db"]))


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
