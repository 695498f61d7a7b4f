"""The frame of the pages that jobs write: one file, light and dark, nothing from outside."""

from html import escape
from string import Template

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="menagerie">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'">
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
$css
</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def html_page(*, title: str, body: str, css: str = "") -> str:
    """A whole page; `body` and `css` are trusted, `title` is text."""
    return _PAGE.substitute(title=escape(title), body=body, css=css)


def many(number: int, one: str, more: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
