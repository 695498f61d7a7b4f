"""What is said of a training picture: its own caption, or its class in a template."""

from string import Formatter
from typing import Any

from core.errors import UserError

_MOST = 2000
"""Characters of a caption: encoders read 77 tokens."""


def check_template(template: str) -> None:
    """UserError when a template holds braces other than {label}."""
    try:
        found = [field for field in Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise UserError(f"--caption {template!r} is no template ({error}): {{label}} is") from None
    if unknown := sorted({str(name) for _, name, _, _ in found} - {"label"}):
        names = ", ".join(unknown)
        raise UserError(f"--caption {template!r} names {names!r}; only {{label}} is known")
    if any(form or conversion for _, _, form, conversion in found):
        raise UserError(f"--caption {template!r} has more than a name in its braces: {{label}} is")


def caption_of(label: str, own: Any, template: str) -> str:
    """A picture's caption: what is told of itself where that is text, else the template's."""
    if isinstance(own, str) and own.strip():
        return " ".join(own.split())[:_MOST]
    return template.format(label=label.replace("_", " "))
