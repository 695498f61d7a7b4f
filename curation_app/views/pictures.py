"""Pictures: the grid, one picture, its bytes, and everything that curators say about them."""

import json
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from core.data.decode import UnreadableError
from core.errors import UserError
from curation_app import thumbnails
from curation_app.context import (
    acting,
    collection_of,
    curator,
    get_app,
    needs,
    reading,
    wants_json,
)
from curation_app.filters import MAX_ID, ORDERS, parse_filter, whole_number
from curation_app.records import (
    ARTEFACTS,
    STATES,
    VOTES,
    Acted,
    Change,
    Collection,
    Picture,
    as_json,
)
from curation_app.security import own_page
from curation_app.store import actions, collections, pictures
from curation_app.wording import parse_change

PAGE_SIZE = 60
MOST_AT_ONCE = 200_000
_LARGE = 20_000
"""Pictures; counting these takes as long as everything else on a page."""

blueprint = Blueprint("pictures", __name__)
_ID = f"<int(max={MAX_ID}):picture_id>"


@blueprint.get("/")
def grid() -> ResponseReturnValue:
    """A page of pictures; the URL holds the filter, so that it can be kept and shared."""
    wanted = parse_filter(request.args)
    ends = {
        name: whole_number(request.args[name], name)
        for name in ("after", "before")
        if request.args.get(name)
    }
    with reading() as connection:
        known = collections.all_collections(connection)
        collection = collection_of(known, wanted.collection)
        which = wanted.within(collection.id)
        page = pictures.page(connection, which, PAGE_SIZE, **ends)
        if wants_json():
            return jsonify(
                pictures=[as_json(picture) for picture in page.pictures],
                earlier=page.earlier,
                later=page.later,
            )
        if request.args.get("part"):
            return render_template("part.html", page=page, **_words())
        steps = _steps(connection)
    counts = counted(collection.id)
    return render_template(
        "grid.html",
        collection=collection,
        collections=known,
        which=which,
        ends=ends,
        page=page,
        counts=counts,
        menus=_menus(collection.id, counts),
        orders=ORDERS,
        unusable=sorted(get_app().unusable.get(collection.id, {}).items()),
        **_words(),
        **steps,
    )


@blueprint.get(f"/pictures/{_ID}")
def show(picture_id: int) -> ResponseReturnValue:
    """Everything about one picture."""
    picture, collection = find(picture_id)
    if wants_json():
        return jsonify(as_json(picture) | {"facts": json.loads(picture.facts)})
    with reading() as connection:
        steps = _steps(connection)
    return render_template(
        "picture.html",
        picture=picture,
        collection=collection,
        facts=json.loads(picture.facts),
        item=json.loads(picture.item),
        **_words(),
        **steps,
    )


@blueprint.get(f"/pictures/{_ID}/original")
def original(picture_id: int) -> Response:
    """A picture's bytes, or a PNG of it where browsers do not know its format."""
    picture, collection = find(picture_id)
    if _is_known(picture.sha256):
        return _unchanged(picture.sha256)
    try:
        data = get_app().workspace.read(collection, picture)
        shown, media_type = thumbnails.for_browsers(data)
    except UnreadableError as error:
        abort(422, f"{picture.name} cannot be shown: {error}.")
    return _image(shown, media_type, picture.sha256)


@blueprint.get(f"/pictures/{_ID}/thumbnail")
def thumbnail(picture_id: int) -> Response:
    """A small preview; made again where it is missing."""
    picture, collection = find(picture_id)
    workspace = get_app().workspace
    path = thumbnails.thumbnail_path(workspace.previews, picture.sha256)
    if _is_known(path.name):
        return _unchanged(path.name)
    data = thumbnails.kept_thumbnail(path)
    if data is None:
        try:
            data = thumbnails.make_thumbnail(workspace.read(collection, picture))
        except UnreadableError as error:
            abort(422, f"{picture.name} cannot be shown: {error}.")
        thumbnails.keep_thumbnail(path, data)
    return _image(data, thumbnails.media_type(data), path.name)


@blueprint.post("/act")
@needs("curator")
def act() -> ResponseReturnValue:
    """Give a value to some pictures, or to all that a filter finds, as one action.

    `do` says what: `state:keep`, `stars:4`, `tag:extra ear`, `untag:extra ear`, `label:frog`; or
    its first half, and `text` the rest.
    """
    field, value = parse_change(request.form.get("do", ""), request.form.get("text"))
    ids = _meant()
    wanted = [Change(picture_id=one, field=field, value=value) for one in ids]
    kind = field.partition(":")[0]

    def record(connection: Any) -> Acted:
        return actions.act(connection, curator().id, kind, wanted, key=key_of_request())

    return acted(acting(record))


@blueprint.post("/undo")
@needs("curator")
def undo() -> ResponseReturnValue:
    """Take back the last thing that this curator did.

    `expected` names the action that the page shows as the last: another one is not taken back.
    """
    text = request.form.get("expected")
    expected = whole_number(text, "expected") if text else None

    def record(connection: Any) -> Acted:
        me = curator().id
        return actions.undo(connection, me, expected_id=expected, key=key_of_request())

    return acted(acting(record))


@blueprint.post("/redo")
@needs("curator")
def redo() -> ResponseReturnValue:
    """Bring back what was last taken back."""
    return acted(
        acting(lambda connection: actions.redo(connection, curator().id, key=key_of_request()))
    )


def acted(result: Acted) -> ResponseReturnValue:
    """Answer an action: a script gets what changed, a form comes back to its page."""
    for listener in get_app().listeners:
        listener(result)
    some = result.picture_ids[: 2 * PAGE_SIZE]
    if not wants_json():
        place = f"picture-{some[0]}" if len(some) == 1 else None
        return redirect(back(place), 303)
    with reading() as connection:
        changed = pictures.pictures_of(connection, some)
        steps = _steps(connection)
        first = changed[0].collection_id if changed else None
    return jsonify(
        action=result.action_id,
        repeated=result.repeated,
        changed=len(result.picture_ids),
        pictures=[as_json(picture) for picture in changed],
        counts=None if first is None else state_counts(counted(first)),
        undoes=steps["can_undo"],
        **{name: value is not None for name, value in steps.items()},
    )


def back(place: str | None = None) -> str:
    """The page that a form came from: its `to`, when that is one of ours."""
    to = own_page(request.form.get("to", "")) or url_for("pictures.grid")
    return to if place is None else f"{to.partition('#')[0]}#{place}"


def key_of_request() -> str | None:
    """The client's own name for this request, so that sent twice it acts once."""
    key = request.form.get("key") or request.headers.get("Idempotency-Key")
    if key is not None and not (8 <= len(key) <= 64 and key.isascii() and key.isprintable()):
        raise UserError("the key is 8 to 64 printable ASCII characters, such as a UUID")
    return key


def find(picture_id: int) -> tuple[Picture, Collection]:
    """A picture that is there, and its collection; else 404."""
    with reading() as connection:
        found = pictures.picture(connection, picture_id)
        if found is None:
            abort(404, "There is no such picture.")
        known = collections.all_collections(connection)
    return found, next(one for one in known if one.id == found.collection_id)


def counted(collection_id: int) -> dict[str, dict[str, int]]:
    """Class to state to number of pictures; of a large collection, as of some seconds ago."""
    return get_app().tallies.value(
        ("counts", collection_id),
        lambda connection: pictures.counts(connection, collection_id),
        at_once=lambda found: sum(sum(row.values()) for row in found.values()) < _LARGE,
    )


def _menus(collection_id: int, counts: dict[str, dict[str, int]]) -> dict[str, list[str]]:
    """The tags, flags and sources to choose from; as old as the counts."""
    is_small = sum(sum(row.values()) for row in counts.values()) < _LARGE
    return get_app().tallies.value(
        ("menus", collection_id),
        lambda connection: pictures.names_of(connection, collection_id),
        at_once=lambda _: is_small,
    )


def state_counts(by_class: dict[str, dict[str, int]], label: str | None = None) -> dict[str, int]:
    """State to number of pictures, of one class or of all."""
    chosen = [row for name, row in by_class.items() if label in (None, name)]
    return {state: sum(row[state] for row in chosen) for state in STATES}


def _meant() -> list[int]:
    """The pictures that a request names one by one, or by a filter."""
    if request.form.get("all"):
        which = parse_filter(request.args)
        with reading() as connection:
            known = collections.all_collections(connection)
            one = collection_of(known, which.collection)
            ids = pictures.ids_of(connection, which.within(one.id))
    else:
        ids = [whole_number(text, "picture") for text in request.form.getlist("picture")]
    if not ids:
        raise UserError("no picture is chosen: choose some first")
    if len(ids) > MOST_AT_ONCE:
        raise UserError(f"{len(ids)} pictures at once: narrow the filter to {MOST_AT_ONCE}")
    return ids


def _steps(connection: Any) -> dict[str, int | None]:
    mine = curator().id
    return {
        "can_undo": actions.last_done(connection, mine),
        "can_redo": actions.last_undone(connection, mine),
    }


def _words() -> dict[str, Any]:
    return {"states": STATES, "votes": VOTES, "artefacts": ARTEFACTS, "state_counts": state_counts}


def _is_known(etag: str) -> bool:
    """Whether the browser has these bytes already; then no file need be read."""
    return request.if_none_match.contains_weak(etag)


def _unchanged(etag: str) -> Response:
    return _tagged(Response(status=304), etag)


def _image(data: bytes, media_type: str, etag: str) -> Response:
    return _tagged(Response(data, mimetype=media_type), etag)


def _tagged(response: Response, etag: str) -> Response:
    response.set_etag(etag)
    # A digest names these bytes for ever, but who may see them is asked each time.
    response.headers["Cache-Control"] = "private, no-cache"
    return response
