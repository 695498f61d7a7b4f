"""A page to listen to calls: players, each below the picture of its sound."""

import base64
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import numpy as np

from core.audio import decode_audio
from core.pretrained.calls.features import spectrogram
from core.report.page import html_page, many
from core.report.parts import paragraph, picture, section, side_by_side

MOST = 64
"""Calls on a page: each is about 150 KB in it."""
_CSS = """
audio { width: 100%; height: 2.2rem; } .call { width: 14.2rem; }
.call img { width: 100%; height: 7rem; border-radius: 8px; }
"""


def page_of_calls(
    title: str, rows: list[dict[str, Any]], sound: Callable[[Mapping[str, Any]], bytes]
) -> str:
    """The page of these rows of calls.json; `sound` gives a row's WAV file.

    Of more than 64 calls, as many of each class as there is room for.
    """
    by_label: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(row)
    each = max(1, MOST // max(1, len(by_label)))
    shown = dict(list(by_label.items())[:MOST])
    head = f"{many(len(rows), 'call')} of {many(len(by_label), 'class', 'classes')}"
    heard = sum(min(each, len(found)) for found in shown.values())
    if heard < len(rows):
        head += f"; {heard:,} of them can be heard here, all are in the folder"
    sections = (
        section(label, side_by_side(_player(row, sound(row)) for row in found[:each]))
        for label, found in shown.items()
    )
    body = f"<h1>{escape(title)}</h1>{paragraph(head + '.', soft=True)}{''.join(sections)}"
    return html_page(title=title, body=body, css=_CSS)


def _player(row: Mapping[str, Any], data: bytes) -> str:
    heard = decode_audio(data).mono()
    name = f"{row['label']} {row['seed']}"
    seen = picture(
        spectrogram(np.asarray(heard.samples, np.float64), heard.rate_hz),
        f"Spectrogram of {name}: time from left to right, pitch upwards",
        caption=f"{name}, {row['seconds']:.1f} s{_how(row)}",
    )
    source = base64.b64encode(data).decode()
    player = f'<audio controls preload="metadata" aria-label="Call of {escape(name)}"'
    return f'<div class="call">{seen}{player} src="data:audio/wav;base64,{source}"></audio></div>'


def _how(row: Mapping[str, Any]) -> str:
    if recipe := row.get("recipe"):
        return f", {recipe['kind']}"
    if candidates := row.get("candidates"):
        return f", best of {len(candidates)}"
    return ""
