"""All that is known of a sweep, in one JSON value, and what follows from it: the best run."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from core.config import config_to_dict, differing_fields
from core.files import read_json
from core.sweeping.plan import PlannedRun
from core.sweeping.race import Standings
from core.sweeping.work import FAILED, FORMAT, OVER_BUDGET, SweepParts
from core.training.config import Preset, TrainConfig, preset

Facts = dict[str, Any]
_LONGER = 2


def sweep_facts(work: SweepParts) -> Facts:
    """What sweep.json holds: the sweep's state and best run, and every run, the best first."""
    standings = work.race.standings()
    runs = [_run_facts(work, run, standings) for run in work.plan.runs]
    among = _largest_group(work)
    runs.sort(key=lambda run: _rank(run, among))
    best = next((r for r in runs if _could_be_best(r, among)), None)
    return {
        "format": FORMAT,
        "plan": work.plan.digest,
        "state": work.state_digest(),
        "complete": not work.missing(),
        "data": work.plan.dataset,
        "names": list(work.plan.names),
        "hours": round(work.hours(), 4),
        "budget_hours": work.budget_hours,
        "best": best and best["run"],
        "longer": best and longer_command(work, best["run"]),
        "rungs": rung_facts(work, standings),
        "runs": runs,
    }


def state_counts(facts: Facts) -> dict[str, int]:
    """How many runs are finished, stopped, and so on."""
    counts: dict[str, int] = {}
    for run in facts["runs"]:
        kind = run["state"].partition(" at ")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def longer_command(work: SweepParts, fingerprint: str) -> str:
    """The command that trains a run's config twice as long, in a run of its own."""
    run = next(run for run in work.plan.runs if run.fingerprint == fingerprint)
    config = work.train_config(run)
    longer = dataclasses.replace(config, steps=_LONGER * config.steps)
    name = work.preset
    words = ["python", "jobs/train.py", "--preset", name, *_flags(longer, preset(_preset(name)))]
    out = Path("runs") / f"{work.folder.name}-best-{fingerprint[:8]}"
    return shlex.join([*words, "--out", str(out)])


def rung_facts(work: SweepParts, standings: Standings) -> list[Facts]:
    """Each rung: who came, who went on, and the loss that was good enough."""
    found = []
    for kin in dict.fromkeys(run.kin for run in work.plan.runs):
        members = [run for run in work.plan.runs if run.kin == kin]
        for rung, step in enumerate(members[0].rungs):
            losses = work.race.losses_at(rung, kin, standings)
            on = [r.fingerprint for r in members if work.files.promoted(r) > rung]
            reached = [losses[name] for name in on if name in losses]
            found.append(
                {
                    "kin": kin,
                    "step": step,
                    "came": len(losses),
                    "went_on": len(on),
                    "worst_that_went_on": max(reached, default=None),
                    "best": min(losses.values(), default=None),
                }
            )
    return found


def _preset(name: str) -> Preset:
    return name  # type: ignore[return-value]  # the command line has checked it


def _flags(config: TrainConfig, base: TrainConfig) -> list[str]:
    """The flags that make `config` of a preset."""
    words: list[str] = []
    values = config_to_dict(config)
    for name in differing_fields(base, config):
        flag, value = "--" + name.replace("_", "-"), values[name]
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            words += [flag, *map(str, value)]
        elif value is not None:
            words += [flag, str(value)]
    return words


def _largest_group(work: SweepParts) -> str:
    """Between other data or weights losses do not compare: the best is that of most runs."""
    groups = [run.alike for run in work.plan.runs]
    return max(dict.fromkeys(groups), key=groups.count)


def _could_be_best(run: Facts, among: str) -> bool:
    return run["trained"] and run["held_out_loss"] is not None and run["alike"] == among


def _rank(run: Facts, among: str) -> tuple[bool, bool, bool, float]:
    loss = run["held_out_loss"]
    return run["alike"] != among, loss is None, not run["trained"], loss or 0.0


def _run_facts(work: SweepParts, run: PlannedRun, standings: Standings) -> Facts:
    standing = standings[run.fingerprint]
    figures = work.files.figures(run)
    known: Facts = read_json(figures) if figures.exists() else {}
    copies = known.get("copy_rate", standing.last("copy_rate"))
    return {
        "run": run.fingerprint,
        "folder": str(work.files.run(run).root),
        "varies": dict(run.varies),
        "kin": run.kin,
        "alike": run.alike,
        "state": _state(work, run, standings),
        "why": (work.files.stopped(run) or {}).get("why"),
        "trained": standing.trained,
        "step": standing.step,
        "steps": run.config.steps,
        "held_out_loss": standing.last("held_out_loss"),
        "loss": standing.last("loss"),
        "copy_rate": copies,
        "distance": known.get("distance"),
        "hours": round(work.files.seconds(run) / 3600, 4),
        "figures": {name: value for name, value in known.items() if name != "asked"},
    }


def _state(work: SweepParts, run: PlannedRun, standings: Standings) -> str:
    standing = standings[run.fingerprint]
    if stopped := work.files.stopped(run):
        return FAILED if stopped["state"] == FAILED else f"not begun: {OVER_BUDGET}"
    if standing.trained:
        early = standing.step < run.config.steps
        done = work.files.figures(run).exists()
        return ("finished early" if early else "finished") if done else "trained, to be judged"
    if not standing.step:
        return "waiting"
    place = sum(standing.at_rung(step) is not None for step in run.rungs)
    if place and work.race.next_stop(run, standings) is None:
        return f"stopped at rung {place}"
    return "under way"
