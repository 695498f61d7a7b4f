"""Prompts from templates: `a {colour} {animal} sticker`, with values drawn by a picture's seed.

    {colour}        a wildcard; its values come from --wild colour=red,green or colour=@colours.txt
    {red|green}     values in place
    {{ and }}       braces

A prompt depends on its seed alone: neither on how many pictures there are nor on other wildcards.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from core.errors import UserError
from core.files import digest_bytes
from core.pretrained.asked import check_labels
from core.pretrained.listening.animals import IS_A, NAMED_BY
from core.seeds import mixed_seed

Order = Literal["turn", "random"]
UNNAMED = "picture"
"""Label of a picture whose prompt names no animal."""

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_WILDCARD = re.compile(r"[^\W\d][\w-]*")
_LABELLING = ("animal", "label", "class")
"""Wildcards that name the class, the first one that a prompt has."""
_TEMPLATE = 1
"""Sets the choice of a template apart from those of its wildcards."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
    """What one picture is asked to be."""

    text: str
    label: str
    """Its class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompts:
    """Templates and the values of their wildcards. UserError when they do not fit each other."""

    templates: tuple[str, ...]
    wild: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Values by wildcard."""
    order: Order = "turn"
    """turn: seed 0 takes the first template, seed 1 the second, and so on, around; random: any."""
    label: str = ""
    """The class of all pictures, wildcards allowed; empty: told from each prompt."""

    def __post_init__(self) -> None:
        if not self.templates:
            raise UserError("there is no prompt: give --prompt TEXT or --prompts FILE")
        used: set[str] = set()
        for template in (*self.templates, self.label):
            used |= self._checked(template)
        if unused := sorted(set(self.wild) - used):
            raise UserError(
                f"--wild {unused[0]} is used by no prompt: write {{{unused[0]}}} where its values "
                "belong, or leave it out"
            )

    def of(self, seed: int) -> Prompt:
        """The prompt of a picture."""
        place = seed if self.order == "turn" else mixed_seed(seed, _TEMPLATE)
        template = self.templates[place % len(self.templates)]
        text = " ".join(self._filled(template, seed).split())
        return Prompt(text=text, label=self._label_of(template, text, seed))

    def labels(self, seeds: Sequence[int]) -> tuple[str, ...]:
        """The classes of pictures, in the order of the alphabet; UserError for no file's name."""
        found = tuple(sorted({self.of(seed).label for seed in seeds}))
        check_labels(found)
        return found

    def facts(self) -> dict[str, Any]:
        """All that prompts depend on, as plain values: `prompts_from` reads them."""
        return {
            "templates": list(self.templates),
            "wild": {name: list(values) for name, values in sorted(self.wild.items())},
            "order": self.order,
            "label": self.label,
        }

    def _checked(self, template: str) -> set[str]:
        """The wildcards of a template, all of which have values."""
        names = _wildcards(template)
        if missing := sorted(names - set(self.wild)):
            known = ", ".join(sorted(self.wild)) or "none"
            raise UserError(
                f"{template!r} has the wildcard {{{missing[0]}}} and there are no values for it "
                f"(known: {known}): give --wild {missing[0]}=ONE,OTHER or write {{ONE|OTHER}}"
            )
        return names

    def _label_of(self, template: str, text: str, seed: int) -> str:
        if self.label:
            return " ".join(self._filled(self.label, seed).split())
        named = [name for name in _LABELLING if name in _wildcards(template)]
        return self._value(named[0], seed) if named else animal_named(text) or UNNAMED

    def _filled(self, template: str, seed: int) -> str:
        def value(piece: re.Match[str]) -> str:
            if piece[1] is None:
                return piece[0][0]
            if "|" in piece[1]:
                return _drawn(piece[1].split("|"), f"{piece.start()} {piece[1]}", seed)
            return self._value(piece[1], seed)

        return _PIECE.sub(value, template)

    def _value(self, name: str, seed: int) -> str:
        return _drawn(self.wild[name], name, seed)


def read_prompts(path: Path) -> tuple[str, ...]:
    """The lines of a text file, without empty ones and `#` comments; UserError when none is left.

    Raises UserError too when the file is missing or is no UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = "is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"{path}: {why}: give a text file with one entry a line") from None
    stripped = (line.strip() for line in lines)
    kept = tuple(line for line in stripped if line and not line.startswith("#"))
    if not kept:
        raise UserError(f"{path} has no entry: write one a line (a line with # is a comment)")
    return kept


def read_wild(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Wildcards of NAME=ONE,OTHER and NAME=@FILE; UserError names the first that is neither."""
    wild: dict[str, tuple[str, ...]] = {}
    for entry in given:
        name, equals, values = (part.strip() for part in entry.partition("="))
        if not equals or not _WILDCARD.fullmatch(name):
            raise UserError(f"--wild {entry!r} must be NAME=ONE,OTHER or NAME=@FILE")
        if name in wild:
            raise UserError(f"--wild {name} is given twice: put all its values into one")
        if values.startswith("@"):
            wild[name] = read_prompts(Path(values[1:]))
        else:
            wild[name] = tuple(filter(None, (value.strip() for value in values.split(","))))
        if not wild[name] or any(brace in "".join(wild[name]) for brace in "{}"):
            raise UserError(f"--wild {name} needs one value or more, without braces")
    return wild


def prompts_from(facts: Mapping[str, Any]) -> Prompts:
    """The prompts that `Prompts.facts` told of."""
    wild = {name: tuple(values) for name, values in facts["wild"].items()}
    return Prompts(
        templates=tuple(facts["templates"]), wild=wild, order=facts["order"], label=facts["label"]
    )


def animal_named(text: str) -> str | None:
    """The first animal that a text names, in the singular; None when it names none we know."""
    known: set[str] = {*NAMED_BY, *IS_A.values()}
    words: list[str] = re.findall(r"[a-z]+", text.lower())
    for word in words:
        for candidate in (word, word.removesuffix("s"), word.removesuffix("es")):
            if candidate in known:
                return candidate
    return None


def read_seeds(text: str) -> tuple[int, ...]:
    """Seeds of ranges such as `0-63` or `7,100-131`, rising; UserError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not 0 <= last - first < 10_000_000 or (seeds and first <= seeds[-1]):
            raise UserError(
                f"--seeds {text!r} must be ranges that rise, such as 0-63 or 7,100-131, each at "
                "most 10 million long"
            )
        seeds += range(first, last + 1)
    return tuple(seeds)


def _drawn(values: Sequence[str], name: str, seed: int) -> str:
    number = int(digest_bytes(name.encode())[:12], 16)
    return values[mixed_seed(seed, number) % len(values)].strip()


def _wildcards(template: str) -> set[str]:
    """Names of a template's wildcards; UserError for a lone brace or what is no name."""
    names = set()
    for piece in _PIECE.finditer(template):
        if piece[0] in ("{{", "}}"):
            continue
        if piece[1] is None or not ("|" in piece[1] or _WILDCARD.fullmatch(piece[1])):
            raise UserError(
                f"{template!r} has {piece[0]} where a wildcard such as {{animal}} was expected: "
                "name it with letters, or write {{ and }} for braces"
            )
        if "|" not in piece[1]:
            names.add(piece[1])
    return names
