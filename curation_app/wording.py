"""What people say about pictures, as text from a form: read, checked, made a change."""

import unicodedata

from core.errors import UserError
from curation_app.records import STATES
from curation_app.store.actions import TAG

MAX_NAME = 60
KINDS = ("state", "stars", "tag", "untag", "label")


def parse_change(text: str, rest: str | None = None) -> tuple[str, str]:
    """`state:keep`, `stars:4`, `tag:NAME`, `untag:NAME` or `label:NAME` as a field and a value.

    Where the text is the first half alone, `rest` is the second. UserError says what is allowed.
    """
    kind, colon, value = text.partition(":")
    value = value if colon else rest or ""
    if kind not in KINDS:
        raise UserError(f"do is {text!r}: give {', '.join(f'{kind}:…' for kind in KINDS)}")
    if kind == "state":
        if value not in STATES:
            raise UserError(f"the state is {value!r}: one of {', '.join(STATES)}")
        return "state", value
    if kind == "stars":
        if value not in ("0", "1", "2", "3", "4", "5"):
            raise UserError(f"stars is {value!r}: 1 to 5, or 0 for none")
        return "stars", value
    name = check_name(value, "class" if kind == "label" else "tag")
    if kind == "label":
        return "label", name
    return TAG + name, "1" if kind == "tag" else ""


def check_name(text: str, what: str) -> str:
    """A class or tag as it is kept; UserError when it cannot be one.

    A class becomes a folder's name in many tools, so that a slash or a leading dot is refused.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or len(name) > MAX_NAME:
        raise UserError(f"the {what} has {len(name)} characters: 1 to {MAX_NAME} are allowed")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") for character in name):
        raise UserError(f"the {what} {name!r} holds a control character: leave it out")
    if what == "class" and (name.startswith(".") or "/" in name or "\\" in name):
        raise UserError(f"the class {name!r} begins with a dot or holds a slash: leave it out")
    return name
