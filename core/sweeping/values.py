"""Values of a config's fields, as people write them: `base_channels=64,128`.

A value is what would follow the field's flag; one of several words (`64 128`) is a tuple.
"""

import dataclasses
import difflib
import math
import random
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from core.config import config_to_dict
from core.errors import UserError
from core.training.config import TrainConfig

ALIASES = {"schedule": "noise_schedule"}
"""Shorter names of fields."""
BASE_CHANNELS = "base_channels"
CLASSES = "classes"
"""The classes of the data that are kept, several of them separated by spaces."""
_CHANNEL_STEP = 32
_RANGE = ".."
_LOGARITHMIC_FROM = 10
"""A range whose ends are so many times apart is drawn from by its logarithm."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """A field that a sweep varies."""

    name: str
    """As people wrote it."""
    values: tuple[str, ...]
    """Texts; a single one of LOW..HIGH is a range."""

    @property
    def range(self) -> tuple[str, str] | None:
        """The ends, where it is a range."""
        low, found, high = self.values[0].partition(_RANGE)
        return (low, high) if found and len(self.values) == 1 else None


def parse_axis(text: str) -> Axis:
    """Read NAME=VALUE,VALUE…; UserError for an unknown field, or a value that it cannot take."""
    name, found, rest = text.partition("=")
    name = name.strip().removeprefix("--").replace("-", "_")
    values = tuple(value.strip() for value in rest.split(","))
    if not found or not all(values):
        raise UserError(
            f"--grid {text!r}: write NAME=VALUE,VALUE, such as base_channels=64,128 (no value may "
            "be empty)"
        )
    _require_known(name)
    axis = Axis(name=name, values=values)
    for value in axis.range or values:
        read_value(name, value)
    return axis


def with_values(config: TrainConfig, chosen: Mapping[str, str]) -> TrainConfig:
    """The config with these fields set; `classes` is none. UserError when it refuses a value."""
    changes: dict[str, Any] = {}
    for name, text in chosen.items():
        if name == BASE_CHANNELS:
            base = int(read_value(name, text))
            changes["block_channels"] = widened(config.block_channels, base)
        elif name != CLASSES:
            changes[ALIASES.get(name, name)] = read_value(name, text)
    try:
        return dataclasses.replace(config, **changes)
    except UserError as error:
        said = " ".join(f"{name}={text}" for name, text in chosen.items())
        raise UserError(f"--grid {said}: {error}") from None


def value_shown(config: TrainConfig, classes: tuple[str, ...], name: str) -> str:
    """A field's value in a run, as it would be written."""
    if name == CLASSES:
        return " ".join(classes) or "all"
    if name == BASE_CHANNELS:
        return str(config.block_channels[0])
    value = config_to_dict(config)[ALIASES.get(name, name)]
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def widened(block_channels: tuple[int, ...], base: int) -> tuple[int, ...]:
    """All levels wider or narrower in the ratio of the first, in multiples of 32."""
    ratio = base / block_channels[0]
    return tuple(
        base if level == 0 else max(1, round(width * ratio / _CHANNEL_STEP)) * _CHANNEL_STEP
        for level, width in enumerate(block_channels)
    )


def drawn(axis: Axis, dice: random.Random) -> str:
    """One of the values, or a number of the range with three digits."""
    ends = axis.range
    if ends is None:
        return dice.choice(axis.values)
    low, high = (float(read_value(axis.name, end)) for end in ends)
    if low > 0 and high / low >= _LOGARITHMIC_FROM:
        value = math.exp(dice.uniform(math.log(low), math.log(high)))
    else:
        value = dice.uniform(low, high)
    whole = isinstance(read_value(axis.name, ends[0]), int)
    return str(round(value)) if whole else f"{value:.3g}"


def read_value(name: str, text: str) -> Any:
    """A field's value, typed; UserError says what it takes."""
    if name == CLASSES:
        return tuple(text.split())
    hint = int if name == BASE_CHANNELS else _hints()[ALIASES.get(name, name)]
    try:
        value = _read(hint, text)
    except ValueError:
        raise UserError(f"--grid {name}: {text!r} is not {_wanted(hint)}") from None
    if name == BASE_CHANNELS and (value <= 0 or value % _CHANNEL_STEP):
        raise UserError(f"--grid {name}: {text} is not a multiple of {_CHANNEL_STEP} above 0")
    return value


def _read(hint: Any, text: str) -> Any:
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal:
        if text not in arguments:
            raise ValueError
        return text
    if kind is tuple:
        return tuple(_read(arguments[0], word) for word in text.split() if text != "none")
    if kind in (types.UnionType, typing.Union):
        return None if text.lower() == "none" else _read(arguments[0], text)
    if hint is bool:
        return _BOOLEANS[text.lower()] if text.lower() in _BOOLEANS else int("x")
    if hint is float and not math.isfinite(float(text)):
        raise ValueError
    return hint(text)


def _wanted(hint: Any) -> str:
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal:
        return "one of " + ", ".join(arguments)
    if kind is tuple:
        return f"{_wanted(arguments[0])} or several of them, in quotes"
    names = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    return names.get(hint, "a value of it")


_BOOLEANS = {**dict.fromkeys(("true", "yes", "on"), True),
             **dict.fromkeys(("false", "no", "off"), False)}  # fmt: skip


def _hints() -> dict[str, Any]:
    return typing.get_type_hints(TrainConfig)


def _require_known(name: str) -> None:
    known = sorted({*_hints(), *ALIASES, BASE_CHANNELS, CLASSES})
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UserError(f"--grid: a training has no field {name!r}{hint}; known are {', '.join(known)}")
