"""What a curator is shown of an import, page by page, and what the page's form then chooses."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

from core.errors import UserError
from curation_app.imports.waiting import Decisions, Import, Staged
from curation_app.intake.plan import (
    AMBIGUOUS,
    CHOICES,
    CONFLICT,
    KINDS,
    NEAR,
    NEW,
    OURS,
    REFUSED,
    SAME,
    SKIP,
    TAKE,
    THEIRS,
    Choice,
    Item,
    MergePlan,
)
from curation_app.intake.words import clean, clean_note
from curation_app.wording import check_name

PAGE_SIZE = 48
LICENCE_LENGTH = 100
KIND_WORDS = {
    NEW: "New",
    AMBIGUOUS: "New, in several classes",
    CONFLICT: "Here in another class",
    NEAR: "Like another one",
    SAME: "Here already",
    REFUSED: "Refused",
}
ACTION_WORDS = {
    TAKE: "bring in",
    SKIP: "leave out",
    OURS: "keep ours",
    THEIRS: "take theirs",
}
_FIRST = (CONFLICT, AMBIGUOUS, NEAR, NEW, SAME, REFUSED)
"""Kinds in the order in which they need people."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """A picture of an import beside what it meets, and what is chosen for it."""

    item: Item
    action: str
    label: str
    size_wh: tuple[int, int] | None
    twin: str = ""
    """The digest of the import's own picture that it looks like, where none on record does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """Some cards of one kind, and what is said of the whole import."""

    kind: str
    number: int
    pages: int
    cards: list[Card]
    counts: Mapping[str, int]
    standard: str
    """What is done with pictures of this kind, where nothing else was chosen."""
    classes: list[tuple[str, str, int]]
    """Their class, ours, and how many pictures say so."""
    licences: list[tuple[str, int]]
    """Stated licences, with how many pictures state each; without one, the empty text."""


def page_of(
    found: Import, planned: MergePlan, staged: Staged, *, kind: str | None, number: int
) -> Page:
    """A page of an import's plan; by default, the first of what needs a decision most."""
    counts = planned.counts()
    if kind is None:
        kind = next((one for one in _FIRST if counts[one]), NEW)
    if kind not in KINDS:
        raise UserError(f"kind is {clean(kind)[:40]!r}: one of {', '.join(KINDS)}")
    items = planned.of_kind(kind)
    pages = max(1, -(-len(items) // PAGE_SIZE))
    number = min(max(number, 1), pages)
    usable = [one for one in staged.candidates if one.reason is None]
    labels = collections.Counter(one.label for one in usable)
    renamed = found.decisions.classes
    return Page(
        kind=kind,
        number=number,
        pages=pages,
        cards=[
            _card(item, found.decisions, staged)
            for item in items[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
        ],
        counts=counts,
        standard=_standard(kind, found.decisions),
        classes=[(name, renamed.get(name, name), labels[name]) for name in sorted(labels)],
        licences=sorted(collections.Counter(one.licence for one in usable).items()),
    )


def decided(
    found: Import, planned: MergePlan, staged: Staged, form: Mapping[str, str]
) -> Decisions:
    """What was chosen so far with what a form chooses; UserError for what cannot be chosen.

    A form has every field of its page: those that say what was shown already choose nothing, so
    that they follow when their kind is decided otherwise later.
    """
    before = found.decisions
    after = Decisions(
        by_kind={**before.by_kind, **_kinds(form)},
        classes=_classes(before.classes, {one.label for one in staged.candidates}, form),
        licence=_licence(form.get("licence"), before.licence),
    )
    choices = dict(before.choices)
    items = {item.key: item for item in planned.items}
    named = [name.partition("-") for name in form]
    for key in dict.fromkeys(key for what, _, key in named if what in ("choice", "label")):
        if key not in items:
            raise UserError("the import has no such picture by now: reload the page")
        choice = _choice(items[key], before, form)
        if choice is None:
            continue
        if choice == Choice(action=_standard(items[key].kind, after)):
            choices.pop(key, None)
        else:
            choices[key] = choice
    return dataclasses.replace(after, choices=choices)


def card_json(card: Card) -> dict[str, Any]:
    """A card for scripts."""
    item, candidate = card.item, card.item.candidate
    return {
        "key": item.key,
        "kind": item.kind,
        "name": candidate.name,
        "sha256": candidate.sha256,
        "label": card.label,
        "labels": list(item.labels),
        "source": candidate.source,
        "licence": candidate.licence,
        "tags": list(candidate.tags),
        "copies": len(item.also) + 1,
        "known": [dataclasses.asdict(one) for one in item.known],
        "near": item.near,
        "distance": item.distance,
        "reason": candidate.reason,
        "choices": list(item.choices),
        "choice": card.action,
    }


def _card(item: Item, decisions: Decisions, staged: Staged) -> Card:
    action, label = _shown(item, decisions)
    row = staged.rows.get(item.candidate.sha256)
    return Card(
        item=item,
        action=action,
        label=label,
        size_wh=None if row is None else staged.sizes_wh[row],
        twin="" if item.known else item.near,
    )


def _shown(item: Item, decisions: Decisions) -> tuple[str, str]:
    """What a page says is done with an item: the action, and the class."""
    choice = decisions.choices.get(item.key)
    if choice is None or choice.action not in item.choices:
        choice = Choice(action=_standard(item.kind, decisions))
    return choice.action, choice.label or next(iter(item.labels), "")


def _standard(kind: str, decisions: Decisions) -> str:
    return decisions.by_kind.get(kind, CHOICES[kind][0])


def _choice(item: Item, before: Decisions, form: Mapping[str, str]) -> Choice | None:
    """What a form chooses for an item; None when that is what the page showed anyway."""
    action, label = _shown(item, before)
    wanted = form.get(f"choice-{item.key}") or action
    if wanted not in item.choices:
        allowed = ", ".join(item.choices)
        raise UserError(f"{clean(wanted)[:40]!r} cannot be done with that picture: {allowed}")
    named = form.get(f"label-{item.key}", "").strip() or label
    if (wanted, named) == (action, label):
        return None
    own = check_name(named, "class") if named != label else label
    return Choice(action=wanted, label="" if own in item.labels[:1] else own)


def _kinds(form: Mapping[str, str]) -> dict[str, str]:
    chosen = {kind: form[f"kind-{kind}"] for kind in KINDS if form.get(f"kind-{kind}")}
    for kind, action in chosen.items():
        if action not in CHOICES[kind]:
            allowed = ", ".join(CHOICES[kind])
            what = f"{clean(action)[:40]!r} cannot be done with all that are {kind}"
            raise UserError(f"{what}: {allowed}")
    return chosen


def _classes(
    before: Mapping[str, str], theirs: set[str], form: Mapping[str, str]
) -> dict[str, str]:
    found = dict(before)
    for field, text in form.items():
        what, _, name = field.partition("-")
        if what != "class":
            continue
        if name not in theirs:
            raise UserError(f"the import has no class {clean(name)[:100]!r}: reload the page")
        found[name] = name if text.strip() in ("", name) else check_name(text, "class")
    return {name: ours for name, ours in found.items() if ours != name}


def _licence(text: str | None, before: str) -> str:
    if text is None:
        return before
    licence = clean_note(text)
    if len(licence) > LICENCE_LENGTH:
        raise UserError(f"the licence has {len(licence)} characters: {LICENCE_LENGTH} at most")
    return licence
