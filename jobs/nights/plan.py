"""The plan of a night: one TOML file that says what to make, read strictly.

Every mistake is one UserError line that names the file, the table, the key and what is allowed.
Paths in the file are relative to it. See slurm/nightly.example.toml.
"""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from core.diffusion.sampleconfig import SampleConfig
from core.errors import UserError
from core.evaluation.config import EvaluateConfig
from exporters.config import CUT_OUTS, ExportConfig
from exporters.upscale import BUILT_IN
from jobs.cluster import ClusterFlags

STAGES = ("sample", "evaluate", "export", "publish", "digest")
"""What a night is made of, in order; also the tables below [cluster]."""

_TABLES = ("name", "nights", "keep_nights", "sample", "evaluate", "export", "publish", "cluster")
_LATER = Path("to be made")
"""Stands for what each night has its own of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NightPlan:
    """What every night makes."""

    path: Path
    """The file, absolute."""
    name: str
    nights: Path
    """Folder of the nights' work."""
    keep_nights: int
    """Nights whose work and whose published packs stay."""
    sample: SampleConfig
    """Its seed is the night's."""
    batch_size: int
    evaluate: EvaluateConfig | None
    """None: nothing is filtered."""
    exports: tuple[ExportConfig, ...]
    """Their names differ, and are names of folders."""
    publish: Path
    """Folder that readers see."""
    cluster: dict[str, Any]
    """Cluster flags of every stage."""
    stage_cluster: dict[str, dict[str, Any]]
    """Cluster flags of one kind of stage."""
    raw: dict[str, Any]
    """The file's contents."""


def read_plan(path: Path) -> NightPlan:
    """Read and check a plan; UserError names the first mistake."""
    path = path.absolute()
    raw = _read(path)
    file = _Table(path, "", raw)
    file.require_known(_TABLES)
    cluster, stage_cluster = _cluster(file.table("cluster", {}))
    batch_size, sample = _sample(file.table("sample"))
    plan = NightPlan(
        path=path,
        name=file.take("name", str),
        nights=file.take("nights", Path),
        keep_nights=file.take("keep_nights", int, 14),
        sample=sample,
        batch_size=batch_size,
        evaluate=_evaluate(file.table("evaluate")) if "evaluate" in raw else None,
        exports=_exports(file),
        publish=_publish(file.table("publish")),
        cluster=cluster,
        stage_cluster=stage_cluster,
        raw=raw,
    )
    _require_sense(plan)
    return plan


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: copy slurm/nightly.example.toml") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: name the plan's file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def _sample(table: "_Table") -> tuple[int, SampleConfig]:
    if "seed" in table.values:
        raise UserError(f"{table} seed: every night has seeds of its own: leave it out")
    batch_size = table.take("batch_size", int, 32)
    if batch_size < 1:
        raise UserError(f"{table} batch_size is {batch_size}; it must be 1 or more")
    return batch_size, table.config(SampleConfig, known=("seed",), also=("batch_size",))


def _evaluate(table: "_Table") -> EvaluateConfig:
    return table.config(EvaluateConfig, known=("samples",), samples=_LATER)


def _exports(file: "_Table") -> tuple[ExportConfig, ...]:
    tables = file.values.get("export")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise UserError(f"{file} has no [[export]] table: write one for each pack, with a name")
    exports: list[ExportConfig] = []
    for number, values in enumerate(tables, 1):
        where = "[export]" if len(tables) == 1 else f"[export] {number}"
        exports.append(_export(_Table(file.path, where, values)))
    names = [config.name.casefold() for config in exports]
    if twice := [config.name for config in exports if names.count(config.name.casefold()) > 1]:
        raise UserError(f"{file} [export] name = {twice[0]!r} is there twice: each needs its own")
    return tuple(exports)


def _export(table: "_Table") -> ExportConfig:
    name = table.take("name", str)
    if not name.strip() or name != name.strip() or name.startswith(".") or len(name) > 80:
        raise UserError(f"{table} name = {name!r}: 1 to 80 characters, no dot or blank first")
    if "/" in name or not name.isprintable():
        raise UserError(f"{table} name = {name!r} cannot name a folder: leave / out")
    # Nobody approves samples between two stages of a night.
    chosen = ("samples", "pictures", "licence", "only", "approved", "without_tags")
    config = table.config(ExportConfig, known=chosen, samples=_LATER)
    beside = table.path.parent
    if config.upscaler not in BUILT_IN:
        config = dataclasses.replace(config, upscaler=str(beside / config.upscaler))
    if config.cut_out not in CUT_OUTS:
        config = dataclasses.replace(config, cut_out=str(beside / config.cut_out))
    return config


def _publish(table: "_Table") -> Path:
    table.require_known(("folder",))
    folder: Path = table.take("folder", Path)
    return folder


def _cluster(table: "_Table") -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Flags for all stages, and for each kind of stage."""
    known = tuple(
        f.name for f in dataclasses.fields(ClusterFlags) if f.name not in ("after", "wait")
    )
    hints = typing.get_type_hints(ClusterFlags)

    def flags(of: _Table, also: tuple[str, ...] = ()) -> dict[str, Any]:
        of.require_known((*known, *also))
        return {key: of.take(key, hints[key]) for key in of.values if key in known}

    general = flags(table, STAGES)
    known = tuple(name for name in known if name != "cluster")  # a night runs in one place
    stages = {name: table.table(name) for name in STAGES if name in table.values}
    return general, {name: flags(stage) for name, stage in stages.items()}


def _require_sense(plan: NightPlan) -> None:
    if not 1 <= plan.keep_nights <= 10_000:
        raise UserError(f"{plan.path}: keep_nights is {plan.keep_nights}: from 1 to 10000")
    nights, public = plan.nights.resolve(), plan.publish.resolve()
    if nights == public or nights in public.parents or public in nights.parents:
        raise UserError(
            f"{plan.path}: [publish] folder and nights are one inside the other ({public}, "
            f"{nights}): readers and work need folders apart"
        )


C = TypeVar("C")
_NOTHING: Any = object()


class _Table:
    """One table of the file, which knows its name for complaints."""

    def __init__(self, path: Path, name: str, values: Mapping[str, Any]) -> None:
        self.path, self.name, self.values = path, name, values

    def __str__(self) -> str:
        return f"{self.path}: {self.name}".removesuffix(" ")

    def require_known(self, allowed: tuple[str, ...]) -> None:
        for key in self.values:
            if key not in allowed:
                names = ", ".join(sorted(allowed))
                raise UserError(f"{self} has no setting {key!r}; allowed are {names}")

    def table(self, key: str, default: Any = _NOTHING) -> "_Table":
        """A table in this one."""
        found = self.values.get(key, default)
        name = f"[{key}]" if not self.name else f"{self.name[:-1]}.{key}]"
        if found is _NOTHING:
            raise UserError(f"{self} has no {name} table, which a plan needs")
        if not isinstance(found, dict):
            raise UserError(f"{self} {key} = {found!r}: write it as a {name} table")
        return _Table(self.path, name, found)

    def take(self, key: str, hint: Any, default: Any = _NOTHING) -> Any:
        """A value of the type that `hint` says."""
        if key not in self.values:
            if default is _NOTHING:
                raise UserError(f"{self} has no {key}, which a plan needs")
            return default
        value = self.values[key]
        try:
            return _typed(hint, value, self.path.parent)
        except _WrongType as wrong:
            raise UserError(f"{self} {key} = {value!r}: {wrong} is wanted") from None

    def config(
        self,
        cls: Callable[..., C],
        known: tuple[str, ...],
        also: tuple[str, ...] = (),
        **given: Any,
    ) -> C:
        """The table as a config; `known` are the fields that the night fills in."""
        hints = typing.get_type_hints(cls)
        fields = {f.name: f for f in dataclasses.fields(cls) if f.name not in known}  # type: ignore[arg-type]
        self.require_known((*fields, *also))
        values = {key: self.take(key, hints[key]) for key in self.values if key in fields}
        for name, field in fields.items():
            if field.default is dataclasses.MISSING and name not in values:
                raise UserError(f"{self} has no {name}, which a plan needs")
        try:
            return cls(**values, **given)
        except UserError as error:
            raise UserError(f"{self} {error}") from None


class _WrongType(Exception):  # noqa: N818 - says what is wanted
    pass


def _typed(hint: Any, value: Any, base: Path) -> Any:
    """A TOML value as the type of a config's field; _WrongType says what is wanted."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = [option for option in options if option is not types.NoneType]
        return _typed(hint, value, base)
    if origin is typing.Literal:
        if value in options and isinstance(value, str):
            return value
        raise _WrongType("one of " + ", ".join(map(str, options)))
    if origin is tuple:
        return _typed_tuple(options, value, base)
    if hint is Path and isinstance(value, str) and value:
        return (base / Path(value).expanduser()).absolute()
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is hint:
        return value
    raise _WrongType(_WORDS.get(hint, str(hint)))


def _typed_tuple(options: tuple[Any, ...], value: Any, base: Path) -> tuple[Any, ...]:
    many = options[-1] is Ellipsis
    words = f"a list of {'' if many else f'{len(options)} '}{_WORDS[options[0]].split(' ', 1)[1]}s"
    if not isinstance(value, list) or (not many and len(value) != len(options)):
        raise _WrongType(words)
    try:
        return tuple(_typed(options[0], item, base) for item in value)
    except _WrongType:
        raise _WrongType(words) from None


_WORDS: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "a true or false",
    Path: "a path",
}
