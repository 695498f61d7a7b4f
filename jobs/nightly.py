"""Make tonight's pictures into published packs: python jobs/nightly.py --plan nightly.toml.

The plan (slurm/nightly.example.toml) says what every night makes. On a cluster the night is a chain
of jobs: sample, evaluate, export, publish, and a digest that is written however it went. The same
command resumes the night; once published it does nothing. --install runs it every night.
"""

import contextlib
import dataclasses
import datetime
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError, machine_trouble
from core.files import read_json
from jobs import scheduler
from jobs.cli import run_verb
from jobs.cluster import Cluster, ClusterFlags, choose
from jobs.digest import resume_command, write_digest
from jobs.nights.attempt import Attempt, changed_stages, open_record
from jobs.nights.crontabs import install, uninstall
from jobs.nights.folder import Night, remove_old_nights, require_date
from jobs.nights.plan import NightPlan, read_plan
from jobs.nights.stages import Stage, is_finished, planned, stages_of
from jobs.publish import current_night
from jobs.verbs import Verb

_LIGHT = {"nodes": 1, "gpus_per_node": 0, "cpus_per_task": 1, "mem_gb": 2.0}
"""What publishing and the digest need, unless their own tables say more."""
_ONLY_SLURM = ("partition", "account", "qos", "nodes", "time", "mem_gb")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NightlyConfig:
    """What to make."""

    plan: Path
    """The plan, a TOML file."""
    night: str = ""
    """The night, such as 2026-11-21; default: today."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NightlyFlags:
    """What to make, where, and when."""

    config: NightlyConfig
    install: str | None = None
    """Start it at these times from now on, such as "30 1 * * *", by scrontab or cron; nothing is
    made now."""
    uninstall: bool = False
    """Start it no more."""
    cluster: ClusterFlags = dataclasses.field(default_factory=ClusterFlags)
    dry_run: bool = False
    """Print what would be made and submitted, and stop."""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags and start the night."""
    return run_verb(VERB, argv)


def _command(flags: NightlyFlags) -> int:
    plan = read_plan(flags.config.plan)
    if flags.install is not None and flags.uninstall:
        raise UserError("--install and --uninstall exclude each other: give one of them")
    if flags.uninstall:
        return uninstall(plan)
    if flags.install is not None:
        planned(plan)
        return install(plan, flags.install, flags.cluster)
    date = flags.config.night or datetime.date.today().isoformat()
    require_date("--night", date)
    night = Night(plan.nights / date)
    stages = stages_of(plan, night)
    print(f"night {date} of {plan.name}: {night.root}")
    if flags.dry_run:
        return _dry_run(plan, stages, clusters_of(plan, stages, flags.cluster))
    with night.held():
        return _start(plan, night, stages, flags.cluster)


def _start(plan: NightPlan, night: Night, stages: list[Stage], given: ClusterFlags) -> int:
    """Start or resume a night that is held; the exit code."""
    if night.record_path.exists() and all(is_finished(s.verb_name, s.argv) for s in stages):
        print(f"the night {night.date} is finished already: nothing to do ({night.page})")
        return 0
    changed = changed_stages(night, stages)
    night.reserve()
    attempt = Attempt(night, open_record(night, plan, stages))
    try:
        attempt.record["asked"] = asked = planned(plan)
        clusters = clusters_of(plan, stages, given)
        _say_where(attempt, clusters["sample"])
        _remove_old(plan, night)
        if clusters["sample"].kind != "slurm":
            from jobs.nights.here import run_here

            run_here(stages[:-1], clusters, attempt, changed=changed)
            return _tell(write_digest(night), night)
        from jobs.nights.chain import submit_chain, wait_for

        parts = -(-sum(asked.values()) // plan.sample.shard_size)
        jobs = submit_chain(stages, clusters, attempt, parts=parts, changed=changed)
    except (UserError, OSError, KeyboardInterrupt) as error:
        with contextlib.suppress(OSError):
            attempt.fail(machine_trouble(error) or str(error) or "stopped from the keyboard")
            write_digest(night)
        raise
    print(f"digest, when all have ended: {night.page}")
    print("next: python jobs/status.py")
    if not given.wait:
        return 0
    wait_for(jobs)
    return _tell(_newest_digest(night, attempt), night)


def clusters_of(
    plan: NightPlan, stages: Sequence[Stage], given: ClusterFlags
) -> dict[str, Cluster]:
    """Where each stage runs: the command line wins over the stage's table, that over [cluster]."""
    chosen: dict[ClusterFlags, Cluster] = {}
    clusters = {}
    for stage in stages:
        flags = _cluster_flags(plan, stage, given)
        if flags not in chosen:
            chosen[flags] = choose(flags)
        clusters[stage.name] = chosen[flags]
    return clusters


def _cluster_flags(plan: NightPlan, stage: Stage, given: ClusterFlags) -> ClusterFlags:
    default = ClusterFlags()
    typed = {k: v for k, v in vars(given).items() if v != getattr(default, k) and k != "wait"}
    general, own = plan.cluster, plan.stage_cluster.get(stage.verb_name, {})
    if typed.get("cluster") in ("inline", "local"):
        general = {k: v for k, v in general.items() if k not in _ONLY_SLURM}
        own = {k: v for k, v in own.items() if k not in _ONLY_SLURM}
    if stage.name != "sample":
        typed.pop("after", None)
    if stage.verb_name not in ("publish", "digest"):
        return ClusterFlags(**{**general, **own, **typed})
    asked = {**general, **typed}.get("cluster", "auto")
    light = {} if asked in ("inline", "local") else _LIGHT
    return ClusterFlags(**{**general, **typed, **light, **own})


def _say_where(attempt: Attempt, cluster: Cluster) -> None:
    attempt.how |= {"kind": cluster.kind, "why": cluster.why}
    print(f"cluster: {cluster.kind} ({cluster.why})", file=sys.stderr)


def _remove_old(plan: NightPlan, tonight: Night) -> None:
    """Keep the newest nights' work; and what is published or still in the queue."""
    published = current_night(plan.publish)

    def stays(night: Night) -> bool:
        if night.date == published:
            return True
        attempts = night.record()["attempts"]
        jobs = [j for a in attempts if a["kind"] == "slurm" for s in a["stages"].values()
                for j in s.get("jobs", ())]  # fmt: skip
        states = scheduler.job_states(jobs).values()
        return any(state.state not in scheduler.ENDED for state in states)

    for date in remove_old_nights(tonight, plan.keep_nights, but=stays):
        print(f"removed the work of the night {date}: {plan.keep_nights} are kept")


def _newest_digest(night: Night, attempt: Attempt) -> dict[str, Any]:
    """The digest that the chain wrote, or one written now if its job did not."""
    if night.facts_path.exists():
        facts: dict[str, Any] = read_json(night.facts_path)
        if facts["written"] >= attempt.how["time"]:
            return facts
    return write_digest(night)


def _tell(facts: Mapping[str, Any], night: Night) -> int:
    """Say how it went; the exit code."""
    verdict = facts["verdict"]
    stream = sys.stderr if verdict["code"] else sys.stdout
    print(f"digest: {night.page}")
    print(f"{night.date}: {verdict['words']}", file=stream)
    if verdict["code"]:
        print(f"next: {resume_command(night)}")
        return 2 if verdict["code"] == 2 else 1
    print(f"next: open {Path(facts['published']['folder']) / 'index.html'}")
    return 0


def _dry_run(plan: NightPlan, stages: Sequence[Stage], clusters: Mapping[str, Cluster]) -> int:
    """Print every stage: its command, what it waits for and, on a cluster, its script."""
    asked = planned(plan)
    print(f"pictures: {sum(asked.values()):,} of {', '.join(asked)}")
    for stage in stages:
        needs = f"  # after {', '.join(stage.needs)}" if stage.needs else ""
        print(f"\n{' '.join([stage.verb_name, *stage.argv])}{needs}")
        cluster = clusters[stage.name]
        if cluster.kind == "slurm":
            from jobs.launch import submit

            flags: Any = dataclasses.replace(stage.flags, dry_run=True)  # type: ignore[type-var]
            after = [f"<{need}>" for need in stage.needs]
            others = [f"<{other.name}>" for other in stages[:-1]] if stage is stages[-1] else []
            submit(stage.verb, flags, stage.argv, cluster, after_success=after, after_end=others)
    return 0


def _never(flags: NightlyFlags) -> str:
    raise AssertionError("nightly has a command of its own")


VERB = Verb(
    name="nightly", description=__doc__ or "", flags=NightlyFlags, run=_never, command=_command
)

if __name__ == "__main__":
    sys.exit(main())
