"""Who may go on in a sweep: each process finds the same answers in the runs' folders.

Without halving there are no rungs, and every run goes on to its end.
"""

from collections.abc import Mapping

from core.sweeping.folder import Standing, SweepFolder, standing_of
from core.sweeping.halving import going_on
from core.sweeping.plan import PlannedRun, SweepPlan

Standings = Mapping[str, Standing]
"""How far each run is, by fingerprint."""


class Race:
    """The runs of a sweep, some of which go on."""

    def __init__(self, plan: SweepPlan, files: SweepFolder, eta: int) -> None:
        self.plan, self.files, self._eta = plan, files, eta

    def standings(self) -> dict[str, Standing]:
        """How far each run is, by fingerprint."""
        return {run.fingerprint: standing_of(self.files.run(run)) for run in self.plan.runs}

    def losses_at(self, rung: int, kin: str, standings: Standings) -> dict[str, float]:
        """Held-out losses of the runs of a kin that have come to a rung (from 0)."""
        losses: dict[str, float] = {}
        for run in self._kin(kin):
            loss = standings[run.fingerprint].at_rung(run.rungs[rung])
            if loss is not None:
                losses[run.fingerprint] = loss
        return losses

    def allowed_rung(self, run: PlannedRun, standings: Standings) -> int:
        """How many rungs it may pass: those that it passed already, and the next if it is good."""
        passed = self.files.promoted(run)
        while passed < len(run.rungs):
            losses = self.losses_at(passed, run.kin, standings)
            complete = self._complete(passed, run.kin, standings)
            best = going_on(losses, self._eta, complete=complete)
            if run.fingerprint not in best:
                break
            passed += 1
        return passed

    def next_stop(self, run: PlannedRun, standings: Standings) -> int | None:
        """The step to train to next; None when it may not, or need not, go on."""
        standing = standings[run.fingerprint]
        if standing.trained:
            return None
        allowed = self.allowed_rung(run, standings)
        for step in run.rungs[: allowed + 1]:
            if standing.at_rung(step) is None:
                return step
        return run.config.steps if allowed == len(run.rungs) else None

    def promote(self, run: PlannedRun) -> None:
        """Note the rungs that it may pass: who comes later does not take that back."""
        rung = self.allowed_rung(run, self.standings())
        if rung > self.files.promoted(run):
            self.files.promote(run, rung)

    def somebody_waits(self) -> bool:
        """Whether a run was not begun yet: the more have come to a rung, the better is judged."""
        return any(
            run.rungs
            and self.files.stopped(run) is None
            and not self.files.begun(run)
            and standing_of(self.files.run(run)).at_rung(run.rungs[0]) is None
            for run in self.plan.runs
        )

    def _kin(self, kin: str) -> list[PlannedRun]:
        return [run for run in self.plan.runs if run.kin == kin]

    def _complete(self, rung: int, kin: str, standings: Standings) -> bool:
        """Whether nobody else will come to a rung."""
        here = self.losses_at(rung, kin, standings)
        coming = {r.fingerprint for r in self._kin(kin) if self.files.stopped(r) is None}
        if rung:
            if not self._complete(rung - 1, kin, standings):
                return False
            before = self.losses_at(rung - 1, kin, standings)
            through = going_on(before, self._eta, complete=True)
            promoted = {r.fingerprint for r in self._kin(kin) if self.files.promoted(r) >= rung}
            coming &= through | promoted
        return coming <= set(here)
