"""Merging copies into the one that is kept: what changes, and what people must decide.

A merge is one action of the log. The others point to the kept one from then on and are out of every
page, ranking and revision; their votes count for it, as it shows what they show.
"""

import dataclasses
from collections.abc import Sequence

from sqlalchemy import Connection

from core.errors import UserError
from curation_app.indexing.duplicates import Rated, best_of
from curation_app.records import Change, Picture
from curation_app.store import copies
from curation_app.store.actions import TAG

_LIKED = ("keep", "maybe")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What a curator decided about a group."""

    ids: tuple[int, ...]
    keep: int | None = None
    """The picture to keep; None: the best one."""
    label: str | None = None
    """Its class; None: the one that they are all in."""


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
    `strict`, so is one that wants a decision. UserError when that is missing, or cannot be.
    """
    ids = [one for choice in choices for one in choice.ids]
    held = {one.id: one for one in copies.held(connection, ids)}
    wanted: dict[tuple[int, str], Change] = {}
    for choice in choices:
        pictures = [held[one] for one in dict.fromkeys(choice.ids) if one in held]
        undecided = choice.label is None and len(_labels(pictures)) > 1
        if len(pictures) < 2 or (undecided and not strict):
            continue
        changes = _merge(connection, pictures, choice)
        if any((one.picture_id, one.field) in wanted for one in changes):
            raise UserError("one picture is in several of these groups: merge them one by one")
        wanted |= {(one.picture_id, one.field): one for one in changes}
    return list(wanted.values())


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
