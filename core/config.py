"""A job's config: one frozen, keyword-only dataclass that holds all that the result depends on.

A config validates itself (`__post_init__` raises UserError), becomes command-line flags through
tyro (in `jobs`), and is saved beside what it made as `config.json`.
"""

import dataclasses
import typing
from pathlib import Path
from typing import Any, TypeVar

from core.errors import UserError
from core.files import digest_of, read_json, write_json

UNSAID = {"unsaid": True}
"""Metadata of a field that came later: at its default, digests are what they were without it."""


def config_to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values (paths become strings, tuples lists)."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def config_digest(config: Any) -> str:
    """SHA-256 (hex) of the config's values: two runs with equal digests do the same work."""
    return digest_of(said_values(config))


def said_values(config: Any) -> dict[str, Any]:
    """The values that the digest is of: all, but later fields at their defaults (`UNSAID`)."""
    values = config_to_dict(config)
    for field in dataclasses.fields(config):
        if field.metadata.get("unsaid") and values[field.name] == _plain(field.default):
            del values[field.name]
    return values


def save_config(config: Any, path: Path) -> None:
    """Write the config as JSON, atomically."""
    write_json(path, config_to_dict(config))


C = TypeVar("C")


def load_config(cls: type[C], path: Path) -> C:
    """Read a config written by `save_config`; UserError names unknown or missing fields."""
    values = read_json(path)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise UserError(f"{path} has unknown fields {unknown}; known are {sorted(fields)}")
    hints = typing.get_type_hints(cls)
    try:
        return cls(**{name: _typed(hints[name], value) for name, value in values.items()})
    except TypeError as error:
        raise UserError(f"{path} does not describe a {cls.__name__}: {error}") from None


def differing_fields(left: Any, right: Any) -> list[str]:
    """Names of the fields in which two configs of one type differ."""
    first, second = config_to_dict(left), config_to_dict(right)
    return [name for name in first if first[name] != second[name]]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return config_to_dict(value)
    return value


def _typed(hint: Any, value: Any) -> Any:
    """Undo `_plain` for the types that configs use: Path, tuples, and optional ones of these."""
    options = typing.get_args(hint) if typing.get_origin(hint) is not tuple else (hint,)
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and (hint is Path or Path in options):
        return Path(value)
    return value
