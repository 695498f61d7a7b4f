"""A timeline for people: the waveform above what was heard, as a plot and as a page that plays."""

import base64
import io
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.audio import Samples, Sound, wav_bytes
from core.pretrained.listening.animals import Named
from core.pretrained.listening.timeline import Timeline
from core.report.page import html_page, many
from core.report.parts import facts, paragraph, plot, section, table
from core.report.plots import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = 8
"""Categories in the plot."""
_COLUMNS = 900
"""Of the waveform: its highest and lowest sample in each."""
_EMBEDDED_S = 300
"""Seconds of sound in the page: 9.6 MB as WAV at 16 kHz."""
_PAPER_TO_EMBER = ("#f4ecdd", "#eeb98a", "#b4451f", "#4d180a")
"""Colours of scores from 0 to 1."""
_WIDE, _HIGH_WAVE, _HIGH_ROW = 8.0, 1.3, 0.27


def draw_timeline(timeline: Timeline, sound: Sound) -> bytes:
    """The waveform and, under it on the same axis of time, the scores of the top categories: SVG.

    sound: as it was heard. The same timeline gives the same bytes.
    """
    import matplotlib as mpl  # Takes half a second; only here.
    from matplotlib.figure import Figure

    names = [heard.category for heard in timeline.top(ROWS)]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "menagerie", "font.size": 9}):
        high = (_HIGH_WAVE, 0.6 + _HIGH_ROW * max(1, len(names)))
        figure = Figure(figsize=(_WIDE, sum(high)), layout="constrained")
        wave, scores = figure.subplots(2, 1, sharex=True, height_ratios=high)
        _draw_wave(wave, sound)
        _draw_scores(scores, timeline, names)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def timeline_page(
    timeline: Timeline, sound: Sound, drawn: bytes, named: Named | None, prompt: str | None
) -> str:
    """One self-contained page: the sound to play, the plot, the top categories and what made it.

    drawn: by `draw_timeline`.
    """
    heard = timeline.top(ROWS)
    rows = [(one.category, one.score, one.mean, one.max, one.at_s) for one in heard]
    told = ", ".join(f"{one.category} {one.score:.2f}" for one in heard[:3])
    name = str(timeline.sound["name"])
    body = "".join(
        [
            f"<h1>What {escape(name)} sounds like</h1>",
            paragraph(f"Heard most: {told}." if told else "Nothing was heard."),
            _meaning(named, prompt),
            _player(sound, name),
            plot(
                drawn,
                f"Waveform of {name}, and scores over time of: {told or 'nothing'}",
                caption="Above: the waveform, in full scale. Below: how sure the model is of each "
                "category, from 0 to 1.",
            ),
            section(
                "Categories",
                table(["Category", "Score", "Mean", "Highest", "Highest at (s)"], rows),
                paragraph(
                    "Score: the middle between mean and highest over all moments.", soft=True
                ),
            ),
            section("What made it", facts(_origin(timeline))),
        ]
    )
    return html_page(title=f"{name}: what was heard", body=body, css=_CSS)


_CSS = "audio { width: 100%; margin: .6rem 0; } figure.plot img { width: 100%; }"


def _meaning(named: Named | None, prompt: str | None) -> str:
    words = []
    if named is not None:
        words.append(f"The class it names: {named.label} (by {named.heard.category}).")
    if prompt is not None:
        words.append(f"A prompt for a picture: “{prompt}”.")
    return paragraph(" ".join(words)) if words else ""


def _player(sound: Sound, name: str) -> str:
    """The sound as it was heard, in the page."""
    shown = sound.samples[: _EMBEDDED_S * sound.rate_hz]
    loudest = max(1.0, float(np.abs(shown).max()))
    encoded = base64.b64encode(wav_bytes(shown / np.float32(loudest), sound.rate_hz)).decode()
    source = f"data:audio/wav;base64,{encoded}"
    player = (
        f'<audio controls preload="metadata" aria-label="{escape(name)}" src="{source}"></audio>'
    )
    if len(shown) == len(sound.samples):
        return player
    return player + paragraph(f"The first {_EMBEDDED_S // 60} minutes.", soft=True)


def _origin(timeline: Timeline) -> dict[str, str | float]:
    sound, model = timeline.sound, timeline.made_by
    return {
        "Sound": f"{sound['seconds']:g} s, {sound['rate_hz']:,} Hz, "
        + many(sound["channels"], "channel"),
        "Sound's digest": str(sound["sha256"]),
        "Weights' digest": str(model["yamnet"]),
        "Moments": f"{len(timeline.scores):,} of {timeline.window_s:g} s, every "
        f"{timeline.hop_s:g} s",
    }


def _draw_wave(axes: "Axes", sound: Sound) -> None:
    times, low, high = _envelope(sound.samples, sound.rate_hz)
    axes.fill_between(times, low, high, color=COLOURS[0], linewidth=0.4)
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1, 0, 1])
    axes.set_ylabel("waveform")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(bottom=False, labelbottom=False)
    axes.grid(color="#e5dccb", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_scores(axes: "Axes", timeline: Timeline, names: list[str]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("scores", _PAPER_TO_EMBER)
    places = [timeline.categories.index(name) for name in names]
    cells = timeline.scores[:, places].T if places else np.zeros((1, len(timeline.scores)))
    rows = np.arange(len(cells) + 1) - 0.5
    image = axes.pcolormesh(
        _edges(timeline), rows, cells, cmap=shades, vmin=0, vmax=1, rasterized=True
    )
    axes.set_yticks(range(len(cells)), [_short(name) for name in names] or ["nothing"], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, timeline.seconds)
    axes.set_xlabel("seconds")
    axes.spines[:].set_visible(False)
    axes.figure.colorbar(image, ax=axes, label="score", ticks=[0, 0.5, 1], pad=0.01)


def _edges(timeline: Timeline) -> NDArray[np.float64]:
    """Where a moment's cell ends and the next one's begins: half-way between their middles."""
    middles = np.arange(len(timeline.scores)) * timeline.hop_s + timeline.window_s / 2
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[0.0], between, [timeline.seconds]])


def _envelope(samples: Samples, rate_hz: int) -> tuple[Any, Any, Any]:
    """Times, lowest and highest samples of at most `_COLUMNS` stretches."""
    size = -(-len(samples) // _COLUMNS)
    starts = np.arange(0, len(samples), size)
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    return starts / rate_hz, low, high


def _short(name: str) -> str:
    first = name.split(",")[0]
    return first if len(first) <= 24 else first[:23] + "…"
