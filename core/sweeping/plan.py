"""Which runs a sweep has, and their names: the same work has the same fingerprint anywhere."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from core.config import said_values
from core.data.pinned import PinnedDataset
from core.diffusion.modelinfo import model_digest
from core.errors import UserError
from core.files import digest_of
from core.sweeping.config import SweepConfig
from core.sweeping.halving import rungs_of
from core.sweeping.studies import Question, questions, study_base
from core.sweeping.subset import require_classes
from core.sweeping.values import (
    CLASSES,
    Axis,
    drawn,
    parse_axis,
    read_value,
    value_shown,
    with_values,
)
from core.training.config import TrainConfig

RUN_FORMAT = "menagerie-run-1"
"""Changes when the same config and data would train another model."""
PATHS = frozenset({"data", "init_from"})
"""Fields for which digests stand."""
_MOST_RUNS = 10_000
_TRIES = 50
_WEIGHED = ("weighting", "snr_gamma", "sigma_data", "sigma_floor")
"""Fields that decide how errors are weighed: losses do not compare between their values."""
_PACED = ("steps", "evaluate_every")
"""Fields that decide when rates fall and losses are measured."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a sweep."""

    fingerprint: str
    """16 hexadecimal digits of all that the weights depend on."""
    config: TrainConfig
    """`data` is the folder that all classes are in."""
    classes: tuple[str, ...]
    """Classes of the data that are kept; () = all."""
    varies: Mapping[str, str]
    """The varied fields' values, as they would be written."""
    rungs: tuple[int, ...]
    """Steps at which halving looks at it."""
    kin: str
    """Runs of the same kin have held-out losses that compare at the same step, and rungs."""
    alike: str
    """Runs that are alike have held-out losses that compare at their ends."""

    @property
    def words(self) -> str:
        """What sets it apart."""
        return " ".join(
            f"{name}={f'{value!r}' if ' ' in value else value}"
            for name, value in self.varies.items()
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chapter:
    """Runs that answer one question."""

    title: str
    asks: str
    names: tuple[str, ...]
    """Fields that vary in it."""
    members: tuple[str, ...]
    """Fingerprints, in order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """All runs of a sweep."""

    runs: tuple[PlannedRun, ...]
    chapters: tuple[Chapter, ...]
    names: tuple[str, ...]
    """All fields that vary."""
    dataset: str
    """Digest of the data that the runs share; of the first run's, when they vary it."""

    @property
    def digest(self) -> str:
        """SHA-256 of which runs there are."""
        return digest_of([run.fingerprint for run in self.runs])


Open = Callable[[Path | None], PinnedDataset]
"""Opens the data of a config; None: the starter animals."""


def make_plan(config: SweepConfig, open_data: Open) -> SweepPlan:
    """All runs, each once; UserError for a field, value or combination that cannot be."""
    if bool(config.grid) == bool(config.preset_study):
        raise UserError(
            "give what to vary: --grid NAME=VALUE,VALUE, or --preset-study (one of the two)"
        )
    datasets: dict[Path | None, PinnedDataset] = {}

    def opened(folder: Path | None) -> PinnedDataset:
        if folder not in datasets:
            datasets[folder] = open_data(folder)
        return datasets[folder]

    asked, base = _asked(config, lambda: opened(config.train.data).label_names)
    names = tuple(dict.fromkeys(axis.name for question in asked for axis in question.axes))
    runs: dict[str, PlannedRun] = {}
    chapters = []
    for question in asked:
        members = []
        for chosen in _combinations(question.axes, config):
            run = _planned(config, base, chosen, names, opened)
            members.append(run.fingerprint)
            runs.setdefault(run.fingerprint, run)
        chapters.append(
            Chapter(
                title=question.title,
                asks=question.asks,
                names=tuple(axis.name for axis in question.axes),
                members=tuple(dict.fromkeys(members)),
            )
        )
    shared = opened(next(iter(runs.values())).config.data).digest
    return SweepPlan(
        runs=tuple(runs.values()), chapters=tuple(chapters), names=names, dataset=shared
    )


def _asked(
    config: SweepConfig, labels: Callable[[], tuple[str, ...]]
) -> tuple[list[Question], TrainConfig]:
    if config.preset_study:
        return questions(config, labels()), study_base(config)
    axes = tuple(parse_axis(text) for text in config.grid)
    twice = [name for name, group in itertools.groupby(sorted(a.name for a in axes))
             if len(list(group)) > 1]  # fmt: skip
    if twice:
        raise UserError(f"--grid names {twice[0]} twice: give all its values together")
    ranged = [axis.name for axis in axes if axis.range]
    if ranged and not config.random:
        raise UserError(
            f"--grid {ranged[0]} is a range, from which --random N draws: give --random"
        )
    return [Question(title="All runs", asks="", axes=axes)], config.train


def _combinations(axes: tuple[Axis, ...], config: SweepConfig) -> Iterable[dict[str, str]]:
    """Values by field: every combination, or those that are drawn."""
    names = [axis.name for axis in axes]
    if config.random:
        return _drawn(axes, config)
    total = 1
    for axis in axes:
        total *= len(axis.values)
    if total > _MOST_RUNS:
        raise UserError(f"--grid has {total:,} combinations: draw some with --random N")
    product = itertools.product(*(axis.values for axis in axes))
    return (dict(zip(names, values, strict=True)) for values in product)


def _drawn(axes: tuple[Axis, ...], config: SweepConfig) -> list[dict[str, str]]:
    """Different ones: the first N of a sweep of more are the same."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for attempt in range(_TRIES * config.random):
        dice = random.Random(f"{config.random_seed}-{attempt}")
        chosen = {axis.name: drawn(axis, dice) for axis in axes}
        found.setdefault(tuple(chosen.values()), chosen)
        if len(found) == config.random:
            break
    return list(found.values())


def _planned(
    sweep: SweepConfig,
    base: TrainConfig,
    chosen: dict[str, str],
    names: tuple[str, ...],
    opened: Open,
) -> PlannedRun:
    config = with_values(base, chosen)
    dataset = opened(config.data)
    classes = _kept(dataset, chosen.get(CLASSES, ""))
    data = [dataset.digest, *classes]
    values = said_values(config)
    whole = {
        "format": RUN_FORMAT,
        "config": {name: value for name, value in values.items() if name not in PATHS},
        "data": data,
        "parent": model_digest(config.init_from) if config.init_from else None,
    }
    weighed = [data, *(getattr(config, name) for name in _WEIGHED), _written(config)]
    return PlannedRun(
        fingerprint=digest_of(whole)[:16],
        config=config,
        classes=classes,
        varies={name: value_shown(config, classes, name) for name in names},
        rungs=rungs_of(
            steps=config.steps,
            every=config.evaluate_every,
            eta=sweep.halving,
            first=sweep.first_rung,
        ),
        kin=digest_of([weighed, *(getattr(config, name) for name in _PACED)])[:8],
        alike=digest_of(weighed)[:8],
    )


def _written(config: TrainConfig) -> Any:
    """What the network writes and in which units, where errors are weighed by it."""
    if config.weighting != "uniform":
        return None
    return [config.prediction, config.patch, config.whiten]


def _kept(dataset: PinnedDataset, text: str) -> tuple[str, ...]:
    classes: tuple[str, ...] = tuple(sorted(set(read_value(CLASSES, text))))
    if classes:
        require_classes(dataset, classes)
    return () if set(classes) == set(dataset.label_names) else classes
