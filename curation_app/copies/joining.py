"""Merging copies into the one that is kept: what changes, and what people must decide.

A merge is one action of the log. The others point to the kept one from then on and are out of every
page, ranking and revision; their votes count for it, as it shows what they show.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection
from werkzeug.datastructures import MultiDict

from core.errors import UserError
from curation_app.filters import whole_number
from curation_app.indexing.duplicates import Rated, best_of
from curation_app.records import Change, Picture
from curation_app.store import copies
from curation_app.store.actions import TAG

MOST_PICTURES = 20_000
"""In one action."""
_LIKED = ("keep", "maybe")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What a curator decided about a group."""

    ids: tuple[int, ...]
    keep: int | None = None
    """The picture to keep; None: the best one."""
    label: str | None = None
    """Its class; None: the one that they are all in."""


def read_choices(form: MultiDict[str, str]) -> tuple[list[Choice], int | None]:
    """What a form says about its groups; and the first id of the group that follows an `only`.

    `views.duplicates.merge` says what is in it. UserError names what makes no sense.
    """
    groups = [_ids(text) for text in form.getlist("group")]
    firsts = [one[0] for one in groups]
    following = None
    if form.get("only"):
        only = whole_number(form["only"], "only")
        if only not in firsts:
            raise UserError(f"only is {only}, which begins none of the groups")
        at = firsts.index(only)
        near = firsts[at + 1 : at + 2] or firsts[max(0, at - 1) : at]
        following = near[0] if near else None
        groups = [groups[at]]
    if not groups or sum(len(one) for one in groups) > MOST_PICTURES:
        raise UserError(f"give at least one group, and at most {MOST_PICTURES} pictures")
    kept = {
        whole_number(text, name)
        for name, texts in form.lists()
        for text in texts
        if name == "keep" or name.startswith("keep-")
    }
    return [_choice(form, one, kept) for one in groups], following


def _choice(form: MultiDict[str, str], ids: tuple[int, ...], kept: set[int]) -> Choice:
    label = form.get(f"label-{ids[0]}") or form.get("label")
    wanted = kept.intersection(ids)
    if len(wanted) > 1:
        raise UserError("several pictures of one group are to be kept: choose one, merge the rest")
    return Choice(ids=ids, keep=next(iter(wanted), None), label=label or None)


def _ids(text: str) -> tuple[int, ...]:
    ids = tuple(dict.fromkeys(whole_number(one, "group") for one in text.split()))
    if not ids:
        raise UserError("group is empty: give ids of pictures, with blanks between them")
    return ids


def best(pictures: Sequence[Picture]) -> Picture:
    """The one that is kept unless a curator chooses: a rejected one only where all are."""
    liked = [one for one in pictures if one.state != "reject"] or list(pictures)
    rated = [
        Rated(
            score=one.score,
            width_px=one.width_px,
            height_px=one.height_px,
            size_bytes=one.size_bytes,
        )
        for one in liked
    ]
    return liked[best_of(rated)]


def merging(
    connection: Connection, choices: Sequence[Choice], *, strict: bool = True
) -> list[Change]:
    """What merging these groups changes.

    A group of which fewer than two pictures are left is left out, as others merge too; unless
    `strict`, so is one that wants a decision, or that somebody has told apart. UserError when a
    decision is missing, or cannot be.
    """
    ids = [one for choice in choices for one in choice.ids]
    held = {one.id: one for one in copies.held(connection, ids)}
    apart: dict[int, set[tuple[int, str]]] = {}
    for one in {picture.collection_id for picture in held.values()}:
        apart |= copies.apart(connection, one)
    wanted: dict[tuple[int, str], Change] = {}
    for choice in choices:
        pictures = [held[one] for one in dict.fromkeys(choice.ids) if one in held]
        undecided = choice.label is None and len(_labels(pictures)) > 1
        if len(pictures) < 2:
            continue
        if not strict and (undecided or _told_apart(pictures, apart)):
            continue
        changes = _merge(connection, pictures, choice)
        if any((one.picture_id, one.field) in wanted for one in changes):
            raise UserError("one picture is in several of these groups: merge them one by one")
        wanted |= {(one.picture_id, one.field): one for one in changes}
    return list(wanted.values())


def _told_apart(pictures: Sequence[Picture], apart: Mapping[int, set[tuple[int, str]]]) -> bool:
    """Whether somebody said of two of them that they are not the same."""
    names = collections.Counter(name for one in pictures for name in apart.get(one.id, ()))
    return max(names.values(), default=0) > 1


def _merge(connection: Connection, pictures: Sequence[Picture], choice: Choice) -> list[Change]:
    if len({one.collection_id for one in pictures}) > 1:
        raise UserError("pictures of several collections cannot be merged: import one of them")
    kept = next((one for one in pictures if one.id == choice.keep), None)
    if choice.keep is not None and kept is None:
        raise UserError("the picture to keep is gone or merged already: reload the page")
    kept = kept or best(pictures)
    others = [one for one in pictures if one.id != kept.id]
    along = copies.followers(connection, [one.id for one in others])
    into = [
        Change(picture_id=one, field="merged_into", value=str(kept.id))
        for one in (*(other.id for other in others), *along)
    ]
    said = {TAG + tag: "1" for other in others for tag in other.tags}
    said |= {"merged_into": "", "label": _label(pictures, kept, choice.label)}
    said |= _opinions(kept, others)
    return into + [
        Change(picture_id=kept.id, field=field, value=value) for field, value in said.items()
    ]


def _label(pictures: Sequence[Picture], kept: Picture, chosen: str | None) -> str:
    labels = _labels(pictures)
    if chosen is not None:
        if chosen not in labels:
            raise UserError(f"the class {chosen!r} is none of theirs: {', '.join(labels)}")
        return chosen
    if len(labels) > 1:
        raise UserError(
            f"{kept.name} and its copies are in several classes ({', '.join(labels)}): choose one"
        )
    return labels[0] if labels else ""


def _labels(pictures: Sequence[Picture]) -> list[str]:
    """The classes that they are in."""
    return sorted({one.label for one in pictures} - {""})


def _opinions(kept: Picture, others: Sequence[Picture]) -> dict[str, str]:
    """What was said of the others, where nothing was said of the kept one.

    That a copy was rejected says nothing about this one: it may have been for being a copy.
    """
    states = {one.state for one in others}
    state = next((one for one in _LIKED if one in states), None)
    stars = max(one.stars for one in others)
    found = {"state": state} if state and kept.state == "unseen" else {}
    return found | ({"stars": str(stars)} if stars and not kept.stars else {})
