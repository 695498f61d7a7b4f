"""What became of a night: read from its record, its jobs' journals, SLURM and what lies there."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import read_json
from jobs import scheduler, waiting
from jobs.launches import LaunchFolder
from jobs.nights.counts import count, totals
from jobs.nights.folder import Night, nights_in
from jobs.nights.stages import is_finished
from jobs.publish import current_night, published_facts
from jobs.scheduler import JobState

FORMAT = "menagerie-digest-1"
Facts = dict[str, Any]
"""As they stand in digest.json."""

_STATE_WORDS = {
    "TIMEOUT": "the time limit was reached: raise time",
    "OUT_OF_MEMORY": "out of memory: raise mem_gb",
    "NODE_FAIL": "its node failed",
    "DEADLINE": "its deadline passed",
    "CANCELLED": "it was cancelled",
}
_FULL_BYTES = 1 << 20


def night_facts(night: Night) -> Facts:
    """All facts of a night, except its pictures; UserError when there is no such night."""
    record = night.record()
    jobs = [job for attempt in _slurm(record) for s in attempt["stages"].values()
            for job in s.get("jobs", ())]  # fmt: skip
    states = _states(jobs)
    stages: list[Facts] = []
    for stage in record["stages"]:
        if stage["verb"] != "digest":
            stages.append(_stage(stage, record, states, stages))
    before = [other for other in nights_in(night.root.parent) if other.date < night.date]
    facts: Facts = {
        "format": FORMAT,
        "night": night.date,
        "name": record["name"],
        "folder": str(night.root),
        "plan_file": record["plan_file"],
        "stages": stages,
        "counts": count(night, record),
        "before": next(filter(None, map(_earlier, reversed(before))), None),
        "published": _published(record, night),
        "readers_see": _readers_see(record),
        "attempts": len(record["attempts"]),
        "disk_free_bytes": shutil.disk_usage(night.root).free,
    }
    facts["verdict"] = _verdict(record, stages)
    facts["totals"] = totals(facts)
    return facts


def _slurm(record: Facts) -> list[Facts]:
    return [attempt for attempt in record["attempts"] if attempt["kind"] == "slurm"]


def _states(jobs: Sequence[str]) -> dict[str, JobState]:
    """What SLURM knows of the jobs; nothing where there is no SLURM any more."""
    if jobs and scheduler.installed():
        with contextlib.suppress(UserError):
            return waiting.states_of(jobs)
    return {}


def _stage(
    stage: Facts, record: Facts, states: Mapping[str, JobState], before: Sequence[Facts]
) -> Facts:
    """One row of the digest."""
    name = stage["name"]
    tries = [(a, a["stages"][name]) for a in record["attempts"] if name in a["stages"]]
    attempt, last = tries[-1] if tries else ({}, {})
    mine = _of(last.get("jobs", ()), states) if attempt.get("kind") == "slurm" else []
    entries = _entries(last)
    facts = {
        "name": name,
        "jobs": last.get("jobs", []),
        "tries": sum(1 for _, one in tries if "begun" in one or _entries(one)),
        "begun": last.get("begun") or _first(entries, "started"),
        "ended": last.get("ended") or (entries[-1]["time"] if entries else None),
        "requeues": _requeues(entries),
        "nodes": sorted(
            {e["node"] for e in entries if "node" in e} | {last.get("node", "")} - {""}
        ),
        "code": last.get("code", _code(entries)),
        "log": None,
    }
    broken = [row["name"] for row in before if row["name"] in stage["needs"]
              and row["state"] in ("failed", "cancelled", "stopped")]  # fmt: skip
    if is_finished(stage["verb"], stage["argv"]):
        return facts | {"state": "done", "words": "", "code": 0}
    state, words = _trouble(last, mine, entries, broken)
    if state in ("running", "waiting"):
        facts["ended"] = None
    if state == "failed":
        facts["log"] = _log(last, mine)
    return facts | {"state": state, "words": words}


def _trouble(
    last: Facts, mine: Sequence[JobState], entries: Sequence[Facts], broken: Sequence[str]
) -> tuple[str, str]:
    """State and reason of a stage that is not done."""
    needs = f"needs {broken[0]}" if broken else ""
    if not last:
        return ("stopped", needs) if broken else ("never started", "")
    if not last.get("jobs") or "begun" in last:
        if "ended" not in last:
            return "running", "begun, and no end noted"
        return ("cancelled" if last["code"] == 130 else "failed"), last["error"]
    bad = [s for s in mine if s.state in scheduler.ENDED and s.state != "COMPLETED"]
    alive = [s for s in mine if s.state not in scheduler.ENDED]
    failed = [s for s in bad if s.state != "CANCELLED"]
    if failed or (bad and any(e["event"] == "failed" for e in _ends(entries))):
        return "failed", _cause(last, failed or bad, len(mine))
    if broken and not entries and not alive:
        return "stopped", needs
    if bad:
        return "cancelled", "cancelled in SLURM" + ("" if entries else " before it began")
    if alive:
        going = any(s.state != "PENDING" for s in alive)
        return ("running", "") if going else ("waiting", needs or alive[0].reason)
    return "failed", _cause(last, [], len(mine))


def _ends(entries: Sequence[Facts]) -> list[Facts]:
    """The last word of each job (or array task)."""
    return list({entry["job"]: entry for entry in entries if entry["event"] != "ended"}.values())


def _cause(last: Facts, bad: Sequence[JobState], tasks: int) -> str:
    """Why a stage failed, in one line: the first task's words, and how many tasks."""
    launch = LaunchFolder(Path(last["launch"] or "/"))
    ids = [state.id for state in bad] or sorted({e["job"] for e in _entries(last)})
    said = [(job, waiting.cause_of(launch, job)) for job in ids]
    words = next((w for _, w in said if w), "")
    if not words and bad:
        words = _STATE_WORDS.get(bad[0].state, bad[0].state.lower().replace("_", " "))
    words = words.removeprefix("error: ") or "it ended without a word, and its result is missing"
    with contextlib.suppress(OSError):
        if shutil.disk_usage(launch.root).free < _FULL_BYTES:
            words += f" (the disk of {launch.root.parent} is full)"
    return f"{len(bad)} of {tasks} tasks: {words}" if tasks > 1 and bad else words


def _log(last: Facts, mine: Sequence[JobState]) -> str | None:
    if not last.get("launch"):
        return None
    bad = [s.id for s in mine if s.state != "COMPLETED"] or list(last.get("jobs", ()))
    logs = LaunchFolder(Path(last["launch"])).logs(bad[0]) if bad else []
    return str(logs[0]) if logs else None


def _of(jobs: Sequence[str], states: Mapping[str, JobState]) -> list[JobState]:
    return [state for name, state in sorted(states.items()) if name.split("_")[0] in jobs]


def _entries(last: Facts) -> list[Facts]:
    """The journal of a stage's latest jobs."""
    launch = last.get("launch")
    if not launch or not Path(launch).is_dir():
        return []
    return LaunchFolder(Path(launch)).entries()


def _first(entries: Sequence[Facts], event: str) -> float | None:
    return next((float(e["time"]) for e in entries if e["event"] == event), None)


def _requeues(entries: Sequence[Facts]) -> int:
    most = Counter[str]()
    for entry in entries:
        if "attempt" in entry:
            most[entry["job"]] = max(most[entry["job"]], int(entry["attempt"]))
    return most.total()


def _code(entries: Sequence[Facts]) -> int | None:
    codes = [int(entry["code"]) for entry in entries if "code" in entry]
    return codes[-1] if codes else None


def _earlier(night: Night) -> Facts | None:
    """The counts of an earlier night's digest, if it has one."""
    with contextlib.suppress(UserError, KeyError, TypeError):
        facts = read_json(night.facts_path)
        return {"night": facts["night"], "state": facts["verdict"]["state"], **facts["totals"]}
    return None


def _published(record: Facts, night: Night) -> Facts | None:
    """Where the night's packs are for readers to see; None when they are not."""
    folder = Path(record["publish"])
    with contextlib.suppress(UserError):
        if facts := published_facts(folder, night.date):
            return {
                "folder": str(folder / "nights" / night.date),
                "packs": {pack["name"]: pack["stickers"] for pack in facts["packs"]},
            }
    return None


def _readers_see(record: Facts) -> str | None:
    """The night that readers see."""
    with contextlib.suppress(UserError):
        return current_night(Path(record["publish"]))
    return None


def _verdict(record: Facts, stages: Sequence[Facts]) -> Facts:
    """One word and one line for the top of the page."""
    unfinished = [row for row in stages if row["state"] != "done"]
    bad = [row for row in unfinished if row["state"] in ("failed", "cancelled")]
    newest = record["attempts"][-1] if record["attempts"] else {"stages": {}}
    error = newest.get("error")
    if not unfinished:
        state, stage, title, cause, code = "published", None, "Published", "", 0
    elif error and not any("code" in stage for stage in newest["stages"].values()):
        state, stage, title, cause, code = "failed", None, "Could not start", error, 2
    elif bad:
        state, stage, cause = bad[0]["state"], bad[0]["name"], bad[0]["words"]
        title, code = f"{state.capitalize()} at {stage}", bad[0]["code"] or 1
    else:
        state, stage, cause, code = "running", unfinished[0]["name"], "", 1
        title = f"{stage} is {unfinished[0]['state']}"
    words = f"{title}: {cause}" if cause else title
    return {"state": state, "stage": stage, "title": title, "cause": cause, "words": words,
            "code": code}  # fmt: skip
