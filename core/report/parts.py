"""What a report is put together from: sections, tables, facts and pictures, as HTML.

Text that is given is escaped; what these functions return is HTML and may be put into each other.
"""

import base64
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from core.images import Picture, png_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Html:
    """HTML in a table's cell, and the value that the table is sorted by."""

    html: str
    key: float | str = ""


Cell = str | int | float | None | Html
"""What stands in a table; None and NaN are unknown."""


def section(title: str, *parts: str) -> str:
    """A part of the page, with a heading that `contents` can point at."""
    return f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def contents(titles: Iterable[str]) -> str:
    """Links to sections."""
    links = (f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title in titles)
    return f'<nav class="contents">{"".join(links)}</nav>'


def paragraph(text: str, *, soft: bool = False, warning: bool = False) -> str:
    """Text."""
    kind = "soft" if soft else "warning" if warning else ""
    return f'<p class="{kind}">{escape(text)}</p>'


def command(line: str) -> str:
    """A command to run."""
    return f"<p><code>{escape(line)}</code></p>"


def facts(known: Mapping[str, Cell]) -> str:
    """Names and values, one below the other."""
    rows = (f"<dt>{escape(name)}</dt><dd>{_shown(value)}</dd>" for name, value in known.items())
    return f'<dl class="facts">{"".join(rows)}</dl>'


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    caption: str = "",
    sortable: bool = True,
) -> str:
    """Rows under headers; a click on a header sorts by its column."""
    rows = [list(row) for row in rows]
    numbers = [all(_is_number(row[place]) for row in rows) for place in range(len(headers))]
    heads = "".join(
        f'<th scope="col" class="{"number" if number else ""}">'
        + (f"<button>{escape(name)}</button>" if sortable else escape(name))
        + "</th>"
        for name, number in zip(headers, numbers, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, numbers)}</tr>" for row in rows)
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    kind = "sortable" if sortable else ""
    whole = f"{told}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{whole}</table></div>'


def picture(
    source: Picture | bytes,
    alt: str,
    *,
    caption: str = "",
    width_px: int | None = None,
    kind: str = "png",
    pixels: bool = False,
) -> str:
    """A picture inside the page: H×W×C uint8, or the bytes of a file of this kind (png, gif, …).

    pixels: enlarge without smoothing, for pictures that are to be seen pixel by pixel.
    """
    data = source if isinstance(source, bytes) else png_bytes(source)
    encoded = base64.b64encode(data).decode()
    wide = f' width="{width_px}"' if width_px else ""
    look = ' class="pixels"' if pixels else ""
    image = f'<img{look}{wide} alt="{escape(alt)}" src="data:image/{kind};base64,{encoded}">'
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{image}{told}</figure>"


def side_by_side(figures: Iterable[str]) -> str:
    """Figures in rows."""
    return f'<div class="pictures">{"".join(figures)}</div>'


def plot(svg: bytes, alt: str, *, caption: str = "") -> str:
    """A plot of `core.report.plots`."""
    encoded = base64.b64encode(svg).decode()
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    image = f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{encoded}">'
    return f'<figure class="plot">{image}{told}</figure>'


def number(value: float) -> str:
    """A number with four digits that count."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 10_000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _cells(row: Sequence[Cell], numbers: Sequence[bool]) -> str:
    return "".join(
        f'<td class="{"number" if is_number else ""}" data-key="{_key(value)}">{_shown(value)}</td>'
        for value, is_number in zip(row, numbers, strict=True)
    )


def _is_number(value: Cell) -> bool:
    if isinstance(value, Html):
        return not isinstance(value.key, str)
    return value is None or isinstance(value, (int, float))


def _key(value: Cell) -> str:
    key = value.key if isinstance(value, Html) else value
    unknown = key is None or (isinstance(key, float) and math.isnan(key))
    return "" if unknown else escape(str(key))


def _shown(value: Cell) -> str:
    if isinstance(value, Html):
        return value.html
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return escape(value if isinstance(value, str) else number(value))


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
