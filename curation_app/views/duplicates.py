"""Duplicates: search for copies, look at the groups, merge them or tell them apart."""

import bisect
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from core.errors import UserError
from curation_app.context import (
    acting,
    collection_of,
    curator,
    get_app,
    needs,
    reading,
    wants_json,
)
from curation_app.copies import finding, joining
from curation_app.copies.finding import NEAR_BITS, Copies, Group, Listing
from curation_app.copies.joining import Choice, read_choices
from curation_app.filters import MAX_TEXT, whole_number
from curation_app.indexing.duplicates import KINDS
from curation_app.indexing.hashing import MOST_DISTANCE
from curation_app.records import Acted, Collection, Picture, as_json
from curation_app.store import actions, collections, copies
from curation_app.store.pictures import pictures_of
from curation_app.tasks import Task
from curation_app.views.pictures import acted, back, counted, key_of_request

PAGE_GROUPS = 24
PAGE_PICTURES = 200
"""A page ends with the group that reaches this."""
SHOWN_OF_GROUP = 60
WORDS = {
    "exact": "the same bytes",
    "encoded": "encoded or scaled anew",
    "near": "nearly the same",
    "augmented": "shifted, turned, zoomed or mirrored",
}
"""What people are told of each of KINDS."""

blueprint = Blueprint("duplicates", __name__, url_prefix="/duplicates")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slide:
    """Which groups to show, as the URL says it."""

    collection: int
    distance: int = NEAR_BITS
    augmented: bool = True
    kind: str | None = None
    label: str | None = None

    def arguments(self) -> dict[str, Any]:
        """As URL arguments."""
        values = dataclasses.asdict(self) | {"augmented": int(self.augmented)}
        return {name: value for name, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """A group with what is shown of its pictures."""

    group: Group
    pictures: list[Picture]
    """The first ones, if there are many."""
    keep: int
    """The picture that is kept unless somebody chooses."""


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Groups of copies; the URL holds the slider and the filter.

    `distance` (0 to 16 bits) limits near copies; `augmented=0` leaves out those that were shifted,
    turned, zoomed or mirrored.
    """
    collection, slide = _wanted()
    listing = finder().listing(collection.id, slide.distance, augmented=slide.augmented)
    chosen = [one for one in listing.groups if _fits(one, slide)]
    groups, earlier, later = _page(chosen, _end("after"), _end("before"))
    shown = _shown(groups)
    if wants_json():
        answer = _facts(listing) | {"found": len(chosen), "earlier": earlier, "later": later}
        return jsonify(answer | {"groups": [_as_json(one) for one in shown]})
    return render_template(
        "duplicates.html",
        **_common(collection),
        slide=slide,
        listing=listing,
        found=len(chosen),
        pictures=sum(len(one.ids) for one in chosen),
        shown=shown,
        earlier=earlier,
        later=later,
        kinds=_by_kind(listing.groups),
        labels=list(counted(collection.id)),
        most_bits=MOST_DISTANCE,
    )


@blueprint.get("/merged")
def merged() -> ResponseReturnValue:
    """Pictures that others were merged into, with those others."""
    collection = _collection()
    with reading() as connection:
        found, later = copies.merged(
            connection, collection.id, PAGE_GROUPS, after=_end("after") or 0
        )
    if wants_json():
        return jsonify(
            merged=[
                {
                    "kept_id": one.kept_id,
                    "kept": as_json(one.kept) if one.kept else None,
                    "others": [as_json(other) for other in one.others],
                }
                for one in found
            ],
            later=later,
        )
    return render_template("duplicates.html", **_common(collection), merged=found, later=later)


@blueprint.get("/apart")
def apart() -> ResponseReturnValue:
    """Sets of pictures that were told apart, the latest first."""
    collection = _collection()
    found, later = _told_apart(collection.id, _end("after"))
    if wants_json():
        sets = [{"action": one, "pictures": [as_json(two) for two in some]} for one, some in found]
        return jsonify(apart=sets, later=later)
    return render_template("duplicates.html", **_common(collection), apart=found, later=later)


@blueprint.post("/search")
@needs("curator")
def search() -> ResponseReturnValue:
    """Search for copies among all pictures of a collection, in the background."""
    app, collection = get_app(), _collection()
    title = f"Searching {collection.name} for copies"
    link = url_for("duplicates.index", collection=collection.id)

    def work(task: Task) -> None:
        def watch(what: str, share: float) -> None:
            task.unit = f"%: {what}"
            task.report(round(100 * share), 100)

        links = finding.search(app.engine, app.workspace, collection, watch)
        task.link, task.result = link, f"{links:,} pairs of copies found"

    going = [one for one in app.tasks.all() if one.title == title and not one.finished]
    task = going[0] if going else app.tasks.start("copies", title, work)
    return redirect(url_for("tasks.show", task_id=task.id), 303)


@blueprint.post("/merge")
@needs("curator")
def merge() -> ResponseReturnValue:
    """Merge groups of copies, as one action.

    Each `group` is a list of ids; `keep` names pictures to keep (by default the best of each group)
    and `label-ID` or `label` the class of a group whose pictures are in several, ID being the first
    of the list. `only` is the ID of the one group that is meant. Of several groups, those that want
    a decision are left out.
    """
    choices, following = _choices()

    def record(connection: Connection) -> Acted:
        wanted = joining.merging(connection, choices, strict=len(choices) == 1)
        return actions.act(connection, curator().id, "merge", wanted, key=key_of_request())

    result = acting(record)
    if result.action_id is None:
        raise UserError(
            "nothing was merged: these groups want a decision about their class, or were merged "
            "by somebody else; reload the page"
        )
    return _answer(result, following)


@blueprint.post("/apart")
@needs("curator")
def tell_apart() -> ResponseReturnValue:
    """Say that the pictures of a `group` are no copies of each other: it is not shown again."""
    choices, following = _choices()
    sets = [choice.ids for choice in choices]
    if min(len(one) for one in sets) < 2:
        raise UserError("it takes two pictures to tell them apart: give two ids or more")
    key = key_of_request()
    result = acting(lambda connection: copies.set_apart(connection, curator().id, sets, key))
    return _answer(result, following)


@blueprint.post("/together")
@needs("curator")
def bring_together() -> ResponseReturnValue:
    """Take back that the pictures of a `group` were told apart."""
    choices, following = _choices()
    ids = [one for choice in choices for one in choice.ids]
    key = key_of_request()
    result = acting(lambda connection: copies.bring_together(connection, curator().id, ids, key))
    return _answer(result, following)


@blueprint.post("/separate")
@needs("curator")
def separate() -> ResponseReturnValue:
    """Take merged pictures (`picture`) out again, or all that were merged into `kept`.

    What the kept picture was given stays with it; undo takes that back as well.
    """
    ids = [whole_number(text, "picture") for text in request.form.getlist("picture")]
    kept = [whole_number(text, "kept") for text in request.form.getlist("kept")]
    if not ids and not kept:
        raise UserError("no picture is named: give `picture`, or `kept`")
    key = key_of_request()

    def record(connection: Connection) -> Acted:
        which = [*ids, *copies.followers(connection, kept)]
        return copies.separate(connection, curator().id, which, key)

    return _answer(acting(record), None)


def finder() -> Copies:
    """What makes the groups, and remembers them."""
    app = get_app()
    found = app.parts.get("copies")
    if found is None:
        found = app.parts.setdefault("copies", Copies(app.engine))
    return found  # type: ignore[no-any-return]


def _wanted() -> tuple[Collection, Slide]:
    collection = _collection()
    arguments = request.args
    distance = whole_number(arguments.get("distance") or str(NEAR_BITS), "distance")
    if distance > MOST_DISTANCE:
        raise UserError(f"distance is {distance}: 0 to {MOST_DISTANCE} bits")
    kind = arguments.get("kind") or None
    if kind is not None and kind not in KINDS:
        raise UserError(f"kind is {kind!r}: one of {', '.join(KINDS)}")
    return collection, Slide(
        collection=collection.id,
        distance=distance,
        # A box that is not ticked sends nothing: a hidden field before it says 0.
        augmented=arguments.getlist("augmented")[-1:] != ["0"],
        kind=kind,
        label=(arguments.get("label") or "")[:MAX_TEXT] or None,
    )


def _collection() -> Collection:
    number = request.args.get("collection")
    wanted = whole_number(number, "collection") if number else None
    with reading() as connection:
        return collection_of(collections.all_collections(connection), wanted)


def _common(collection: Collection) -> dict[str, Any]:
    """What the head of each of the three pages needs."""
    mine = curator().id
    with reading() as connection:
        return {
            "collection": collection,
            "collections": collections.all_collections(connection),
            "merged_count": copies.count_merged(connection, collection.id),
            "can_undo": actions.last_done(connection, mine),
            "can_redo": actions.last_undone(connection, mine),
            "words": WORDS,
            "most_shown": SHOWN_OF_GROUP,
        }


def _fits(group: Group, slide: Slide) -> bool:
    return slide.kind in (None, group.kind) and (slide.label is None or slide.label in group.labels)


def _by_kind(groups: Sequence[Group]) -> dict[str, int]:
    found: dict[str, int] = dict.fromkeys(KINDS, 0)
    for one in groups:
        found[one.kind] += 1
    return found


def _end(name: str) -> int | None:
    return whole_number(request.args[name], name) if request.args.get(name) else None


def _page(
    groups: Sequence[Group], after: int | None, before: int | None
) -> tuple[list[Group], bool, bool]:
    """Groups that fit on a page, and whether there are more on either side; keyed by first id."""
    firsts = [one.ids[0] for one in groups]
    if before is not None:
        end = bisect.bisect_left(firsts, before)
        page = _budget(groups[end - 1 :: -1] if end else [])[::-1]
        return page, len(page) < end, end < len(groups)
    start = bisect.bisect_right(firsts, after) if after is not None else 0
    page = _budget(groups[start:])
    return page, start > 0, start + len(page) < len(groups)


def _budget(groups: Sequence[Group]) -> list[Group]:
    sizes = itertools.accumulate(min(len(one.ids), SHOWN_OF_GROUP) for one in groups)
    before = itertools.chain([0], sizes)
    return [
        one for one, size in zip(groups[:PAGE_GROUPS], before, strict=False) if size < PAGE_PICTURES
    ]


def _shown(groups: Sequence[Group]) -> list[Shown]:
    found = []
    with reading() as connection:
        for group in groups:
            pictures = _pictures(connection, group.ids)
            if len(pictures) > 1:  # else somebody merged them just now
                best = joining.best(pictures)
                ordered = [best, *(one for one in pictures if one.id != best.id)]
                found.append(Shown(group=group, pictures=ordered[:SHOWN_OF_GROUP], keep=best.id))
    return found


def _pictures(connection: Connection, ids: Sequence[int]) -> list[Picture]:
    chunks = (ids[start : start + 500] for start in range(0, len(ids), 500))
    return [
        one for some in chunks for one in pictures_of(connection, some) if one.merged_into is None
    ]


def _told_apart(
    collection_id: int, after: int | None
) -> tuple[list[tuple[int, list[Picture]]], bool]:
    """Action and pictures of each set; those of one action are on one page."""
    sets: dict[tuple[int, str], list[int]] = {}
    with reading() as connection:
        for picture_id, names in copies.apart(connection, collection_id).items():
            for name in names:
                sets.setdefault(name, []).append(picture_id)
        known = sorted((name for name in sets if after is None or name[0] < after), reverse=True)
        page = known[:PAGE_GROUPS]
        page += [name for name in known[PAGE_GROUPS:] if page and name[0] == page[-1][0]]
        found = [(name[0], _pictures(connection, sorted(sets[name]))) for name in page]
    return [(action, some) for action, some in found if len(some) > 1], len(page) < len(known)


def _choices() -> tuple[list[Choice], str | None]:
    """What a form says about its groups, and where on the page people go on."""
    choices, following = read_choices(request.form)
    return choices, None if following is None else f"group-{following}"


def _answer(result: Acted, following: str | None) -> ResponseReturnValue:
    answer = acted(result)  # tells whoever listens
    return answer if wants_json() else redirect(back(following), 303)


def _facts(listing: Listing) -> dict[str, Any]:
    return {"searched_at": listing.at, "news": listing.news, "within": listing.within}


def _as_json(shown: Shown) -> dict[str, Any]:
    return {
        "ids": list(shown.group.ids),
        "kind": shown.group.kind,
        "likeness": round(shown.group.likeness, 4),
        "labels": list(shown.group.labels),
        "keep": shown.keep,
        "pictures": [as_json(one) for one in shown.pictures],
    }
