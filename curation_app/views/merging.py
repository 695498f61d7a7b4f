"""Bring in: read pictures from elsewhere, look at what would change, choose, and do it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from core.data.decode import UnreadableError
from core.errors import UserError
from curation_app import thumbnails
from curation_app.context import collection_of, curator, get_app, needs, reading, wants_json
from curation_app.filters import whole_number
from curation_app.imports import merging
from curation_app.imports.deciding import ACTION_WORDS, KIND_WORDS, card_json, decided, page_of
from curation_app.imports.lending import CollectionOrigin
from curation_app.imports.waiting import READY, Import
from curation_app.intake.candidates import UNLABELLED
from curation_app.intake.fetch import Rules
from curation_app.intake.links import MOST_BYTES, LinkOrigin, parse_links
from curation_app.intake.origins import Origin
from curation_app.intake.places import check_local, open_hub, open_place
from curation_app.intake.plan import CHOICES, KINDS, MergePlan
from curation_app.intake.uploads import Upload, receive
from curation_app.intake.words import clean_name
from curation_app.records import Collection
from curation_app.security import MAX_UPLOAD_BYTES, takes_uploads
from curation_app.store import collections
from curation_app.views.pictures import counted

blueprint = Blueprint("merging", __name__, url_prefix="/bring-in")
RULES = Rules()
"""Where lists of URLs may lead."""
LICENCES = (
    *("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "MIT", "Apache-2.0"),
    *("LicenseRef-own-work", merging.UNKNOWN),
)
"""Licences that are offered; people write others."""
_PICTURE = "/<import_id>/pictures/<string(length=64):sha256>"


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """From where pictures can be brought in, and what waits for a decision."""
    mine = merging.imports_of(get_app()).of(curator().id)
    if wants_json():
        return jsonify(imports=[_as_json(found) for found in mine])
    with reading() as connection:
        known = collections.all_collections(connection)
    targets = [one for one in known if one.kind == "pictures"]
    collection = _target(targets)
    return render_template(
        "merging.html",
        collection=collection,
        collections=targets,
        others=_others(known, collection),
        imports=mine,
        roots=_roots(),
        limit_mb=MAX_UPLOAD_BYTES // 2**20,
    )


@blueprint.post("/")
@takes_uploads
@needs("curator")
def start() -> ResponseReturnValue:
    """Read pictures in the background: nothing is brought in before somebody has decided.

    `from` says what they come from: `files`, `urls`, `path`, `hub` or `collection`; the field of
    that name has them.
    """
    with reading() as connection:
        known = collections.all_collections(connection)
    collection = _target([one for one in known if one.kind == "pictures"])
    sources: dict[str, Callable[[], tuple[str, Callable[[], Origin]]]] = {
        "files": _uploaded,
        "urls": _listed,
        "path": _at_path,
        "hub": _on_hub,
        "collection": functools.partial(_lent, _others(known, collection)),
    }
    kind = request.form.get("from", "")
    if kind not in sources:
        raise UserError(f"from is {clean_name(kind)!r}: one of {', '.join(sources)}")
    title, open_origin = sources[kind]()
    found = merging.begin(get_app(), curator().id, collection.id, title, open_origin)
    return redirect(url_for("merging.show", import_id=found.id), 303)


@blueprint.get("/<import_id>")
@needs("curator")
def show(import_id: str) -> ResponseReturnValue:
    """What an import would change, kind by kind, with what is chosen so far."""
    found, collection = find(import_id)
    if found.state == READY:
        return _plan_page(found, collection)
    if wants_json():
        return jsonify(_as_json(found))
    task = merging.imports_of(get_app()).task(found.id)
    return render_template("merge_plan.html", collection=collection, found=found, task=task)


@blueprint.post("/<import_id>/choose")
@needs("curator")
def choose(import_id: str) -> ResponseReturnValue:
    """Keep what was chosen so far: for single pictures, kinds, classes, and the licence.

    Fields: `choice-KEY` and `label-KEY` of a picture, `kind-KIND`, `class-CLASS`, `licence`.
    """
    found, planned = _decided(import_id)
    if wants_json():
        return jsonify(_as_json(found) | _summary(found, planned))
    kind, _, number = request.form.get("show", "").partition(":")
    where = {"kind": kind, "page": number} if kind in KINDS else {"kind": None, "page": None}
    return redirect(url_for("merging.show", import_id=found.id, _anchor=None, **where), 303)


@blueprint.post("/<import_id>/apply")
@needs("curator")
def apply(import_id: str) -> ResponseReturnValue:
    """Bring in what was chosen, as one action; `plan` is the mark of the plan that was shown."""
    found, planned = _decided(import_id)
    merging.check_same(planned, request.form.get("plan", ""))
    merging.carry_out(get_app(), found, planned)
    return redirect(url_for("merging.show", import_id=found.id), 303)


@blueprint.post("/<import_id>/discard")
@needs("curator")
def discard(import_id: str) -> ResponseReturnValue:
    """Forget an import, also while it is still being read."""
    found, collection = find(import_id)
    merging.discard(get_app(), found)
    return redirect(url_for("merging.index", collection=collection.id), 303)


@blueprint.get(f"{_PICTURE}/<any(thumbnail, original):how>")
@needs("curator")
def picture(import_id: str, sha256: str, how: str) -> Response:
    """A picture that waits: a preview, or as it came."""
    found, _ = find(import_id)
    imports, workspace = merging.imports_of(get_app()), get_app().workspace
    if found.state != READY or sha256 not in imports.staged(found.id).rows:
        abort(404, "There is no such picture in this import.")
    path = thumbnails.thumbnail_path(workspace.previews, sha256)
    etag = path.name if how == "thumbnail" else sha256
    if request.if_none_match.contains_weak(etag):
        return _image(Response(status=304), etag)
    try:
        data = thumbnails.kept_thumbnail(path) if how == "thumbnail" else None
        data = data or workspace.originals.read(sha256)
        shown, media_type = thumbnails.for_browsers(data)
    except UnreadableError as error:
        abort(422, f"The picture cannot be shown: {error}.")
    return _image(Response(shown, mimetype=media_type), etag)


def find(import_id: str) -> tuple[Import, Collection]:
    """One's own import, and the collection that it is merged into; else 404."""
    found = merging.imports_of(get_app()).find(import_id, curator().id)
    with reading() as connection:
        known = collections.all_collections(connection)
    into = [one for one in known if found is not None and one.id == found.collection_id]
    if found is None or not into:
        abort(404, "There is no such import; it may have been discarded.")
    return found, into[0]


def _target(collections_: list[Collection]) -> Collection:
    number = request.args.get("collection")
    wanted = whole_number(number, "collection") if number else None
    ids = {one.id for one in collections_}
    if wanted is not None and wanted not in ids:
        raise UserError("pictures can be brought into collections alone: choose one of these")
    if not ids:
        raise UserError("no collection is open: start the app with one to bring pictures into it")
    return collection_of(collections_, wanted)


def _others(known: list[Collection], collection: Collection) -> list[Collection]:
    opened = get_app().opened
    return [one for one in known if one.id in opened and one.id != collection.id]


def _roots() -> tuple[Path, ...]:
    """Folders to import from, for those who may."""
    return get_app().settings.import_roots if curator().may("admin") else ()


def _uploaded() -> tuple[str, Callable[[], Origin]]:
    sent = [file for file in request.files.getlist("files") if file.filename]
    if not sent:
        raise UserError("no file was sent: choose pictures or zips first")
    uploads = (Upload(file.filename or "", file.stream) for file in sent)
    origin = receive(uploads, merging.incoming(get_app()), who=curator().name)
    title = clean_name(sent[0].filename or "") if len(sent) == 1 else f"{len(sent):,} files"
    return title, lambda: origin


def _listed() -> tuple[str, Callable[[], Origin]]:
    text = request.form.get("urls", "")
    file = request.files.get("list")
    if file is not None and file.filename:
        data = file.stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UserError(f"the list is larger than {MOST_BYTES // 2**20} MiB: split it")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError("the list is no UTF-8 text: save it as such, or as CSV") from None
    links = parse_links(text)
    app = get_app()
    origin = LinkOrigin(
        links=links,
        originals=app.workspace.originals,
        rules=RULES,
        memory=merging.downloads(app),
    )
    count = len(links.links)
    return f"{count:,} URL{'' if count == 1 else 's'}", lambda: origin


def _at_path() -> tuple[str, Callable[[], Origin]]:
    roots = _roots()
    if not roots:
        abort(403, "Only administrators bring in by path, from the folders of --import-root.")
    path = check_local(request.form.get("path", "").strip(), roots)
    return clean_name(path.name), functools.partial(open_place, path, default_label=UNLABELLED)


def _on_hub() -> tuple[str, Callable[[], Origin]]:
    name = request.form.get("hub", "").strip()
    if not name:
        raise UserError("no data set is named: write OWNER/NAME, as on the Hugging Face hub")
    return clean_name(name), functools.partial(open_hub, name, default_label=UNLABELLED)


def _lent(others: list[Collection]) -> tuple[str, Callable[[], Origin]]:
    wanted = whole_number(request.form.get("collection", ""), "collection")
    lender = next((one for one in others if one.id == wanted), None)
    if lender is None:
        raise UserError("that collection is not open here: choose one that is, and another one")
    app = get_app()
    origin = CollectionOrigin(engine=app.engine, workspace=app.workspace, collection=lender)
    return lender.name, lambda: origin


def _decided(import_id: str) -> tuple[Import, MergePlan]:
    """The import with what the form chooses, which is kept, and the plan that follows from it."""
    imports = merging.imports_of(get_app())
    changed = None
    while changed is None:  # again, when a page's script and its form chose at the same time
        found, _ = find(import_id)
        if found.state != READY:
            raise UserError(f"there is nothing to decide about {found.title}: it is {found.state}")
        planned = merging.plan(get_app(), found)
        decisions = decided(found, planned, imports.staged(found.id), request.form)
        changed = imports.choose(found, decisions)
    renamed = decisions.classes != found.decisions.classes
    return changed, merging.plan(get_app(), changed) if renamed else planned


def _plan_page(found: Import, collection: Collection) -> ResponseReturnValue:
    planned = merging.plan(get_app(), found)
    number = request.args.get("page")
    page = page_of(
        found,
        planned,
        merging.imports_of(get_app()).staged(found.id),
        kind=request.args.get("kind") or None,
        number=whole_number(number, "page") if number else 1,
    )
    summary = _summary(found, planned)
    if wants_json():
        items = [card_json(card) for card in page.cards]
        told = {"kind": page.kind, "page": page.number, "pages": page.pages, "items": items}
        return jsonify(_as_json(found) | summary | told)
    return render_template(
        "merge_plan.html",
        collection=collection,
        found=found,
        page=page,
        labels=sorted(counted(collection.id)),
        licences=LICENCES,
        UNLABELLED=UNLABELLED,
        kind_words=KIND_WORDS,
        action_words=ACTION_WORDS,
        choices=CHOICES,
        **summary,
    )


def _summary(found: Import, planned: MergePlan) -> dict[str, Any]:
    merge = merging.decide(found, planned)
    return {
        "counts": planned.counts(),
        "additions": len(merge.additions),
        "relabels": len(merge.relabels),
        "unlicensed": merging.unlicensed(merge),
        "plan": merging.signature(planned),
    }


def _as_json(found: Import) -> dict[str, Any]:
    names = ("id", "collection_id", "title", "at", "state", "error", "ignored", "result")
    told = {name: getattr(found, name) for name in (*names, "first_id")}
    return told | {"licence": found.decisions.licence}


def _image(response: Response, etag: str) -> Response:
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
