"""The smallest SVG that is close enough: few tracings, guided by what is known before tracing.

Every level of a plan has a PSNR before tracing that falls from level to level, and tracing loses
about the same at neighbouring levels. So the level to try next is found by arithmetic, and three or
four tracings settle it.
"""

import dataclasses
from collections.abc import Callable

from core.images import Picture
from core.render import render_svg
from exporters.drawing.fidelity import Fidelity, Gate, measure, measure_colours
from exporters.drawing.plan import Plan

TRIES = 4
"""Tracings per plan, at most."""
FIRST_LOSS_DB = 0.8
"""What tracing is thought to lose before it is known, where there is so much to lose."""
LEAST_LOSS_DB = 0.3
"""The same where the finest level is hardly better than the aim."""
REACH_DB = 0.5
"""An aim closer to the finest level than this is lowered: the last bytes gain least. A lowered
aim is a wish alone, and what comes half as close to it will do: most pictures need one tracing."""
NEAR_DB = 0.4
"""An SVG that is no further above the aim than this is not worth another tracing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """One SVG, and how close it is."""

    level: int
    svg: str
    rendered_hwc: Picture
    fidelity: Fidelity

    @property
    def bytes(self) -> int:
        """Size of the SVG."""
        return len(self.svg.encode())


def solve(
    plan: Plan,
    draw: Callable[[int], str],
    reference_hwc: Picture,
    *,
    gate: Gate,
    aim_db: float,
    max_bytes: float | None = None,
) -> Drawn:
    """The smallest SVG of a plan that passes the gate with a PSNR of `aim_db`, else the closest.

    `draw` makes a level's SVG. With `max_bytes` the closest one that is not larger is taken, and
    the smallest that was tried when none is.
    """
    tried: dict[int, Drawn] = {}

    def attempt(level: int) -> Drawn:
        if level not in tried:
            svg = draw(level)
            rendered = render_svg(svg, reference_hwc.shape[0])
            found = measure_colours(rendered, reference_hwc)
            tried[level] = Drawn(level=level, svg=svg, rendered_hwc=rendered, fidelity=found)
        return tried[level]

    if max_bytes is None:
        best = _measured(_least_bytes(plan, attempt, aim_db), reference_hwc)
        finer = best.level // 2
        while (
            best.level > finer
            and gate.complaints(best.fidelity)
            and _may_reach(plan, best, gate.min_psnr_db)
        ):
            # close on average, but not in its edges or its structure: more detail
            best, finer = _measured(attempt(finer), reference_hwc), finer // 2
        return best
    return _measured(_most_fidelity(plan, attempt, max_bytes), reference_hwc)


def complaints(gate: Gate, drawn: Drawn, max_bytes: float | None) -> list[str]:
    """Why a drawing is refused; empty when it passes."""
    found = gate.complaints(drawn.fidelity)
    if max_bytes is not None and drawn.bytes > max_bytes:
        found.append(f"the SVG has {drawn.bytes / 1024:.1f} KiB, over {max_bytes / 1024:g}")
    return found


def _may_reach(plan: Plan, drawn: Drawn, least_db: float) -> bool:
    """Whether the finest level would reach a PSNR, were as much lost as in this drawing."""
    loss_db = plan.ceiling_db(drawn.level) - drawn.fidelity.psnr_db
    return plan.ceiling_db(0) - loss_db >= least_db


def _measured(drawn: Drawn, reference_hwc: Picture) -> Drawn:
    """With all figures."""
    found = measure(drawn.rendered_hwc, reference_hwc, drawn.fidelity)
    return dataclasses.replace(drawn, fidelity=found)


def _least_bytes(plan: Plan, attempt: Callable[[int], Drawn], aim_db: float) -> Drawn:
    fine, coarse = -1, len(plan.levels)  # levels known to reach the aim, and not to
    within_reach = plan.ceiling_db(0) - REACH_DB
    near_db = NEAR_DB if aim_db <= within_reach else 2 * REACH_DB
    slack_db = 0.0 if aim_db <= within_reach else REACH_DB / 2
    aim_db = min(aim_db, within_reach)
    level = plan.coarsest(min(aim_db + FIRST_LOSS_DB, within_reach + LEAST_LOSS_DB))
    aim_db -= slack_db
    tried: list[Drawn] = []
    for _ in range(TRIES):
        tried.append(attempt(level))
        found_db = tried[-1].fidelity.psnr_db
        loss_db = plan.ceiling_db(level) - found_db
        within_reach = plan.ceiling_db(0) - loss_db - REACH_DB
        if aim_db > within_reach:  # more is lost than thought
            aim_db, near_db = within_reach - REACH_DB / 2, 2 * REACH_DB
        if found_db >= aim_db:
            fine = level
        else:
            coarse = level
        if aim_db <= found_db < aim_db + near_db:
            break
        level = min(max(plan.coarsest(aim_db + loss_db), fine + 1), coarse - 1)
        if level <= fine:
            break
    # out of reach: the finest is not always the closest, tiny shapes lose most in tracing
    return attempt(fine) if fine >= 0 else max(tried, key=lambda item: item.fidelity.psnr_db)


def _most_fidelity(plan: Plan, attempt: Callable[[int], Drawn], max_bytes: float) -> Drawn:
    """Bisection by bytes, which fall from level to level, begun where the estimate says."""
    fits, over = len(plan.levels), -1  # levels known to fit, and not to
    estimates = [level.bytes for level in plan.levels]
    factor = 1.0
    for _ in range(TRIES + 1):
        guess = next((i for i, size in enumerate(estimates) if size * factor <= max_bytes), fits)
        level = min(max(guess, over + 1), fits - 1)
        if level <= over:
            break
        drawn = attempt(level)
        factor = drawn.bytes / estimates[level]
        if drawn.bytes <= max_bytes:
            fits = level
        else:
            over = level
    return attempt(min(fits, len(plan.levels) - 1))
