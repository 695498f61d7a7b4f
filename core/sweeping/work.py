"""A sweep in the making: each run is a part, and any number of processes make them at once.

A process trains its runs to the end or, with halving, to their first rung. When no run is left to
begin it trains whatever run may go on: nobody waits for others. Free of torch until then.
"""

import dataclasses
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from core.config import config_to_dict, differing_fields, load_config
from core.data.pinned import PinnedDataset
from core.errors import BusyError, UserError, machine_trouble
from core.files import digest_of, exclusive, read_json, write_bytes, write_json
from core.sweeping.config import SweepConfig
from core.sweeping.folder import SweepFolder, standing_of
from core.sweeping.plan import PATHS, Open, PlannedRun, SweepPlan, make_plan
from core.sweeping.race import Race, Standings
from core.sweeping.subset import subset
from core.training.config import TrainConfig

if TYPE_CHECKING:
    from core.sweeping.figures import Drawing, Judge

FORMAT = "menagerie-sweep-1"
FAILED, OVER_BUDGET = "failed", "over budget"


class SweepParts:
    """The runs of a sweep (`core.parts.Parts`).

    budget_hours: no run begins once all together have taken so many; cpu: train there even where
    there is a GPU; preset: of the training, for the command that trains the best one longer.
    UserError when the config asks for what cannot be, or the folder holds something else.
    """

    def __init__(
        self,
        config: SweepConfig,
        folder: Path,
        open_data: Open,
        *,
        pool: Path | None = None,
        budget_hours: float | None = None,
        cpu: bool = False,
        preset: str = "starter",
    ) -> None:
        self.config, self.folder, self.preset = config, folder, preset
        self.files = SweepFolder(root=folder, pool=pool or folder / "runs")
        self.budget_hours = budget_hours
        self.plan: SweepPlan = make_plan(config, open_data)
        if config.halving and not any(run.rungs for run in self.plan.runs):
            raise UserError(
                "--halving finds no step to compare runs at before their end: give a smaller "
                "--evaluate-every or --first-rung, or more --steps"
            )
        self.race = Race(self.plan, self.files, config.halving)
        self._open_data, self._cpu = open_data, cpu
        for data in dict.fromkeys(run.config.data for run in self.plan.runs):
            if config.halving and not len(open_data(data).split["validation"]):
                raise UserError(
                    f"--halving goes by the held-out loss, and {open_data(data).folder} has no "
                    "validation pictures: prepare it with some, or leave the flag out"
                )

    @property
    def count(self) -> int:
        """Number of runs."""
        return len(self.plan.runs)

    def begin(self) -> None:
        """Write plan.json: the folder's runs stay, whatever this sweep wants of them."""
        files = self.files
        if not files.plan.exists() and files.root.is_dir():
            strange = [path.name for path in sorted(files.root.iterdir()) if path.name[0] != "."]
            if strange and not set(strange) <= {"runs", "data"}:
                raise UserError(
                    f"{files.root} holds {strange[0]}, and no sweep: name another --out"
                )
        plan = {
            "format": FORMAT,
            "plan": self.plan.digest,
            "config": config_to_dict(self.config),
            "runs": [{"run": run.fingerprint, **run.varies} for run in self.plan.runs],
        }
        if files.plan.exists():
            found = read_json(files.plan)
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise UserError(f"{files.plan} is no sweep's of today: name another --out")
            if found == plan:
                return
        write_json(files.plan, plan)

    def missing(self) -> list[int]:
        """Runs that can go on: not begun, under way, allowed beyond their rung, or not judged."""
        standings = self.race.standings()
        spent = self._is_spent()
        return [k for k, run in enumerate(self.plan.runs) if self._open(run, standings, spent)]

    def make(self, part: int) -> None:
        """Take one run as far as it may go, and then others that may go on by now."""
        self._advance(self.plan.runs[part], wait=True)
        while self.config.halving and not self.race.somebody_waits():
            standings = self.race.standings()
            ready = [r for r in self.plan.runs if self._goes_on(r, standings)]
            if not any(self._advance(run, wait=False) for run in ready):
                return

    def finished(self) -> bool:
        """Whether nothing is missing or failed, and the report says so."""
        if self.missing() or self.failures() or not self.files.facts.exists():
            return False
        if not self.files.report.exists():
            return False
        return bool(read_json(self.files.facts).get("state") == self.state_digest())

    def finish(self) -> None:
        """Draw what was stopped, write sweep.json and report.html; UserError, after that, when runs
        have failed."""
        self._draw_stopped()
        self.write_report()
        if failed := self.failures():
            run, why = next(iter(failed.items()))
            raise UserError(
                f"{len(failed)} of {self.count} runs failed, {run} with: {why} (report: "
                f"{self.files.report}); run the same command again to try them again"
            )

    def write_report(self) -> None:
        """Write sweep.json and report.html as things are now."""
        from core.sweeping.report import report_page
        from core.sweeping.table import sweep_facts

        facts = sweep_facts(self)
        write_bytes(self.files.report, report_page(self, facts).encode())
        write_json(self.files.facts, facts)

    def failures(self) -> dict[str, str]:
        """Why runs failed, by fingerprint."""
        told = {run.fingerprint: self.files.stopped(run) for run in self.plan.runs}
        return {name: str(f["why"]) for name, f in told.items() if f and f["state"] == FAILED}

    def try_failed_again(self) -> int:
        """Forget that runs failed; how many."""
        failed = self.failures()
        for run in self.plan.runs:
            if run.fingerprint in failed:
                self.files.unstop(run)
        return len(failed)

    def hours(self) -> float:
        """What all runs together have taken in this sweep."""
        return sum(self.files.seconds(run) for run in self.plan.runs) / 3600

    def state_digest(self) -> str:
        """Changes when there is more to tell."""
        standings = self.race.standings()
        return digest_of(
            [
                [
                    run.fingerprint,
                    standings[run.fingerprint].step,
                    standings[run.fingerprint].last("held_out_loss"),
                    self.files.figures(run).exists(),
                    self.files.stopped(run),
                ]
                for run in self.plan.runs
            ]
        )

    def _goes_on(self, run: PlannedRun, standings: Standings) -> bool:
        """Whether it was begun, and may go on."""
        if self.files.stopped(run) is not None or self.files.figures(run).exists():
            return False
        standing = standings[run.fingerprint]
        at_first = bool(run.rungs) and standing.at_rung(run.rungs[0]) is not None
        return standing.trained or (at_first and self.race.next_stop(run, standings) is not None)

    def _open(self, run: PlannedRun, standings: Standings, spent: bool) -> bool:
        """Whether there is something to do for a run."""
        if self.files.figures(run).exists() and standings[run.fingerprint].trained:
            return not self._judged_enough(run)
        if stopped := self.files.stopped(run):
            return bool(stopped["state"] == OVER_BUDGET and not spent)
        return standings[run.fingerprint].trained or self.race.next_stop(run, standings) is not None

    def _judged_enough(self, run: PlannedRun) -> bool:
        return bool(read_json(self.files.figures(run)).get("asked") == self._figures_asked())

    def _figures_asked(self) -> dict[str, object]:
        """All that figures depend on, besides the run."""
        names = ("judge_epochs", "guidance", "sample_steps", "solver", "sample_per_class")
        values = {name: getattr(self.config, name) for name in names}
        return values | {"judged": self.config.judged}

    def _is_spent(self) -> bool:
        return self.budget_hours is not None and self.hours() >= self.budget_hours

    def _advance(self, run: PlannedRun, *, wait: bool) -> bool:
        """Train and judge a run as far as it may go, unless another process does; whether it did.

        What goes wrong with it is written down: it must not keep the others from their turn.
        """
        lock = self.files.pool / ".locks" / run.fingerprint
        try:
            with exclusive(lock, wait=wait):
                standings = self.race.standings()
                if not self._open(run, standings, self._is_spent()):
                    return False
                if self._is_spent() and not standings[run.fingerprint].step:
                    self.files.stop(run, OVER_BUDGET, f"{self.budget_hours:g} hours were spent")
                    return True
                self.files.unstop(run)
                with self.files.session(run):
                    self._work_on(run)
                return True
        except UserError as error:
            if isinstance(error, BusyError) and not wait:
                return False
            self.files.stop(run, FAILED, str(error))
        except Exception as error:
            traceback.print_exc()
            words = machine_trouble(error) or f"{type(error).__name__}: {error}"
            self.files.stop(run, FAILED, " ".join(words.split())[:500])
        return True

    def _work_on(self, run: PlannedRun) -> None:
        place = self.plan.runs.index(run) + 1
        print(f"run {place} of {self.count}, {run.fingerprint}: {run.words}", flush=True)
        dataset = self._dataset(run)
        while (stop := self.race.next_stop(run, self.race.standings())) is not None:
            self.race.promote(run)
            self._train(run, dataset, stop)
            standings = self.race.standings()
            if self.config.halving and self.race.somebody_waits():
                break
            if standings[run.fingerprint].step < stop and not standings[run.fingerprint].trained:
                raise RuntimeError(f"the training ended before step {stop}")
        if standing_of(self.files.run(run)).trained:
            self._judge(run, dataset)

    def _train(self, run: PlannedRun, dataset: PinnedDataset, stop: int) -> None:
        from core.training.loop import train

        folder = self.files.run(run)
        config = self.train_config(run)
        if folder.config.exists():
            # Another sweep may have begun it with the same data under another path.
            found = load_config(TrainConfig, folder.config)
            config = found if {*differing_fields(found, config)} <= PATHS else config
        pause = stop if stop < run.config.steps else None
        train(config, dataset, folder.root, cpu=self._cpu, pause_at=pause)

    def train_config(self, run: PlannedRun) -> TrainConfig:
        """The config that a run's folder has; a subset of the data is a dataset of its own."""
        if not run.classes:
            return run.config
        digest = self._open_data(run.config.data).digest
        return dataclasses.replace(run.config, data=self.files.subset(run, digest))

    def _dataset(self, run: PlannedRun) -> PinnedDataset:
        whole = self._open_data(run.config.data)
        if not run.classes:
            return whole
        return subset(whole, run.classes, self.files.subset(run, whole.digest))

    def _judge(self, run: PlannedRun, dataset: PinnedDataset) -> None:
        """Draw the sheet, and measure if that is asked for; the figures come last."""
        from core.sweeping.figures import judged, sample_sheet

        drawing = self._drawing()
        pipeline = drawing.open(self.files.run(run).root)
        figures: dict[str, object] = {"asked": self._figures_asked()}
        if self.config.sample_per_class:
            sheet = sample_sheet(pipeline, drawing, self.config.sample_per_class)
            write_bytes(self.files.sheet(run), sheet)
        if self.config.judged:
            judge = self._open_judge(run)
            figures |= judged(pipeline, drawing, dataset, judge, self.config.judged)
        write_json(self.files.figures(run), figures)

    def _draw_stopped(self) -> None:
        """Sample sheets of the runs that halving has stopped, as they were then."""
        from core.sweeping.figures import sample_sheet

        for run in self.plan.runs:
            folder, drawing = self.files.run(run), self._drawing()
            drawn = self.files.sheet(run).exists() or not self.config.sample_per_class
            ended = folder.model.exists() or self.files.stopped(run) is not None
            if drawn or ended or not folder.steps_saved():
                continue
            config, dataset = self.train_config(run), self._dataset(run)
            pipeline = drawing.open_stopped(folder, config, dataset)
            sheet = sample_sheet(pipeline, drawing, self.config.sample_per_class)
            write_bytes(self.files.sheet(run), sheet)

    def _drawing(self) -> "Drawing":
        from core.sweeping.figures import Drawing

        config = self.config
        return Drawing(
            guidance=config.guidance,
            steps=config.sample_steps,
            solver=config.solver,
            cpu=self._cpu,
        )

    def _open_judge(self, run: PlannedRun) -> "Judge":
        from core.sweeping.figures import open_judge

        whole = self._open_data(run.config.data)
        folder = self.files.judge(digest_of([whole.digest, self.config.judge_epochs]))
        return open_judge(folder, whole, epochs=self.config.judge_epochs)
