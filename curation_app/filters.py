"""Which pictures to show: a filter and an order, as the URL states them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from core.errors import UserError
from curation_app.records import STATES

ORDERS = ("first", "best", "worst", "unsure")
"""By id; by score, down and up; by the score's deviation, down."""
MAX_ID = 2**63 - 1
"""The largest id that a database holds."""
MAX_TEXT = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter; what is None does not narrow it."""

    collection: int | None = None
    label: str | None = None
    state: str | None = None
    tag: str | None = None
    flag: str | None = None
    source: str | None = None
    stars: int | None = None
    """At least so many; 0: those without any."""
    score: float | None = None
    """At least."""
    side_px: int | None = None
    """The shorter side is at least this."""
    text: str | None = None
    """Part of the name, class, source or a tag."""
    merged: bool = False
    """Those that were merged into another one, instead of all others."""
    order: str = "first"

    def within(self, collection_id: int) -> "Filter":
        """The same filter on one collection."""
        return dataclasses.replace(self, collection=collection_id)

    def but(self, **values: Any) -> dict[str, Any]:
        """The arguments of this filter with some values changed: a link to there."""
        return dataclasses.replace(self, **values).arguments()

    def arguments(self) -> dict[str, Any]:
        """As URL arguments, without what says nothing."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        return values | ({"merged": 1} if self.merged else {})


def parse_filter(arguments: Mapping[str, str]) -> Filter:
    """Read a filter from URL arguments; UserError names the one that is wrong."""
    values: dict[str, Any] = {}
    for name in ("label", "state", "tag", "flag", "source", "text"):
        if arguments.get(name):
            values[name] = _text(name, arguments[name])
    for name in ("collection", "stars", "side_px"):
        if arguments.get(name):
            values[name] = whole_number(arguments[name], name)
    if arguments.get("score"):
        values["score"] = _number("score", arguments["score"])
    values["merged"] = arguments.get("merged", "") not in ("", "0")
    values["order"] = arguments.get("order") or "first"
    for name, allowed in (("state", STATES), ("order", ORDERS)):
        if name in values and values[name] not in allowed:
            raise UserError(f"{name} is {values[name]!r}: one of {', '.join(allowed)}")
    if values.get("stars", 0) > 5:
        raise UserError(f"stars is {values['stars']}: 0 to 5")
    return Filter(**values)


def whole_number(text: str, what: str) -> int:
    """A number that can be an id or a count; UserError when it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_ID):
        raise UserError(f"{what} is not a whole number")
    return int(text)


def _text(name: str, value: str) -> str:
    if len(value) > MAX_TEXT:
        raise UserError(f"{name} has {len(value)} characters: at most {MAX_TEXT} are allowed")
    if "\0" in value:
        raise UserError(f"{name} holds a NUL")
    return value


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise UserError(f"{name} is {value!r}, which is no number") from None
    if not abs(number) < 1e6:
        raise UserError(f"{name} is {value}: give a number between -1000000 and 1000000")
    return number
