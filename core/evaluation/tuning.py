"""The search for a model's best defaults of sampling; what is drawn and measured is elsewhere.

One setting after the other is swept from ours, with the same seeds and few pictures, and the best
value kept; the best few of all then meet again, and ours with them, with more pictures and other
seeds. Best is the least Fréchet distance; what comes within 2 % of it for less work, or equal work
and clearly more pictures recognised, is better. Fewer recognised pictures than ours make, or more
copies of training pictures, rule a setting out.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from core.diffusion.defaults import BUILT_IN

Settings = dict[str, Any]
"""Values by name, all that `core.diffusion.defaults.BUILT_IN` has."""

_SWEPT_STEPS = 18
"""While other settings than the steps are swept: enough to tell them apart."""
_NEAR = 1.02
_FEWER_RECOGNISED = 0.02
_MORE_COPIES = 0.02
_CLEARLY = 0.02
"""Recognised shares within one such step are equal: few pictures tell no finer."""
_FINALISTS = 3
_FINAL_PICTURES = 4
"""Times as many pictures as in the sweep."""
_STEPS = {"dpmpp-2m": (10, 18, 25, 35), "euler": (18, 35), "heun": (9, 18)}
_STEPS_WITH_NOISE = (25, 50, 100)
"""Of solvers that are swept only when they are asked for."""
_SWEPT: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("guidance", (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)),
    ("guidance_interval", ((0.2, 20.0), (0.0, 1000.0), (0.2, 5.0), (0.5, 5.0))),
    ("guide", ("label", "early")),
    ("guidance_parallel", (1.0, 0.5, 0.0)),
    ("guidance_rescale", (0.0, 0.5)),
    ("ema_width", (0.0, 0.03, 0.05, 0.08, 0.12, 0.16)),
    ("guidance", (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """What is known of the pictures that were drawn with some settings."""

    settings: Settings
    count: int
    """Pictures drawn."""
    first_seed: int
    frechet: float
    recognised: float
    """Share (0…1) that is taken for what it was asked to be."""
    copy_rate: float
    seconds: float
    """To draw them."""

    @property
    def work(self) -> float:
        """Looks at the network for one picture; guided on an interval, at most so many."""
        twice = 2 if self.settings["solver"] == "heun" else 1
        return float(self.settings["steps"] * twice * (1 if self.settings["guidance"] == 1 else 2))


def line(cell: Cell) -> str:
    """What was found, for people."""
    return (
        f"{words(cell.settings)}: Fréchet {cell.frechet:.3f}, recognised {cell.recognised:.1%}, "
        f"copies {cell.copy_rate:.1%}, {cell.count / max(cell.seconds, 1e-3):.1f} pictures/s"
    )


def words(settings: Settings) -> str:
    """Solver, steps and guidance, and what else is not as built in."""
    first = ("solver", "steps", "guidance")
    rest = [n for n in BUILT_IN if n not in first and settings[n] != BUILT_IN[n]]
    return ", ".join(
        f"{name.removeprefix('guidance_').replace('_', ' ')} {_value(settings[name])}"
        for name in (*first, *rest)
    ).removeprefix("solver ")


def _value(value: Any) -> str:
    return "–".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)


Measure = Callable[[Settings, int, int], Cell | None]
"""Draws so many pictures from a first seed; None when the model cannot."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a search ends with."""

    best: Cell
    ours: Cell
    """Of the built-in defaults, less what was stated; of as many pictures as `best`."""
    finals: tuple[Cell, ...]
    """With more pictures, `best` and `ours` among them."""
    swept: tuple[Cell, ...]
    """In the order of the search."""


def search(
    measure: Measure, stated: Mapping[str, Any], *, count: int, early: bool, seed: int = 0
) -> Found:
    """The best settings that agree with those stated.

    count: pictures for each setting of the sweep. early: whether the model has an early guide.
    """
    ours = {**BUILT_IN, **stated}
    best = {**ours, "steps": stated.get("steps", _SWEPT_STEPS)}
    swept: list[Cell] = []

    def measured(settings: Settings) -> Cell | None:
        known = next((cell for cell in swept if cell.settings == settings), None)
        if known is None and (known := measure(settings, count, seed)):
            swept.append(known)
        return known

    reference = _must(measured(best))
    for changes in stages(stated, early=early):
        tried = [{**best, **change} for change in changes]
        if best["guidance"] == 1 and all(_guides_only(change) for change in changes):
            continue  # without guidance they are all the same
        cells = [cell for settings in (best, *tried) if (cell := measured(settings))]
        best = best_of(cells, reference).settings
    finalists = _finalists(best, swept, reference)
    if ours not in finalists:
        finalists.append(ours)
    finals = [_must(measure(s, count * _FINAL_PICTURES, seed + count)) for s in finalists]
    final_ours = next(cell for cell in finals if cell.settings == ours)
    return Found(
        best=best_of(finals, final_ours),
        ours=final_ours,
        finals=tuple(finals),
        swept=tuple(swept),
    )


def forecast(stated: Mapping[str, Any], *, count: int, early: bool) -> str:
    """How much there is to search, in one line."""
    swept = 1 + sum(len(changes) for changes in stages(stated, early=early))
    return (
        f"at most {swept} settings of {count:,} pictures, then at most {_FINALISTS + 1} of "
        f"{count * _FINAL_PICTURES:,}; stop at will, and give the same command to go on"
    )


def stages(stated: Mapping[str, Any], *, early: bool) -> Iterator[list[Settings]]:
    """What is swept together, in order; each change keeps to what was stated."""
    for name, values in _SWEPT:
        chosen = [value for value in values if early or value != "early"]
        if name not in stated:
            yield [{name: value} for value in chosen]
    solvers = [stated["solver"]] if "solver" in stated else [*_STEPS]
    yield [
        {"solver": solver, "steps": steps}
        for solver in solvers
        for steps in ([stated["steps"]] if "steps" in stated else _steps(solver))
    ]


def best_of(cells: Sequence[Cell], reference: Cell) -> Cell:
    """The best of cells of as many pictures, `reference` among them; the first of equal ones."""
    allowed = [cell for cell in cells if _allowed(cell, reference)]
    near = _NEAR * min(cell.frechet for cell in allowed or cells)
    return min(
        (cell for cell in allowed or cells if cell.frechet <= near),
        key=lambda cell: (cell.work, -(cell.recognised // _CLEARLY)),
    )


def _steps(solver: str) -> tuple[int, ...]:
    return _STEPS.get(solver, _STEPS_WITH_NOISE)


def _allowed(cell: Cell, reference: Cell) -> bool:
    return (
        cell.recognised >= reference.recognised - _FEWER_RECOGNISED
        and cell.copy_rate <= reference.copy_rate + _MORE_COPIES
    )


def _finalists(best: Settings, swept: Sequence[Cell], reference: Cell) -> list[Settings]:
    """The search's end, and those of all cells whose distance is least."""
    allowed = sorted((c for c in swept if _allowed(c, reference)), key=lambda cell: cell.frechet)
    others = [cell.settings for cell in allowed if cell.settings != best]
    return [best, *others[: _FINALISTS - 1]]


def _guides_only(change: Settings) -> bool:
    return all(name.startswith("guid") and name != "guidance" for name in change)


def _must(cell: Cell | None) -> Cell:
    assert cell is not None  # nothing was asked of the model but what is built in, or was possible
    return cell
