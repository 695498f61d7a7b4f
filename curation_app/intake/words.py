"""Words from strangers — names, classes, tags — as data: markup stays, control characters go."""

import unicodedata
from collections.abc import Iterable

from core.data.decode import UnreadableError

NAME_LENGTH = 200
LABEL_LENGTH = 100
TAG_LENGTH = 100
NOTE_LENGTH = 2000
MOST_TAGS = 64

_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make a text read in another order than it is: `gpj.exe` as `exe.jpg`."""


def clean(text: str) -> str:
    """A text on one line, in Unicode's composed form; markup passes as it is."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(map(_clean_character, composed)).strip()


def clean_name(name: str) -> str:
    """A picture's name to show; of a long one, its end."""
    text = clean(name) or "unnamed"
    return text if len(text) <= NAME_LENGTH else "…" + text[1 - NAME_LENGTH :]


def clean_label(label: str) -> str:
    """A class; UnreadableError for one too long to be any, since cut ones would become one."""
    text = clean(label)
    if not text:
        raise UnreadableError("its label is empty")
    if len(text) > LABEL_LENGTH:
        raise UnreadableError(f"its label is longer than {LABEL_LENGTH} characters")
    return text


def clean_note(note: str | None) -> str:
    """Where a picture came from, or its licence; empty when nothing is said."""
    return _cut(clean(note or ""), NOTE_LENGTH)


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags in order, each once."""
    found = (_cut(clean(tag), TAG_LENGTH) for tag in tags)
    return tuple(dict.fromkeys(filter(None, found)))[:MOST_TAGS]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _clean_character(character: str) -> str:
    if character.isprintable():
        return character
    if character in _DIRECTIONS:
        return ""
    kind = unicodedata.category(character)
    if kind == "Cs":
        return "\ufffd"
    return " " if kind in ("Cc", "Zl", "Zp") else character
