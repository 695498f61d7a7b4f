"""What the API's routes take and answer, where their docstrings and types cannot say it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from curation_app.api.schemas import ANY, NUMBER, TEXT, TRUTH, many, or_null, ref, thing
from curation_app.filters import MAX_TEXT, ORDERS
from curation_app.records import OUTCOMES, STATES

INTRODUCTION = (
    "Every route here is one of the app's pages, asked by a script: it answers JSON, takes forms "
    "(application/x-www-form-urlencoded), and does what the page does, under the same rules. "
    "Whatever changes something needs a script token, sent as `Authorization: Bearer …`, and a "
    "role that may. Votes are a log: undo is an event, and an `Idempotency-Key` makes a request "
    "that is sent twice act once. Long lists come in pages: ask again with the id or number that "
    "the last page ended with."
)
PEOPLE_ONLY = frozenset(
    {
        *("accounts.login", "accounts.enter", "accounts.leave", "accounts.leave_everywhere"),
        "ranking.show",
    }
)
"""Routes that the API does not offer: sessions are for browsers, scripts have tokens; and the page
of ranking hands out pairs, for which scripts have a route of their own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operation:
    """What one route takes and answers."""

    query: tuple[str, ...] = ()
    """Names in ARGUMENTS."""
    form: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Form field to its schema."""
    required: tuple[str, ...] = ()
    """Form fields that must be there."""
    takes_key: bool = False
    """Whether an Idempotency-Key makes it act once."""
    uploads: bool = False
    """Whether it takes files."""
    starts_work: bool = False
    """Whether it answers with where to ask for what becomes of it."""
    answer: Mapping[str, Any] = dataclasses.field(default_factory=lambda: ANY)
    answers: str = ""
    """A sentence about the answer."""
    media_types: tuple[str, ...] = ()
    """Of bytes, in place of a JSON answer."""


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {
        "description": description,
        "schema": {"type": "string", "maxLength": MAX_TEXT, **more},
    }


def _number(description: str, most: int | None = None) -> dict[str, Any]:
    bounds = {} if most is None else {"maximum": most}
    return {"description": description, "schema": {"type": "integer", "minimum": 0, **bounds}}


def _choice(description: str, *values: str) -> dict[str, Any]:
    return {"description": description, "schema": {"enum": list(values)}}


ARGUMENTS: dict[str, dict[str, Any]] = {
    "collection": _number("Id of the collection; without it, the first one that was opened."),
    "label": _text("Only this class."),
    "state": _choice("Only pictures in this state.", *STATES),
    "tag": _text("Only pictures with this tag."),
    "flag": _text("Only pictures with this quality flag."),
    "source": _text("Only pictures from this source."),
    "stars": _number("At least so many stars; 0: those without any.", 5),
    "score": {"description": "At least this score.", "schema": {"type": "number"}},
    "side_px": _number("The shorter side has at least so many pixels."),
    "text": _text("Part of the name, class, source or a tag."),
    "merged": _choice("1: those that were merged into another one.", "0", "1"),
    "order": _choice("The order of the list.", *ORDERS),
    "after": _number("The page after this one: the id, or the number, that the last ended with."),
    "before": _number("The page before the picture of this id."),
    "download": _choice("1: to be saved under its own name.", "1"),
    "distance": _number("Near copies differ in at most so many of 64 bits.", 16),
    "augmented": _choice("0: without shifted, turned, zoomed or mirrored copies.", "0", "1"),
    "kind": _text("Only this kind of group, or of what an import finds."),
    "page": _number("Which page, from 1."),
    "without": _text("A tag whose samples the export leaves out; may come several times."),
    "against": _text("Another revision, or `now`: what differs is answered as well."),
}
"""URL arguments by name: each means the same everywhere."""

FILTER = (
    *("collection", "label", "state", "tag", "flag", "source", "stars", "score", "side_px"),
    *("text", "merged", "order"),
)
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_PICTURES = {"type": "array", "items": {"type": "integer"}, "description": "Ids of pictures."}
_GROUP = {
    "group": many({"type": "string", "description": "Ids of one group, with commas between."}),
}
_CHOICES = {
    "licence": TEXT,
    "choice-KEY": {"type": "string", "description": "What becomes of the picture of that key."},
    "label-KEY": {"type": "string", "description": "Its class."},
    "kind-KIND": {"type": "string", "description": "What becomes of all of that kind."},
    "class-CLASS": {"type": "string", "description": "What that class is called here."},
}
_ACTED = Operation(takes_key=True, answer=ref("Acted"), answers="What it changed.")

OPERATIONS: dict[str, Operation] = {
    "pictures.grid": Operation(
        query=(*FILTER, "after", "before"),
        answer=thing(pictures=many(ref("Picture")), earlier=TRUTH, later=TRUTH),
        answers="A page of pictures, and whether there are more on either side.",
    ),
    "pictures.show": Operation(
        answer=ref("WholePicture"),
        answers="The picture, and what was measured of it.",
    ),
    "pictures.original": Operation(media_types=_IMAGES),
    "pictures.thumbnail": Operation(media_types=("image/webp", "image/png", "image/jpeg")),
    "pictures.act": dataclasses.replace(
        _ACTED,
        query=FILTER,
        form={
            "do": {
                "type": "string",
                "description": "`state:keep`, `stars:4`, `tag:NAME`, `untag:NAME`, `label:NAME`; "
                "or its first half, and `text` the rest.",
            },
            "text": TEXT,
            "picture": _PICTURES,
            "all": {"enum": ["1"], "description": "All that the URL's filter finds."},
        },
        required=("do",),
    ),
    "pictures.undo": _ACTED,
    "pictures.redo": _ACTED,
    "ranking.following": Operation(
        query=("collection", "label"),
        answer=ref("Pair"),
        answers="Two pictures to compare; `repeats` is to be sent back with the answer.",
    ),
    "ranking.judged": Operation(
        form={
            "left": NUMBER,
            "right": NUMBER,
            "outcome": {"enum": list(OUTCOMES)},
            "repeats": NUMBER,
        },
        required=("left", "right", "outcome"),
        takes_key=True,
        answers="The two pictures with their new scores.",
    ),
    "ranking.refit": Operation(query=("collection", "label"), answers="The work that it began."),
    "progress.index": Operation(query=("collection",), answer=ref("Progress")),
    "duplicates.index": Operation(
        query=("collection", "distance", "augmented", "kind", "label", "after", "before"),
        answer={
            "type": "object",
            "properties": {"groups": many(ref("Copies")), "found": NUMBER},
            "required": ["groups", "found"],
        },
    ),
    "duplicates.merged": Operation(query=("collection", "after")),
    "duplicates.apart": Operation(query=("collection", "after")),
    "duplicates.search": Operation(query=("collection",), starts_work=True),
    "duplicates.merge": dataclasses.replace(
        _ACTED,
        form={
            **_GROUP,
            "keep": _PICTURES | {"description": "Ids of the pictures to keep."},
            "label": TEXT,
            "only": {"type": "integer", "description": "The first id of the one group meant."},
        },
        required=("group",),
    ),
    "duplicates.tell_apart": dataclasses.replace(_ACTED, form=_GROUP, required=("group",)),
    "duplicates.bring_together": dataclasses.replace(_ACTED, form=_GROUP, required=("group",)),
    "duplicates.separate": dataclasses.replace(
        _ACTED, form={"picture": _PICTURES, "kept": _PICTURES}
    ),
    "merging.index": Operation(answer=thing(imports=many(ANY))),
    "merging.start": Operation(
        query=("collection",),
        uploads=True,
        form={
            "from": {"enum": ["files", "urls", "path", "hub", "collection"]},
            "files": many({"type": "string", "format": "binary"}),
            "urls": TEXT,
            "list": {"type": "string", "format": "binary"},
            "path": TEXT,
            "hub": TEXT,
            "collection": NUMBER,
        },
        required=("from",),
        starts_work=True,
    ),
    "merging.show": Operation(query=("kind", "page")),
    "merging.choose": Operation(form=_CHOICES),
    "merging.apply": Operation(
        form={**_CHOICES, "plan": TEXT}, required=("plan",), starts_work=True
    ),
    "merging.discard": Operation(starts_work=True),
    "merging.picture": Operation(media_types=_IMAGES),
    "quality.index": Operation(query=("collection",)),
    "samples.index": Operation(query=("collection", "without")),
    "samples.approve": Operation(query=("collection",)),
    "samples.search": Operation(query=("collection",), starts_work=True),
    "samples.closest": Operation(query=("collection", "after")),
    "samples.training": Operation(media_types=("image/png",)),
    "tasks.index": Operation(answer=thing(tasks=many(ref("Task")))),
    "tasks.show": Operation(answer=ref("Task")),
    "packs.index": Operation(
        query=("text", "label", "tag", "after"),
        answer=thing(
            packs=many(ref("Pack")),
            broken=many(ref("BrokenPack")),
            stickers=many(ref("Sticker")),
            found=NUMBER,
            next=or_null(NUMBER),
        ),
    ),
    "packs.show": Operation(query=("text", "label", "tag", "after"), answer=ref("WholePack")),
    "packs.sticker": Operation(answer=ref("Sticker")),
    "packs.svg": Operation(query=("download",), media_types=("image/svg+xml", "text/plain")),
    "packs.png": Operation(query=("download",), media_types=("image/png",)),
    "packs.document": Operation(
        query=("download",), media_types=("text/plain", "application/json", "image/png")
    ),
    "packs.checksums": Operation(media_types=("text/plain",)),
    "packs.zipped": Operation(media_types=("application/zip",)),
    "accounts.index": Operation(
        answer=thing(you=ref("Curator"), accounts=many(ref("Curator"))),
        answers="Oneself; for administrators, everybody.",
    ),
    "accounts.add": Operation(
        form={"name": TEXT, "role": TEXT, "password": TEXT},
        required=("name", "role", "password"),
        answer=thing(done=TEXT),
    ),
    "accounts.change_password": Operation(
        form={"current": TEXT, "password": TEXT, "again": TEXT},
        required=("current", "password"),
        answer=thing(done=TEXT),
    ),
    "accounts.change_role": Operation(
        form={"role": TEXT}, required=("role",), answer=thing(done=TEXT)
    ),
    "accounts.change_active": Operation(
        form={"active": {"enum": ["0", "1"]}}, required=("active",), answer=thing(done=TEXT)
    ),
    "accounts.reset_password": Operation(
        form={"password": TEXT, "again": TEXT}, required=("password",), answer=thing(done=TEXT)
    ),
    "revisions.index": Operation(
        query=("collection",), answer=thing(revisions=many(ANY), kept=NUMBER)
    ),
    "revisions.show": Operation(query=("collection", "against")),
    "revisions.freeze": Operation(query=("collection",), starts_work=True),
    "revisions.verify": Operation(query=("collection",), starts_work=True),
    "revisions.thumbnail": Operation(
        query=("collection",), media_types=("image/webp", "image/png", "image/jpeg")
    ),
    "api.me": Operation(answer=ref("Curator")),
    "api.collections": Operation(
        answer=thing(collections=many(ref("Collection"))),
        answers="Every collection, with how many pictures of each class are in each state.",
    ),
}
"""By endpoint."""
