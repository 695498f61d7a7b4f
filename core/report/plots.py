"""Plots for reports, drawn by matplotlib as SVG: the same numbers give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#b4451f", "#2f6f9f", "#2f7d4f", "#8a6a1f", "#7a4fa3", "#a83269", "#3c8c8c", "#6d6558")
"""Of series, in turn."""
_WIDE, _HIGH = 6.4, 3.2
_INCH_OF_ROW = 0.28
Points = Sequence[tuple[float, float]]
"""x and y."""


def lines(
    series: Mapping[str, Points],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    marks: Mapping[str, float] | None = None,
    dots: bool = False,
) -> bytes:
    """A line for each series; marks: dashed horizontal lines by name."""
    with _Drawing() as drawing:
        axes = drawing.axes
        for place, (name, points) in enumerate(series.items()):
            xs, ys = zip(*points, strict=True) if points else ((), ())
            marker = "o" if dots or len(points) < 2 else None
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(
                xs,
                ys,
                label=_in_legend(name),
                color=colour,
                marker=marker,
                markersize=3,
                linewidth=1.5,
            )
        for name, value in (marks or {}).items():
            axes.axhline(value, color="#6d6558", linestyle="--", linewidth=1, label=name)
        axes.set(xlabel=x, ylabel=y)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        if len(series) + len(marks or {}) > 1:
            axes.legend(frameon=False, fontsize=8)
        return drawing.svg()


def bars(
    series: Mapping[str, Mapping[str, float]],
    *,
    y: str,
    errors: Mapping[str, Mapping[str, float]] | None = None,
    marks: Mapping[str, float] | None = None,
) -> bytes:
    """Bars by label, several series side by side; `errors` are half the lengths of whiskers."""
    labels = list(dict.fromkeys(label for values in series.values() for label in values))
    with _Drawing() as drawing:
        axes, width = drawing.axes, 0.8 / max(1, len(series))
        for place, (name, values) in enumerate(series.items()):
            at = np.arange(len(labels)) + (place - (len(series) - 1) / 2) * width
            heights = [values.get(label, np.nan) for label in labels]
            whiskers = [errors[name].get(label, np.nan) for label in labels] if errors else None
            colour = COLOURS[place % len(COLOURS)]
            label = _in_legend(name)
            axes.bar(at, heights, width * 0.92, label=label, color=colour, yerr=whiskers, capsize=2)
        for name, value in (marks or {}).items():
            axes.axhline(value, color="#6d6558", linestyle="--", linewidth=1, label=name)
        turned = max(map(len, labels), default=0) * len(labels) > 80
        look: dict[str, Any] = {"rotation": 45, "ha": "right"} if turned else {}
        axes.set_xticks(range(len(labels)), labels, fontsize=8, **look)
        axes.set_ylabel(y)
        if len(series) + len(marks or {}) > 1:
            # Above the bars, which fill the plot.
            axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        return drawing.svg()


def heatmap(
    values: NDArray[Any],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    x: str = "",
    y: str = "",
    unit: str = "",
) -> bytes:
    """A matrix, rows×columns, as coloured cells with a scale; NaN stays empty."""
    with _Drawing(high=1.1 + _INCH_OF_ROW * len(rows)) as drawing:
        axes = drawing.axes
        image = axes.imshow(np.asarray(values, np.float64), aspect="auto", cmap="viridis")
        every = max(1, len(columns) // 14)
        axes.set_xticks(range(0, len(columns), every), columns[::every], fontsize=8)
        axes.set_yticks(range(len(rows)), rows, fontsize=7)
        axes.set(xlabel=x, ylabel=y)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.figure.colorbar(image, ax=axes, label=unit)
        return drawing.svg()


def _in_legend(name: str) -> str:
    """A name that legends show: they leave out those that begin with `_`."""
    return f"\u200b{name}" if name.startswith("_") else name


class _Drawing:
    """Axes in the house's look, without a window or anything global."""

    def __init__(self, *, high: float = _HIGH) -> None:
        import matplotlib as mpl  # Takes half a second; only here.
        from matplotlib.figure import Figure

        self._look = mpl.rc_context(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "menagerie",
                "font.size": 9,
                "text.parse_math": False,  # names are people's: $ is no formula
            }
        )
        self._look.__enter__()
        self._figure = Figure(figsize=(_WIDE, high), layout="constrained")
        self.axes: Axes = self._figure.subplots()
        self.axes.spines[["top", "right"]].set_visible(False)
        self.axes.grid(color="#e5dccb", linewidth=0.6)
        self.axes.set_axisbelow(True)

    def __enter__(self) -> "_Drawing":
        return self

    def __exit__(self, *_: object) -> None:
        self._look.__exit__(None, None, None)

    def svg(self) -> bytes:
        """The plot as a file."""
        buffer = io.BytesIO()
        self._figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        return buffer.getvalue()
