"""Start a night's plan at fixed times: by scrontab where the cluster has it, else by cron.

Our lines stand between two marks that name the plan; all others are left as they are.
"""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError
from jobs import scheduler
from jobs.cluster import ClusterFlags
from jobs.nights.plan import NightPlan

_BEGIN, _END = "# >>> menagerie nightly: {plan}", "# <<< menagerie nightly: {plan}"
_NIGHTLY = Path(__file__).resolve().parents[1] / "nightly.py"
_KEPT = ("SLURM_CONF", "MENAGERIE_LAUNCHES", "MENAGERIE_CLUSTERS", "MENAGERIE_PROFILE")
"""Variables that a night needs as they are now; cron starts with almost none."""
_FIELDS = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day of the month", 1, 31, ""),
    ("month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    ("day of the week", 0, 7, "sun mon tue wed thu fri sat"),
)
_NAMED = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly")


def install(plan: NightPlan, schedule: str, flags: ClusterFlags) -> int:
    """Install the plan's line in place of its earlier one; the exit code."""
    require_schedule(schedule)
    if flags.after:
        raise UserError("--after names a job of today, and --install is for every night")
    command = _command_for_tables()
    lines = table_lines(plan, schedule, flags, slurm=command == "scrontab")
    if command is None:
        raise UserError(
            "neither scrontab nor crontab is to be had here: give this line to whatever starts "
            f"things at fixed times: {lines[-1]}"
        )
    plan.nights.mkdir(parents=True, exist_ok=True)
    _write(command, edited(_read(command), plan.path, lines))
    print(f"installed with {command}:")
    print("\n".join(f"    {line}" for line in lines))
    print(f"its output: {plan.nights / 'cron.log'}")
    print(f"next: python jobs/nightly.py --plan {plan.path} --uninstall   (to remove it)")
    return 0


def uninstall(plan: NightPlan) -> int:
    """Remove the plan's lines, wherever they are; the exit code."""
    removed = []
    for command in ("scrontab", "crontab"):
        if shutil.which(command) is None:
            continue
        before = _read(command)
        after = edited(before, plan.path, ())
        if after != before:
            _write(command, after)
            removed.append(command)
    print(f"removed from {' and '.join(removed)}" if removed else f"{plan.path} is not installed")
    return 0


def edited(table: str, plan: Path, lines: Sequence[str]) -> str:
    """A crontab with a plan's lines in place of those that were there; no lines: without them."""
    begin, end = _BEGIN.format(plan=plan), _END.format(plan=plan)
    kept: list[str] = []
    ours = False
    for line in table.splitlines():
        ours = ours or line == begin
        if not ours:
            kept.append(line)
        ours = ours and line != end
    if ours:
        raise UserError(f"the crontab has the line {begin!r} and not its end: mend it by hand")
    if lines:
        kept += [begin, *lines, end]
    return "".join(f"{line}\n" for line in kept)


def table_lines(plan: NightPlan, schedule: str, flags: ClusterFlags, *, slurm: bool) -> list[str]:
    """The lines of a crontab, or with `slurm` of a scrontab, that start the plan's nights."""
    words = [sys.executable, str(_NIGHTLY), "--plan", str(plan.path)]
    if slurm and flags.cluster == "auto":
        flags = dataclasses.replace(flags, cluster="slurm")  # in scrontab's own job: else inline
    words += [
        f"--{field.name.replace('_', '-')}={value}"
        for field in dataclasses.fields(flags)
        if (value := getattr(flags, field.name)) != field.default and field.name != "wait"
    ]
    variables = [f"{name}={os.environ[name]}" for name in _KEPT if os.environ.get(name)]
    sbatch = shutil.which("sbatch")
    if sbatch and Path(sbatch).parent not in (Path("/usr/bin"), Path("/bin")):
        variables.append(f"PATH={Path(sbatch).parent}:/usr/local/bin:/usr/bin:/bin")
    call = shlex.join([*(["env", *variables] if variables else []), *words])
    log = shlex.quote(str(plan.nights / "cron.log"))
    line = f"{schedule.strip()} cd {shlex.quote(str(plan.path.parent))} && {call} >> {log} 2>&1"
    if "%" in line or "\n" in line:
        raise UserError(f"crontabs give % and line breaks a meaning: rename what has them: {line}")
    return [*(_scron_options(plan, flags) if slurm else ()), line]


def require_schedule(text: str) -> None:
    """UserError when cron could not read it."""
    if text.strip() in _NAMED:
        return
    values = text.split()
    if len(values) != 5:
        raise UserError(
            f"--install {text!r}: give minute, hour, day, month and weekday, such as "
            f'"30 1 * * *", or one of {", ".join(_NAMED)}'
        )
    for value, (name, least, most, names) in zip(values, _FIELDS, strict=True):
        if not all(_is_range(part, least, most, names.split()) for part in value.split(",")):
            raise UserError(f"--install {text!r}: {value!r} is no {name} (from {least} to {most})")


def _is_range(text: str, least: int, most: int, names: Sequence[str]) -> bool:
    """Whether it is `*`, `5`, `1-5` or one of these with a step, such as `*/2`."""
    for number, name in enumerate(names, least):
        text = re.sub(rf"\b{name}\b", str(number), text, flags=re.IGNORECASE)
    found = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", text)
    if not found:
        return False
    first, last, step = (None if group is None else int(group) for group in found.groups())
    ends = [end for end in (first, last) if end is not None]
    rising = ends == sorted(ends)
    return rising and all(least <= end <= most for end in ends) and step != 0


def _scron_options(plan: NightPlan, flags: ClusterFlags) -> list[str]:
    options = {"job-name": "menagerie-nightly", "time": "00:30:00", "ntasks": "1", "mem": "2G"}
    for name in ("partition", "account", "qos"):
        if value := getattr(flags, name) or plan.cluster.get(name):
            options[name] = str(value)
    return [f"#SCRON --{name}={value}" for name, value in options.items()]


def _command_for_tables() -> str | None:
    """`scrontab` where the cluster runs such lines, else `crontab`, else None."""
    if shutil.which("scrontab") and scheduler.installed():
        try:
            up, _ = scheduler.controller()
            said = scheduler.cluster_config().get("ScronParameters", "") if up else ""
        except scheduler.NotConfiguredError:
            said = ""
        if "enable" in said.split(","):
            return "scrontab"
    return "crontab" if shutil.which("crontab") else None


def _read(command: str) -> str:
    done = subprocess.run([command, "-l"], capture_output=True, text=True, check=False)
    said = done.stderr.strip()  # scrontab says nothing when there is none yet
    if done.returncode and said and "no crontab" not in said.lower():
        raise UserError(f"{command} -l: {said}")
    return done.stdout if done.returncode == 0 else ""


def _write(command: str, table: str) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="menagerie-") as file:
        file.write(table)
        file.flush()
        done = subprocess.run([command, file.name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{command}: {' '.join((done.stderr + done.stdout).split())}")
