"""Reports: what people get to see is what was given, escaped, and the same bytes each time."""

import numpy as np

from core.report import parts, plots
from core.report.page import html_page


def test_text_is_escaped_wherever_it_stands() -> None:
    bad = "<script>alert(1)</script>"
    page = html_page(
        title=bad,
        body=parts.section(bad, parts.paragraph(bad), parts.facts({bad: bad}))
        + parts.table([bad], [[bad]], caption=bad)
        + parts.picture(np.zeros((2, 2, 3), np.uint8), bad, caption=bad)
        + parts.plot(b"<svg/>", bad, caption=bad),
    )
    assert bad not in page
    assert page.count("&lt;script&gt;") == 13


def test_a_table_sorts_numbers_by_their_value_and_leaves_the_unknown_empty() -> None:
    shown = parts.table(["run", "distance"], [["a", 12345.678], ["b", None], ["c", float("nan")]])
    assert 'data-key="12345.678">12,346<' in shown
    assert shown.count('data-key="">–<') == 2


def test_plots_are_the_same_bytes_each_time_and_name_their_series() -> None:
    def drawn() -> list[bytes]:
        return [
            plots.lines({"a run": [(1, 2), (10, 3)], "none": []}, x="step", y="loss", log_x=True),
            plots.bars({"x": {"cat": 1.0}, "y": {"dog": 2.0}}, y="share", marks={"floor": 0.5}),
            plots.heatmap(np.array([[0, np.nan]]), rows=["one"], columns=["p", "q"], unit="x"),
        ]

    first, second = drawn(), drawn()
    assert first == second
    for svg, texts in zip(
        first, (["a run", "step", "loss"], ["cat", "dog", "floor"], ["one", "p", "q"]), strict=True
    ):
        assert all(f">{text}</text>" in svg.decode() for text in texts)


def test_names_of_series_are_no_formulas_and_none_is_left_out() -> None:
    names = ["cash$ $x", "$_$", "_hidden"]
    svg = plots.lines({name: [(1, 2), (2, 3)] for name in names}, x="step", y="$").decode()
    bars = plots.bars({"_a": {"$_$": 1.0}, "b": {"$_$": 2.0}}, y="share").decode()
    for name in names:
        assert f"{name}</text>" in svg
    assert "_a</text>" in bars
    assert "$_$</text>" in bars
