"""What figures say, in words: the first lines of a report."""

from collections.abc import Sequence
from html import escape
from typing import Any

from core.evaluation.figures import NAMES

MEANINGS = {
    "frechet": "How far two clouds of features are apart, taken as Gaussians (Heusel et al. 2017). "
    "0 = alike; it falls as pictures become more, so compare at equal counts.",
    "kernel": "The same without assuming Gaussians (Bińkowski et al. 2018): 0 on average for "
    "pictures of the same kind, whatever their number.",
    "score": "How sure of a class each picture is and how many classes there are (Salimans et al. "
    "2016); from 1 to the number of classes. It does not see that pictures are all the same.",
    "precision": "Share of pictures that lie among the real ones (Kynkäänniemi et al. 2019).",
    "recall": "Share of real pictures that lie among these: variety.",
    "density": "How deep pictures lie among the real ones (Naeem et al. 2020); about 1 is real.",
    "coverage": "Share of real pictures with one of these nearby (Naeem et al. 2020).",
}
"""Of each figure, by its key."""
_FAR = 3.0
"""Standard deviations, of both sides together, from which a difference is said to be one."""


def percent(share: float) -> str:
    """A share (0…1) for people."""
    return f"{100 * share:.1f} %"


def told(mean: float | None, std: float | None) -> str:
    """Mean ± standard deviation, with digits that the deviation leaves meaning."""
    if mean is None or std is None:
        return "–"
    digits = 4 if max(abs(mean), std) < 0.1 else 3 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f} ± {std:.{digits}f}"


def verdicts(metrics: dict[str, Any], names: Sequence[str]) -> str:
    """The figures that matter most, a line for each set and one for the comparison, as HTML."""
    lines = [
        line
        for name, one in zip(names, metrics["sets"], strict=True)
        for line in _lines(name, one, metrics["classifier"]["held_out_accuracy"])
    ]
    if len(names) > 1:
        lines.append(_compared(metrics["sets"], names))
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="card"><ul class="verdicts">{items}</ul></div>'


def _lines(name: str, one: dict[str, Any], accuracy: float) -> list[str]:
    figure = one["figures"]["frechet"]
    lines = []
    mean, floor = figure["drawn_mean"], figure["floor_drawn_mean"]
    if mean is not None and floor:
        lines.append(
            f"{name}: Fréchet distance {told(mean, figure['drawn_std'])}, {mean / floor:.1f} times "
            f"what {figure['equal_count']} real pictures reach "
            f"({told(floor, figure['floor_drawn_std'])})."
        )
    elif figure["value"] is not None:
        lines.append(f"{name}: Fréchet distance {figure['value']:.3f} of {figure['count']}.")
    if one["recognised"] is not None:
        worst = min(one["classes"], key=lambda label: float(one["classes"][label]["recognised"]))
        share = one["classes"][worst]["recognised"]
        lines.append(
            f"{name}: {percent(one['recognised'])} are recognised as what they were asked to be "
            f"(real pictures: {percent(accuracy)}); fewest of {worst}, {percent(share)}."
        )
    lines.append(f"{name}: {_copying(one['copies'])}")
    return lines


def _copying(copies: dict[str, Any]) -> str:
    """Whether a set copies, in a sentence."""
    found = f"{percent(copies['rate'])} are as near to a training picture as a copy is"
    if not copies["suspected"]:
        return f"{found}; so few may be chance, look at the pairs below."
    if copies["excess"] <= copies["excess_by_chance"]:
        return f"{found}, more than chance explains: it copies training pictures."
    return (
        f"{found}, and {percent(copies['excess'])} more than among held-out pictures are near to "
        "one: it copies training pictures."
    )


def _compared(sets: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Which set is nearest, and whether the draws can tell it from the next."""
    key = "frechet"
    found = [(one["figures"][key], name) for one, name in zip(sets, names, strict=True)]
    known = [(figure, name) for figure, name in found if figure["drawn_mean"] is not None]
    if len(known) < 2:
        return "The sets have too few pictures to be compared."
    (best, first), (next_best, second), *_ = sorted(known, key=lambda it: it[0]["drawn_mean"])
    if len({figure["equal_count"] for figure, _ in known}) > 1:
        return (
            f"The sets are measured at different counts: compare their {NAMES['kernel']}, which "
            "does not depend on it."
        )
    apart = next_best["drawn_mean"] - best["drawn_mean"]
    spread = (best["drawn_std"] ** 2 + next_best["drawn_std"] ** 2) ** 0.5
    if apart < _FAR * spread:
        return f"{first} and {second} cannot be told apart by the {NAMES[key]}: the draws overlap."
    return f"{first} is nearest to the training pictures, {apart:.3f} before {second}."
