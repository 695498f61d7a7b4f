"""Revisions: freeze what is kept, see what differs, verify, and what to run next."""

import datetime
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from core.data.decode import UnreadableError
from curation_app import thumbnails
from curation_app.context import (
    collection_of,
    curator,
    get_app,
    needs,
    reading,
    wants_json,
)
from curation_app.filters import whole_number
from curation_app.records import Collection
from curation_app.revisions import comparing, freezing, frozen
from curation_app.revisions.comparing import Difference
from curation_app.revisions.frozen import Revision
from curation_app.store import collections
from curation_app.store.revisions import at_one_time, ids_of_digests
from curation_app.tasks import Task
from curation_app.views.pictures import counted, state_counts
from curation_app.views.ranking import judge

NOW = "now"
"""Stands for the present state where revisions are compared."""

blueprint = Blueprint("revisions", __name__, url_prefix="/revisions")


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """All revisions of a collection, each with the command that uses it."""
    collection = wanted_collection()
    states = state_counts(counted(collection.id))
    found = _revisions(collection)
    if wants_json():
        return jsonify(revisions=[one.as_json() for one in found], kept=states["keep"])
    return render_template(
        "revisions.html", collection=collection, revisions=found, states=states, NOW=NOW
    )


@blueprint.post("/")
@needs("curator")
def freeze() -> ResponseReturnValue:
    """Freeze the pictures to keep, of all classes, in the background."""
    app, collection, by = get_app(), wanted_collection(), curator().name
    folder = freezing.folder_of(collection, app.settings.revisions)
    pages, fitter = url_for("revisions.index"), judge()

    def work(task: Task) -> None:
        fitter.refit(collection.id)  # between refits, scores depend on the votes' order
        revision, is_new = freezing.freeze(
            app.engine, app.workspace, collection, folder, by=by, report=task.report
        )
        task.link = f"{pages}{revision.slug}?collection={collection.id}"
        what = f"{_number(revision.pictures, 'picture')} in {revision.slug}"
        task.result = what if is_new else f"{what}, which held just these already"

    task = app.tasks.start("freeze", f"Freezing {collection.name}", work)
    return redirect(url_for("tasks.show", task_id=task.id), 303)


@blueprint.get("/<slug>")
def show(slug: str) -> ResponseReturnValue:
    """One revision; with `against`, what differs from another one, or from the present (`now`)."""
    collection = wanted_collection()
    revision = find(collection, slug)
    against = request.args.get("against", "")
    difference = _difference(collection, revision, against) if against else None
    ids: dict[str, int] = {}
    if difference is not None:
        with reading() as connection:
            ids = ids_of_digests(connection, collection.id, difference.digests)
    verified = get_app().parts.get("verified", {}).get(revision.digest)
    if wants_json():
        facts = revision.as_json() | {"verified": verified}
        compared = _slugs(collection, revision, against) | _as_json(difference, ids)
        return jsonify(facts | ({"difference": compared} if against else {}))
    return render_template(
        "revision.html",
        collection=collection,
        revision=revision,
        revisions=_revisions(collection),
        against=against,
        difference=difference,
        slugs=_slugs(collection, revision, against),
        ids=ids,
        verified=verified,
        NOW=NOW,
    )


@blueprint.post("/<slug>/verify")
@needs("curator")
def verify(slug: str) -> ResponseReturnValue:
    """Read every file of a revision again, in the background."""
    app, collection = get_app(), wanted_collection()
    revision = find(collection, slug)
    link = url_for("revisions.show", slug=slug, collection=collection.id)

    def work(task: Task) -> None:
        wrong = frozen.verify(revision, task.report)
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        app.parts.setdefault("verified", {})[revision.digest] = {"at": at, "wrong": wrong}
        task.link = link
        pictures = _number(revision.pictures, "picture")
        task.result = f"{pictures} and their rows are as they were frozen"
        if wrong:
            task.result = ""
            task.error = f"{slug} is not as it was frozen: {'; '.join(wrong[:3])}"

    task = app.tasks.start("verify", f"Verifying {slug}", work)
    return redirect(url_for("tasks.show", task_id=task.id), 303)


@blueprint.get("/<slug>/pictures/<string(length=64):sha256>")
def thumbnail(slug: str, sha256: str) -> Response:
    """A preview of a picture of a revision, which the collection may have lost since."""
    revision = find(wanted_collection(), slug)
    if request.if_none_match.contains_weak(sha256):
        return _tagged(Response(status=304), sha256)
    try:
        data = frozen.read_picture(revision, sha256)
        preview = thumbnails.make_thumbnail(data)
    except UnreadableError as error:
        abort(404, f"There is nothing to show: {error}.")
    return _tagged(Response(preview, mimetype=thumbnails.media_type(preview)), sha256)


def wanted_collection() -> Collection:
    """The collection that the URL names."""
    number = request.args.get("collection")
    wanted = whole_number(number, "collection") if number else None
    with reading() as connection:
        return collection_of(collections.all_collections(connection), wanted)


def find(collection: Collection, slug: str) -> Revision:
    """A revision of a collection, or 404: the slug is compared with those that are there."""
    found = next((one for one in _revisions(collection) if one.slug == slug), None)
    if found is None:
        abort(404, "There is no such revision.")
    return found


def _revisions(collection: Collection) -> list[Revision]:
    folder = freezing.folder_of(collection, get_app().settings.revisions)
    return frozen.revisions(folder, collection.name)


def _difference(collection: Collection, revision: Revision, against: str) -> Difference:
    """What happened from the older to the newer of two; the present is the newest of all."""
    if against == NOW:
        with at_one_time(get_app().engine) as connection:
            rows = freezing.planned_rows(connection, collection)
            return comparing.compare(frozen.lines(revision), (row.text for row in rows))
    older, newer = _by_age(revision, find(collection, against))
    return comparing.compare(frozen.lines(older), frozen.lines(newer))


def _by_age(*pair: Revision) -> list[Revision]:
    return sorted(pair, key=lambda one: (one.number, one.frozen_at))


def _slugs(collection: Collection, revision: Revision, against: str) -> dict[str, str]:
    """Names of the older and the newer of what is compared."""
    if against in ("", NOW):
        return {"before": revision.slug, "after": NOW}
    older, newer = _by_age(revision, find(collection, against))
    return {"before": older.slug, "after": newer.slug}


def _as_json(difference: Difference | None, ids: dict[str, int]) -> dict[str, Any]:
    if difference is None:
        return {}
    return {
        "counts": difference.counts,
        "most_listed": comparing.MOST_LISTED,
        "lists": {kind: list(_changes(difference, kind, ids)) for kind in comparing.KINDS},
    }


def _changes(difference: Difference, kind: str, ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    for change in difference.lists[kind]:
        picture_id = ids.get(change.row["sha256"])
        yield {"picture_id": picture_id, "before": change.before, "after": change.after}


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _tagged(response: Response, etag: str) -> Response:
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
