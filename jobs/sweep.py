"""Train many models and compare them: python jobs/sweep.py --data DATA --out SWEEP
--grid base_channels=64,128,256 schedule=linear,cosine.

Runs are named by their fingerprint, and none is trained twice. The same command again shows how far
it is, resumes what was cut off or failed, and finishes the report.
"""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import tyro

from core.config import config_to_dict
from core.data.pinned import PinnedDataset, open_pinned
from core.data.transform import core_count
from core.errors import UserError
from core.parts import make_everything
from core.sweeping.config import SweepConfig
from core.sweeping.studies import tiny_train
from core.sweeping.table import state_counts, sweep_facts
from core.sweeping.work import SweepParts
from core.training.config import Preset, preset, preset_size_px
from jobs.cli import duration, flag_value, run_verb
from jobs.cluster import Cluster, ClusterFlags, choose
from jobs.preflight import require_disk
from jobs.verbs import Verb


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepFlags:
    """What to vary, and where to train."""

    config: SweepConfig
    preset: Preset = "starter"
    """Values that the training's flags start from."""
    out: Path = Path("sweep")
    """Folder of the sweep."""
    pool: Path | None = None
    """Folder of the runs, which several sweeps may share; default: runs/ in --out."""
    budget_hours: Annotated[float | None, tyro.conf.arg(aliases=["--budget-gpu-hours"])] = None
    """Hours of all runs together, each on its one GPU (or CPU), after which none begins; those
    under way end."""
    cpu: bool = False
    """Train on the CPU even where there is a GPU."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print the full config and the plan, and stop."""

    def __post_init__(self) -> None:
        if self.budget_hours is not None and self.budget_hours <= 0:
            raise UserError(f"--budget-hours is {self.budget_hours:g}; it must be above 0")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and sweep, or say how far a sweep is."""
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    command = functools.partial(_command, arguments=arguments)
    return run_verb(dataclasses.replace(VERB, command=command), arguments)


def _default(arguments: Sequence[str]) -> SweepFlags:
    name = cast(Preset, flag_value(arguments, "--preset", "starter"))
    train = tiny_train(preset(name)) if "--tiny" in arguments else preset(name)
    return SweepFlags(config=SweepConfig(train=train), preset=name)


def _command(flags: SweepFlags, arguments: Sequence[str]) -> int:
    """Say how far it is, then go on: here, or in the queue."""
    print(json.dumps(config_to_dict(flags.config), indent=2, ensure_ascii=False))
    cluster = choose(flags.cluster)
    print(f"cluster: {cluster.kind} ({cluster.why})", file=sys.stderr)
    own = any(text.startswith("data=") for text in flags.config.grid)
    given = flags.config.train.data is not None or own
    if flags.dry_run and not given and not _starter(flags).exists():
        print("plan: none before the starter animals are prepared, which a dry run does not")
        return 0
    work = _parts(flags)
    _tell(work)
    if cluster.kind != "inline":
        return _launch(work, flags, arguments, cluster)
    if flags.dry_run:
        return 0
    work.try_failed_again()
    begun = time.monotonic()
    _run_here(work)
    print(f"sweep: done in {duration(time.monotonic() - begun)}")
    return 0


def _launch(work: SweepParts, flags: SweepFlags, arguments: Sequence[str], cluster: Cluster) -> int:
    from jobs.launch import launch, queued_already  # submitit, only where it is needed

    if flags.dry_run:
        return launch(VERB, flags, arguments, cluster)
    if work.files.plan.exists():
        work.begin()  # Refuses a folder that holds something else.
        work.write_report()
        print(f"report, as far as it is: {work.files.report}")
    if queued_already(flags.out.absolute()) is None:
        work.try_failed_again()
    return launch(VERB, flags, arguments, cluster)


def _run(flags: SweepFlags) -> None:
    _run_here(_parts(flags))


def _run_here(work: SweepParts) -> None:
    try:
        if work.finished():
            work.begin()
            print(f"{work.folder} is finished already: nothing to do")
        else:
            make_everything(work)
    finally:
        if work.files.facts.exists():
            _tell_best(work)


def _tell(work: SweepParts) -> None:
    """The plan, and what of it is done."""
    varies = ", ".join(work.plan.names)
    print(f"plan: {work.count} runs over {varies}")
    facts = sweep_facts(work)
    counts = ", ".join(f"{n} {state}" for state, n in sorted(state_counts(facts).items()))
    spent = f", {duration(facts['hours'] * 3600)} spent" if facts["hours"] else ""
    print(f"so far: {counts}{spent}")
    for run, why in work.failures().items():
        print(f"failed: {run}: {why}")


def _tell_best(work: SweepParts) -> None:
    facts = sweep_facts(work)
    counts = ", ".join(f"{n} {state}" for state, n in sorted(state_counts(facts).items()))
    print(f"runs: {counts}, {duration(facts['hours'] * 3600)} together")
    if facts["best"]:
        best = facts["runs"][0] if facts["runs"][0]["run"] == facts["best"] else None
        varies = " ".join(f"{k}={v}" for k, v in (best["varies"] if best else {}).items())
        print(f"best: {facts['best']} {varies}")
    print(f"report: {work.files.report}\nfigures: {work.files.facts}")
    if facts["longer"]:
        print(f"next: {facts['longer']}")


def _out(flags: SweepFlags) -> Path:
    return flags.out


def _parts(flags: SweepFlags) -> SweepParts:
    opened: dict[Path | None, PinnedDataset] = {}

    def open_data(folder: Path | None) -> PinnedDataset:
        if folder not in opened:
            opened[folder] = open_pinned(folder) if folder else _prepared_starter(flags)
        return opened[folder]

    return SweepParts(
        flags.config,
        flags.out,
        open_data,
        pool=flags.pool,
        budget_hours=flags.budget_hours,
        cpu=flags.cpu,
        preset=flags.preset,
    )


def _check(flags: SweepFlags, cluster: Cluster) -> list[str]:
    """The data is whole, and the disk has room for the runs."""
    work = _parts(flags)
    for folder in dict.fromkeys(run.config.data for run in work.plan.runs):
        if folder is not None:
            open_pinned(folder, verify=True)
    require_disk(work.files.pool, 0)
    at_once = min(work.count, cluster.array_parallelism)
    return [f"runs: {work.count}, {at_once} at once at most; each task is one process"]


def _starter(flags: SweepFlags) -> Path:
    return Path("datasets") / f"starter-{preset_size_px(flags.preset)}"


def _prepared_starter(flags: SweepFlags) -> PinnedDataset:
    from core.data.prepare import PrepareConfig, prepare

    size_px, folder = preset_size_px(flags.preset), _starter(flags)
    if not folder.exists():
        print(f"no --data: preparing the starter animals in {folder}")
    prepare(PrepareConfig(source="starter", size_px=size_px), folder, workers=core_count())
    return open_pinned(folder)


VERB = Verb(
    name="sweep",
    description=__doc__ or "",
    flags=SweepFlags,
    run=_run,
    default=_default,
    out=_out,
    parts=_parts,
    check=_check,
)

if __name__ == "__main__":
    sys.exit(main())
