"""The frame of the pages that jobs write: one file, light and dark, nothing from outside."""

import base64
import hashlib
from html import escape
from string import Template

_SORT = """
for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const head = button.parentElement, falls = head.ariaSort !== "descending";
    for (const other of head.parentElement.children) other.ariaSort = null;
    head.ariaSort = falls ? "descending" : "ascending";
    const key = (row) => row.cells[head.cellIndex].dataset.key ?? "";
    const known = (row) => key(row) !== "";
    const compared = (a, b) => key(a) - key(b) || key(a).localeCompare(key(b));
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => known(b) - known(a) || (falls ? compared(b, a) : compared(a, b)));
    table.tBodies[0].append(...rows);
  });
}
"""
"""Click a column's head to sort a table by it: first falling, then rising, unknown ones last."""
_SCRIPT_DIGEST = base64.b64encode(hashlib.sha256(_SORT.encode()).digest()).decode()

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="menagerie">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src 'self' file: data:; media-src data:;
 style-src 'unsafe-inline'; script-src 'sha256-$digest'">
<title>$title</title>
<style>
:root { --page: #f7f3ea; --card: #fffdf8; --ink: #2a2620; --soft: #6d6558; --line: #e5dccb;
  --accent: #b4451f; --on-accent: #fff; --good: #2f7d4f; --bad: #b3261e; --wait: #8a6a1f;
  --radius: 14px; }
@media (prefers-color-scheme: dark) { :root { --page: #17161a; --card: #222127; --ink: #f1ede4;
  --soft: #aaa398; --line: #37353d; --accent: #ffa376; --on-accent: #2a1208; --good: #7fd6a0;
  --bad: #ff8f85; --wait: #e8c468; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.45 ui-rounded, "SF Pro Rounded", Nunito, "Segoe UI", system-ui, sans-serif; }
main { max-width: 62rem; margin: auto; padding: 1.6rem 1.25rem 3rem; }
h1 { font-size: clamp(1.5rem, 4vw, 2.2rem); line-height: 1.15; margin: 0; letter-spacing: -.02em;
  overflow-wrap: anywhere; }
h2 { margin: 1.8rem 0 .6rem; font-size: 1.1rem; }
a { color: var(--accent); }
a:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: 8px; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: var(--radius);
  padding: 1rem 1.1rem; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
code { font: .86em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
figure { margin: 0 0 1rem; } figcaption { color: var(--soft); font-size: .9em; margin: .3rem 0; }
figure.plot img { background: #fffdf8; border-radius: var(--radius); max-width: 100%; }
img.pixels { image-rendering: pixelated; }
.pictures { display: flex; flex-wrap: wrap; gap: .6rem; align-items: flex-start; }
.pictures figure { margin: 0; max-width: 100%; } .pictures img { max-width: 100%; display: block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .4rem 0 1rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid; }
th[aria-sort=descending] button::after { content: " ↓"; }
th[aria-sort=ascending] button::after { content: " ↑"; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
nav.contents { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .8rem 0; }
.warning { border-left: 4px solid var(--wait); padding-left: .8rem; }
$css
</style>
</head>
<body>
<main>
$body
</main>
<script>$script</script>
</body>
</html>
""")


def html_page(*, title: str, body: str, css: str = "") -> str:
    """A whole page; `body` and `css` are trusted, `title` is text."""
    return _PAGE.substitute(
        title=escape(title), body=body, css=css, script=_SORT, digest=_SCRIPT_DIGEST
    )


def many(number: int, one: str, more: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
