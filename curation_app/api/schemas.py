"""The shapes of what the API answers, as JSON Schema; records are read off their dataclasses."""

import dataclasses
import types
import typing
from collections.abc import Collection as Names
from collections.abc import Mapping
from typing import Any

from curation_app.packs.shelf import Broken
from curation_app.progress.figures import Figures
from curation_app.records import ROLES, STATES, Picture
from curation_app.tasks import Task

_PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def ref(name: str) -> dict[str, str]:
    """A shape by its name in SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def many(item: Mapping[str, Any]) -> dict[str, Any]:
    """A list of one shape."""
    return {"type": "array", "items": dict(item)}


def by_name(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object with any names and values of one shape."""
    return {"type": "object", "additionalProperties": dict(value)}


def thing(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object with just these properties, all of them there."""
    return {
        "type": "object",
        "properties": {name: dict(value) for name, value in properties.items()},
        "required": sorted(properties),
        "additionalProperties": False,
    }


def or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """That shape, or null."""
    return {"anyOf": [dict(schema), {"type": "null"}]}


def of_record(record: type, *, hidden: Names[str] = ()) -> dict[str, Any]:
    """A dataclass as `dataclasses.asdict` and `jsonify` write it."""
    hints = typing.get_type_hints(record)
    shown = [field.name for field in dataclasses.fields(record) if field.name not in hidden]
    return thing(**{name: _of_type(hints[name]) for name in shown})


def _of_type(hint: Any) -> dict[str, Any]:
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        (one,) = [argument for argument in arguments if argument is not types.NoneType]
        return or_null(_of_type(one))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return of_record(hint)
    if typing.get_origin(hint) in (tuple, list):
        return many(_of_type(arguments[0]))
    if typing.get_origin(hint) in (dict, Mapping):
        return by_name(_of_type(arguments[1]))
    return {}


TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
FIGURE = {"type": "number"}
TRUTH = {"type": "boolean"}
DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ERROR = ref("Error")
SEE = thing(see=TEXT)
ANY = {"type": "object"}
COUNTS = {"type": "object", "additionalProperties": NUMBER}

_FILE = {"sha256": DIGEST, "size_bytes": NUMBER, "url": TEXT}
_PICTURE = of_record(Picture, hidden=("place", "item", "facts"))
_PICTURE["properties"]["state"] = {"enum": list(STATES)}

_PACK: dict[str, Mapping[str, Any]] = {
    "digest": TEXT,
    "name": TEXT,
    "licence": TEXT,
    "redistributable": or_null(TRUTH),
    "count": NUMBER,
    "labels": COUNTS,
    "zip": or_null(thing(**_FILE)),
    "url": TEXT,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "Error": {
        "type": "object",
        "properties": {"error": TEXT},
        "required": ["error"],
        "description": "What is wrong, in one line for people.",
    },
    "Picture": _PICTURE,
    "WholePicture": thing(
        **_PICTURE["properties"],
        facts={"type": "object", "description": "What was measured when it was opened."},
    ),
    "Acted": thing(
        action=or_null(NUMBER),
        repeated=TRUTH,
        changed=NUMBER,
        pictures=many(ref("Picture")),
        counts=or_null(COUNTS),
        undoes=or_null(NUMBER),
        can_undo=TRUTH,
        can_redo=TRUTH,
    ),
    "Collection": thing(
        id=NUMBER,
        name=TEXT,
        kind={"enum": ["pictures", "samples"]},
        opened=TRUTH,
        counts=by_name(COUNTS),
    ),
    "Curator": thing(id=NUMBER, name=TEXT, role={"enum": list(ROLES)}, active=TRUTH),
    "Task": of_record(Task),
    "Pack": thing(**_PACK),
    "WholePack": thing(
        **_PACK,
        facts=ANY,
        refused=many(thing(picture=TEXT, reason=TEXT)),
        found=NUMBER,
        stickers=many(ref("Sticker")),
        next=or_null(NUMBER),
    ),
    "BrokenPack": of_record(Broken),
    "Progress": of_record(Figures),
    "Pair": thing(
        left=ref("Picture"),
        right=ref("Picture"),
        label=TEXT,
        repeats=or_null(NUMBER),
        progress=thing(pictures=NUMBER, votes=NUMBER, unseen=NUMBER, per_picture=FIGURE),
    ),
    "Copies": thing(
        ids=many(NUMBER),
        kind=TEXT,
        likeness=FIGURE,
        labels=many(TEXT),
        keep=NUMBER,
        pictures=many(ref("Picture")),
    ),
    "Sticker": thing(
        pack=TEXT,
        number=NUMBER,
        name=TEXT,
        label=TEXT,
        alt=TEXT,
        seed=or_null(NUMBER),
        tags=many(TEXT),
        figures=by_name({"type": ["number", "boolean"]}),
        svg=thing(**_FILE),
        pngs=many(thing(**_FILE, side_px=NUMBER)),
        url=TEXT,
    ),
}
"""Every shape that has a name."""
