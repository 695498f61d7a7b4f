"""Successive halving without barriers: who goes on from a rung. Pure functions of the losses.

Li et al. 2020, "A system for massively parallel hyperparameter tuning" (ASHA), algorithm 2: a run
that has come to a rung goes on when it is among the best 1/η of all that have come there so far.
Nobody waits; a run that is not yet among them may be later, when worse ones have come.
"""

from collections.abc import Mapping


def rungs_of(*, steps: int, every: int, eta: int, first: int = 0) -> tuple[int, ...]:
    """Steps at which runs of `steps` are compared: first, first·η, … below the end.

    Each is put off to the next multiple of `every`, the steps between held-out losses. None
    without halving (η = 0).
    """
    if not eta:
        return ()
    step = first or max(1, steps // eta**2)
    found: list[int] = []
    while True:
        at = -(-step // every) * every
        if at >= steps:
            return tuple(found)
        if not found or at > found[-1]:
            found.append(at)
        step *= eta


def going_on(losses: Mapping[str, float], eta: int, *, complete: bool) -> frozenset[str]:
    """The best 1/η of those that have come to a rung, by loss (of equal ones, by name).

    complete: nobody else will come; then at least one goes on.
    """
    count = len(losses) // eta
    if complete:
        count = max(1, count)
    ranked = sorted(losses, key=lambda name: (losses[name], name))
    return frozenset(ranked[:count])
