"""The stages of a night: which verb, with which flags, after which others."""

import contextlib
import dataclasses
import datetime
import importlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config import config_to_dict
from core.data.pinned import open_pinned
from core.diffusion.modelinfo import describe_model, model_digest
from core.diffusion.sampleconfig import planned_labels
from core.errors import UserError
from exporters.upscale import BUILT_IN
from jobs.cli import parse
from jobs.digest import DigestConfig, DigestFlags
from jobs.evaluate import EvaluateFlags
from jobs.export import ExportFlags
from jobs.nights.folder import Night
from jobs.nights.plan import NightPlan
from jobs.publish import PublishConfig, PublishFlags
from jobs.sample import SampleFlags
from jobs.verbs import Flags, Verb

FIRST_DAY = datetime.date(2020, 1, 1)
"""The night whose seeds begin at 0."""
SEEDS_PER_NIGHT = 1_000_000
"""No night may make more pictures, so that no two nights share a seed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One verb's work in a night."""

    name: str
    """`sample`, `evaluate`, `export NAME`, `publish` or `digest`."""
    flags: Flags
    needs: tuple[str, ...] = ()
    """Stages that must have succeeded before."""
    leaves: tuple[Path, ...] = ()
    """What it may leave half-made, which other settings would not go on with."""

    @property
    def verb_name(self) -> str:
        """Also the kind of stage."""
        return self.name.split(" ")[0]

    @property
    def verb(self) -> Verb[Any]:
        """What runs it."""
        return verb_named(self.verb_name)

    @property
    def argv(self) -> tuple[str, ...]:
        """Its command line, after the verb."""
        return argv_of(self.flags)

    @property
    def facts(self) -> dict[str, Any]:
        """What the night's record says of it."""
        return {
            "name": self.name,
            "verb": self.verb_name,
            "argv": list(self.argv),
            "needs": list(self.needs),
            "settings": config_to_dict(self.flags.config),
        }


def night_seed(date: datetime.date) -> int:
    """The seed of a night's first picture; UserError before the first night there can be."""
    days = (date - FIRST_DAY).days
    if days < 0:
        raise UserError(f"--night {date}: nights begin with {FIRST_DAY}")
    return days * SEEDS_PER_NIGHT


def stages_of(plan: NightPlan, night: Night) -> list[Stage]:
    """All stages, each after those that it needs; the digest comes last and needs none."""
    seed = night_seed(datetime.date.fromisoformat(night.date))
    sample = SampleFlags(
        config=dataclasses.replace(plan.sample, seed=seed),
        out=night.samples,
        batch_size=plan.batch_size,
    )
    stages = [Stage(name="sample", flags=sample, leaves=(night.samples,))]
    if plan.evaluate is not None:
        config = dataclasses.replace(plan.evaluate, samples=(night.samples,))
        evaluate = EvaluateFlags(config=config, out=night.figures)
        stages.append(Stage(name="evaluate", flags=evaluate, needs=("sample",)))
    exports = _exports(plan, night, stages[-1].name)
    packs = tuple(night.packs / config.name for config in plan.exports)
    publish = PublishConfig(
        packs=packs,
        folder=plan.publish,
        night=night.date,
        keep_nights=plan.keep_nights,
        title=plan.name,
    )
    needs = tuple(stage.name for stage in exports)
    return [
        *stages,
        *exports,
        Stage(name="publish", flags=PublishFlags(config=publish), needs=needs),
        Stage(name="digest", flags=DigestFlags(config=DigestConfig(night=night.root))),
    ]


def _exports(plan: NightPlan, night: Night, after: str) -> list[Stage]:
    stages = []
    for config in plan.exports:
        pack = night.packs / config.name
        kept = night.kept if plan.evaluate is not None else None
        config = dataclasses.replace(config, samples=night.samples, only=kept)
        parts, zipped = pack.with_name(f".{pack.name}.parts"), pack.with_name(f"{pack.name}.zip")
        stages.append(
            Stage(
                name=f"export {config.name}",
                flags=ExportFlags(config=config, out=pack),
                needs=(after,),
                leaves=(parts, zipped, pack),
            )
        )
    return stages


def planned(plan: NightPlan) -> dict[str, int]:
    """Pictures of each class that a night makes; UserError when an input is missing or misfits."""
    with _said_of(plan, "[sample]"):
        known = describe_model(plan.sample.run).label_names
        model_digest(plan.sample.run)
        labels = planned_labels(plan.sample, known)
    if len(labels) >= SEEDS_PER_NIGHT:
        raise UserError(
            f"{plan.path}: [sample] asks for {len(labels):,} pictures; a night has seeds for fewer "
            f"than {SEEDS_PER_NIGHT:,}"
        )
    if plan.evaluate is not None:
        with _said_of(plan, "[evaluate]"):
            judged = open_pinned(plan.evaluate.data).label_names
            if unknown := sorted(set(labels) - set(judged)):
                raise UserError(f"{plan.evaluate.data} has no class {unknown[0]!r}")
    for config in plan.exports:
        with _said_of(plan, f"[export] {config.name}:"):
            if unknown := sorted(set(config.labels) - set(labels)):
                raise UserError(f"no class {unknown[0]!r} is sampled")
            if config.upscaler not in BUILT_IN and not Path(config.upscaler).is_file():
                raise UserError(f"there are no weights {config.upscaler}")
    return dict(sorted(Counter(labels).items()))


@contextlib.contextmanager
def _said_of(plan: NightPlan, table: str) -> Iterator[None]:
    """Say of a UserError which table of the plan it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{plan.path}: {table} {error}") from None


def verb_named(name: str) -> Verb[Any]:
    """A verb of the command line."""
    verb: Verb[Any] = importlib.import_module(f"jobs.{name}").VERB
    return verb


def is_finished(verb_name: str, argv: Sequence[str]) -> bool:
    """Whether what a command line makes is there."""
    verb = verb_named(verb_name)
    try:
        flags = parse(verb, argv)
        if verb.parts is not None:
            return verb.parts(flags).finished()
        return verb.finished is not None and verb.finished(flags)
    except UserError:
        return False


def argv_of(flags: Flags) -> tuple[str, ...]:
    """The command line that says the same: every value that is not the default."""
    words: list[str] = []
    for holder in (flags.config, flags):
        for field in dataclasses.fields(holder):  # type: ignore[arg-type]
            value = getattr(holder, field.name)
            computed = field.default_factory is not dataclasses.MISSING  # of the machine
            if field.name == "config" or computed or value == field.default:
                continue
            flag = "--" + field.name.replace("_", "-")
            if isinstance(value, bool):
                words.append(flag if value else f"--no-{flag[2:]}")
                continue
            words += [flag, *map(str, value)] if isinstance(value, tuple) else [f"{flag}={value}"]
    return tuple(words)


def refuse_other_settings(old: Mapping[str, Any], stages: Sequence[Stage]) -> list[Stage]:
    """Stages whose settings are no longer those of the night's record, and all after them.

    UserError when one of them is finished: its result would be of two plans. An evaluation may
    change until a pack is made of it.
    """
    before = {facts["name"]: facts for facts in old["stages"]}
    changed: list[Stage] = []
    for stage in stages:
        facts = before.get(stage.name)
        if facts is None or stage.verb_name in ("publish", "digest"):
            continue
        differ = sorted(_different(facts["settings"], config_to_dict(stage.flags.config)))
        if differ and stage.verb_name != "evaluate" and is_finished(facts["verb"], facts["argv"]):
            raise UserError(_conflict(stage, facts["settings"], differ))
        if changed and is_finished(facts["verb"], facts["argv"]):
            raise UserError(
                f"{stage.name} is finished, from {changed[0].name} as it was before the plan was "
                "edited: put the plan back, or remove the night's folder"
            )
        if differ or changed:
            changed.append(stage)
    return changed


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {key for key in {*old, *new} if old.get(key) != new.get(key)}


def _conflict(stage: Stage, old: Mapping[str, Any], differ: Sequence[str]) -> str:
    key = differ[0]
    new = config_to_dict(stage.flags.config).get(key)
    return (
        f"{stage.name} of this night is finished with {key} = {old.get(key)!r}, and the plan says "
        f"{new!r} now: put it back, or remove the night's folder to make it anew"
    )
