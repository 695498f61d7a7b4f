"""Samples: where a set comes from, what is approved of it, and which samples may be copies."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any, cast

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from core.data.pinned import PinnedDataset
from core.errors import UserError
from core.images import png_bytes, unpremultiply
from core.sampleset import SampleSet, open_sample_set
from curation_app.context import curator, get_app, needs, reading, wants_json
from curation_app.filters import MAX_ID, MAX_TEXT, whole_number
from curation_app.records import Collection, Picture
from curation_app.samples import approval, nearest
from curation_app.samples.approval import Approval
from curation_app.store import collections, pictures
from curation_app.store import samples as store
from curation_app.store.samples import Near
from curation_app.tasks import Task
from curation_app.views.pictures import back, counted, find, state_counts
from curation_app.views.revisions import wanted_collection

PAGE_SIZE = 48

blueprint = Blueprint("samples", __name__)
_ID = f"<int(max={MAX_ID}):picture_id>"


@blueprint.get("/samples/")
def index() -> ResponseReturnValue:
    """A sample set: its parents and settings, what is approved, and the command that exports it.

    `without`, once or several times, names tags whose samples the export leaves out.
    """
    collection = _wanted()
    with reading() as connection:
        sets = [one for one in collections.all_collections(connection) if one.kind == "samples"]
    if collection is None:
        if wants_json():
            return jsonify(sample_sets=[])
        return render_template("samples.html", collection=wanted_collection(), sets=[], facts=None)
    facts = _facts(collection)
    if wants_json():
        return jsonify(sample_sets=[dataclasses.asdict(one) for one in sets], **facts)
    return render_template("samples.html", collection=collection, sets=sets, facts=facts)


@blueprint.post("/samples/approved")
@needs("curator")
def approve() -> ResponseReturnValue:
    """Write what is approved into the sample set's folder, for `export --approved`."""
    collection = _set()
    samples = open_sample_set(Path(collection.root))
    with reading() as connection:
        approved = approval.approval(connection, collection, samples)
    path = approval.write_approval(samples, approved, by=curator().name)
    if wants_json():
        command = approval.export_command(samples.folder)
        return jsonify(file=str(path), approved=len(approved.seeds), command=command)
    return redirect(back(), 303)


@blueprint.post("/samples/nearest")
@needs("curator")
def search() -> ResponseReturnValue:
    """Find each sample's nearest training picture, in the background."""
    app, collection, dataset = get_app(), _set(), _dataset()
    link = url_for("samples.closest", collection=collection.id)

    def work(task: Task) -> None:
        task.unit = "samples"
        nearest.search(app.engine, collection, dataset, task.report)
        with app.engine.connect() as connection:
            known, copies = store.searched(connection, collection.id, dataset.digest)
        task.link = link
        task.result = f"{copies:,} of {known:,} samples seem to be copies of training pictures"

    task = app.tasks.start("nearest", f"Looking for copies in {collection.name}", work)
    return redirect(url_for("tasks.show", task_id=task.id), 303)


@blueprint.get("/samples/closest")
def closest() -> ResponseReturnValue:
    """Samples beside their nearest training pictures, the closest first."""
    collection, dataset = _set(), _dataset()
    with reading() as connection:
        after = None
        if request.args.get("after"):
            anchor = whole_number(request.args["after"], "after")
            after = store.nearest_of(connection, anchor, dataset.digest)
        found = store.closest(connection, collection.id, dataset.digest, PAGE_SIZE + 1, after)
        shown = pictures.pictures_of(connection, [near.picture_id for near in found[:PAGE_SIZE]])
        known, copies = store.searched(connection, collection.id, dataset.digest)
    by_id = {picture.id: picture for picture in shown}
    pairs = [(by_id[one.picture_id], one) for one in found[:PAGE_SIZE] if one.picture_id in by_id]
    if wants_json():
        listed = [_pair_json(picture, near, dataset) for picture, near in pairs]
        more = len(found) > PAGE_SIZE
        return jsonify(pairs=listed, later=more, searched=known, copies=copies)
    return render_template(
        "closest.html",
        collection=collection,
        pairs=[(picture, near, _label(dataset, near)) for picture, near in pairs],
        later=len(found) > PAGE_SIZE,
        known=known,
        copies=copies,
        after=after,
    )


@blueprint.get(f"/pictures/{_ID}/nearest")
def of_picture(picture_id: int) -> ResponseReturnValue:
    """A sample beside the training picture that is most like it."""
    picture, collection = find(picture_id)
    dataset = _dataset()
    with reading() as connection:
        near = store.nearest_of(connection, picture_id, dataset.digest)
    if wants_json():
        if near is None:
            abort(404, "It was not searched yet: POST /samples/nearest.")
        return jsonify(_pair_json(picture, near, dataset) | {"training": _item(dataset, near)})
    return render_template(
        "nearest.html",
        collection=collection,
        picture=picture,
        near=near,
        training=None if near is None else _item(dataset, near),
        size_px=dataset.size_px,
    )


@blueprint.get(f"/samples/training/<int(max={MAX_ID}):place>")
def training(place: int) -> Response:
    """A picture of the pinned dataset, as PNG."""
    dataset = _dataset()
    if place >= len(dataset.images_nhwc):
        abort(404, "The dataset has no such picture.")
    etag = f"{dataset.digest[:32]}-{place}"
    response = Response(status=304)
    if not request.if_none_match.contains_weak(etag):
        png = png_bytes(unpremultiply(dataset.images_nhwc[place]))
        response = Response(png, mimetype="image/png")
    response.set_etag(etag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _wanted() -> Collection | None:
    """The sample set that the URL names; else the one that was named first, if there is any."""
    named = wanted_collection()
    if named.kind == "samples":
        return named
    with reading() as connection:
        known = collections.all_collections(connection)
    sets = [one for one in known if one.kind == "samples"]
    opened = get_app().opened
    return min(sets, key=lambda one: (one.id not in opened, one.id), default=None)


def _set() -> Collection:
    """The sample set that the URL names; else 404."""
    named = wanted_collection()
    if named.kind != "samples":
        abort(404, "This is no sample set.")
    return named


def _dataset() -> PinnedDataset:
    """The dataset that the app was started with; opened once, as it is pinned."""
    app = get_app()
    if app.settings.data is None:
        raise UserError("no dataset is named: start the app with --data DATASET")
    if "dataset" not in app.parts:
        app.parts["dataset"] = nearest.open_data(app.settings.data)
    return cast(PinnedDataset, app.parts["dataset"])


def _facts(collection: Collection) -> dict[str, Any]:
    """All that the page shows of a set."""
    states = state_counts(counted(collection.id))
    try:
        samples = open_sample_set(Path(collection.root))
    except UserError as error:
        return {"states": states, "trouble": str(error)}
    unwanted = [tag for tag in request.args.getlist("without") if len(tag) <= MAX_TEXT]
    with reading() as connection:
        approved = approval.approval(connection, collection, samples)
    # A tag that nobody has, or has any more, is unknown to the export too.
    unwanted = [tag for tag in dict.fromkeys(unwanted) if tag in approved.tags]
    return {
        "states": states,
        "set": {
            "digest": samples.digest,
            "count": samples.count,
            "labels": list(samples.labels),
            "parents": samples.parents,
            "settings": samples.settings,
        },
        "approved": _approved_json(approved),
        "written": _written(samples, approved),
        "without": unwanted,
        "exported": approved.without(unwanted),
        "command": approval.export_command(samples.folder, unwanted),
        "copies": _copies(collection, samples),
    }


def _approved_json(approved: Approval) -> dict[str, Any]:
    return approved.decided() | {
        "counts": approved.counts,
        "moved": approved.moved,
        "approved_by": list(approved.approved_by),
    }


def _written(samples: SampleSet, approved: Approval) -> dict[str, Any] | None:
    """What was written last, and whether it still holds."""
    facts = approval.read_approval(samples)
    if facts is None:
        return None
    seeds = facts.get("seeds")
    return {
        "current": approval.is_current(facts, approved),
        "count": len(seeds) if isinstance(seeds, list) else 0,
        "at": str(facts.get("written_at", "")),
        "by": str(facts.get("written_by", "")),
    }


def _copies(collection: Collection, samples: SampleSet) -> dict[str, Any] | None:
    """How the search for copies stands; None where the app has no dataset."""
    if get_app().settings.data is None:
        return None
    try:
        dataset = _dataset()
    except UserError as error:
        return {"trouble": str(error)}
    with reading() as connection:
        known, copies = store.searched(connection, collection.id, dataset.digest)
        left = store.count_unsearched(connection, collection.id, dataset.digest)
    trained_on = samples.parents.get("dataset")
    return {
        "dataset": dataset.digest,
        "is_parent": trained_on == dataset.digest,
        "searched": known,
        "unsearched": left,
        "copies": copies,
    }


def _pair_json(picture: Picture, near: Near, dataset: PinnedDataset) -> dict[str, Any]:
    names = {"name": picture.name, "state": picture.state}
    names["training_label"] = _label(dataset, near)
    return dataclasses.asdict(near) | names | {"dataset": dataset.digest}


def _label(dataset: PinnedDataset, near: Near) -> str:
    return dataset.label_names[int(dataset.labels[near.place])]


def _item(dataset: PinnedDataset, near: Near) -> dict[str, Any]:
    """What is known of the training picture."""
    row = next(itertools.islice(dataset.items(), near.place, None))
    return {key: value for key, value in vars(row).items() if value is not None}
