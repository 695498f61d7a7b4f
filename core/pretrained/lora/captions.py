"""What is said of a training picture: its own caption, or its class in a template."""

from string import Formatter
from typing import Any

from core.errors import UserError

_MOST = 2000
"""Characters of a caption: encoders read 77 tokens."""


def check_template(template: str) -> None:
    """UserError when a template holds braces other than {label}."""
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UserError(f"--caption {template!r} is no template ({error}): {{label}} is") from None
    if fields - {"label"}:
        unknown = ", ".join(sorted(fields - {"label"}))
        raise UserError(f"--caption {template!r} names {unknown!r}; only {{label}} is known")


def caption_of(label: str, own: Any, template: str) -> str:
    """A picture's caption: what is told of itself where that is text, else the template's."""
    if isinstance(own, str) and own.strip():
        return " ".join(own.split())[:_MOST]
    return template.format(label=label.replace("_", " "))
