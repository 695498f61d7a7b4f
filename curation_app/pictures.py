"""Pictures: the grid, the bytes of one, votes and taking them back."""

from typing import Any

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from core.data.decode import UnreadableError
from curation_app import thumbnails
from curation_app.context import get_app, get_store, wants_json
from curation_app.records import STATES, VOTES, Choice, Picture

PAGE_SIZE = 60
MAX_ID = 2**63 - 1  # SQLite's

blueprint = Blueprint("pictures", __name__)
_ID = f"<int(max={MAX_ID}):picture_id>"


@blueprint.get("/")
def grid() -> str:
    """A page of pictures; the URL holds the filter, so that it can be kept and shared."""
    choice = _choice()
    store, shelf = get_store(), get_app().shelf
    page = store.page(choice, PAGE_SIZE)
    return render_template(
        "grid.html",
        collection=shelf.root.name,
        choice=choice,
        # What forms carry along, to come back to this very page.
        here=_arguments(choice),
        filter=_arguments(Choice(label=choice.label, state=choice.state)),
        page=page,
        labels=store.labels(),
        counts=store.counts(choice.label),
        states=STATES,
        votes=VOTES,
        last_vote=store.last_vote(),
        unusable=sorted(shelf.unusable.items()),
        secret=get_app().secret,
    )


@blueprint.get(f"/pictures/{_ID}/original")
def original(picture_id: int) -> Response:
    """A picture's bytes, or a PNG of it where browsers do not know its format."""
    picture = _picture(picture_id)
    if _is_known(picture.sha256):
        return _unchanged(picture.sha256)
    try:
        data, media_type = thumbnails.for_browsers(get_app().shelf.read(picture))
    except UnreadableError as error:
        abort(422, f"{picture.name} cannot be shown: {error}.")
    return _image(data, media_type, picture.sha256)


@blueprint.get(f"/pictures/{_ID}/thumbnail")
def thumbnail(picture_id: int) -> Response:
    """A small preview, made when first asked for."""
    picture = _picture(picture_id)
    shelf = get_app().shelf
    path = thumbnails.thumbnail_path(shelf.thumbnails, picture.sha256)
    if _is_known(path.stem):
        return _unchanged(path.stem)
    if path.is_file():
        return _image(path.read_bytes(), "image/webp", path.stem)
    try:
        data = thumbnails.make_thumbnail(shelf.read(picture))
    except UnreadableError as error:
        abort(422, f"{picture.name} cannot be shown: {error}.")
    thumbnails.keep_thumbnail(path, data)
    return _image(data, "image/webp", path.stem)


@blueprint.post(f"/pictures/{_ID}/vote")
def vote(picture_id: int) -> ResponseReturnValue:
    """Say `keep`, `maybe` or `reject`; recorded for good before it is answered."""
    choice = _choice()
    state = request.form.get("state", "")
    if state not in VOTES:
        abort(400, f"The vote is {state!r}: one of {', '.join(VOTES)}.")
    return _voted(get_store().vote(picture_id, state), choice)


@blueprint.post("/undo")
def undo() -> ResponseReturnValue:
    """Take one vote back, named by its event."""
    choice = _choice()
    event = _whole_number(request.form.get("event", ""), "The event")
    return _voted(get_store().undo(event), choice)


def _voted(picture: Picture | None, choice: Choice) -> ResponseReturnValue:
    if picture is None:
        abort(404, "There is no such picture, or no such vote.")
    if not wants_json():
        here = url_for("pictures.grid", **_arguments(choice), _anchor=f"picture-{picture.id}")
        return redirect(here, 303)
    store = get_store()
    return jsonify(
        id=picture.id,
        name=picture.name,
        state=picture.state,
        counts=store.counts(choice.label),
        last_vote=store.last_vote(),
    )


def _choice() -> Choice:
    """The filter and the place in it, as the URL states them."""
    state = request.args.get("state") or None
    if state not in (None, *STATES):
        abort(400, f"The state is {state!r}: one of {', '.join(STATES)}.")
    ends = {
        key: _whole_number(request.args[key], key)
        for key in ("after", "before")
        if request.args.get(key)
    }
    return Choice(label=request.args.get("label") or None, state=state, **ends)


def _arguments(choice: Choice) -> dict[str, Any]:
    """A choice as URL arguments."""
    named = {key: getattr(choice, key) for key in ("label", "state", "after", "before")}
    return {key: value for key, value in named.items() if value is not None}


def _whole_number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_ID):
        abort(400, f"{what} is not a whole number.")
    return int(text)


def _picture(picture_id: int) -> Picture:
    picture = get_store().picture(picture_id)
    if picture is None:
        abort(404, "There is no such picture.")
    return picture


def _is_known(etag: str) -> bool:
    """Whether the browser has these bytes already; then no file need be read."""
    return request.if_none_match.contains_weak(etag)


def _unchanged(etag: str) -> Response:
    return _tagged(Response(status=304), etag)


def _image(data: bytes, media_type: str, etag: str) -> Response:
    return _tagged(Response(data, mimetype=media_type), etag)


def _tagged(response: Response, etag: str) -> Response:
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
