"""Ranking: two pictures side by side, the better one wins."""

from typing import Any

from flask import Blueprint, abort, jsonify, redirect, render_template, request, url_for
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
from curation_app.filters import whole_number
from curation_app.judging import Asked, Judge, judge_of
from curation_app.records import OUTCOMES, Acted, Collection, Comparison, Picture, as_json
from curation_app.store import actions, collections, pictures, ranking
from curation_app.tasks import Task
from curation_app.views.pictures import counted, key_of_request

blueprint = Blueprint("ranking", __name__, url_prefix="/rank")


def judge() -> Judge:
    """The scores of all collections, fitted when first needed."""
    return judge_of(get_app())


@blueprint.get("/")
def show() -> ResponseReturnValue:
    """A pair of one class, to be judged."""
    collection, label = _asked_for()
    chosen = None if label is None else _pair(collection, label)
    with reading() as connection:
        known = collections.all_collections(connection)
        can_undo = actions.last_done(connection, curator().id)
    return render_template(
        "ranking.html",
        collection=collection,
        collections=known,
        label=label,
        labels=list(counted(collection.id)),
        pair=chosen,
        facts=None if chosen is None else _pair_json(*chosen),
        can_undo=can_undo,
        progress=None if label is None else _progress(collection, label),
    )


@blueprint.get("/next")
def following() -> ResponseReturnValue:
    """The next pair, for scripts and for pages that fetch it ahead."""
    collection, label = _asked_for()
    chosen = None if label is None else _pair(collection, label)
    if label is None or chosen is None:
        abort(404, "There is no pair left to compare in this class.")
    progress = _progress(collection, label)
    return jsonify(_pair_json(*chosen) | {"label": label, "progress": progress})


@blueprint.post("/judge")
@needs("curator")
def judged() -> ResponseReturnValue:
    """Say which is better: `left`, `right`, `tie`, or `skip`; on the disk before it is answered."""
    comparison = _comparison()

    def record(connection: Connection) -> tuple[Acted, Collection]:
        collection = _collection_of_pair(connection, comparison)
        _check_repeat(connection, comparison)
        result = actions.compare(
            connection,
            curator().id,
            comparison.left_id,
            comparison.right_id,
            comparison.outcome,
            repeats_id=comparison.repeats_id,
            key=key_of_request(),
        )
        if not result.repeated:
            judge().judged(connection, collection.id, curator().id, comparison)
        return result, collection

    if not judge().holds(comparison.left_id):  # a first fit holds up everybody's votes within
        with reading() as connection:
            judge().ready(_collection_of_pair(connection, comparison).id)
    result, collection = acting(record)
    if not wants_json():
        label = request.form.get("label")
        return redirect(url_for("ranking.show", collection=collection.id, label=label), 303)
    with reading() as connection:
        changed = pictures.pictures_of(connection, result.picture_ids)
    return jsonify(
        action=result.action_id,
        repeated=result.repeated,
        pictures=[as_json(picture) for picture in changed],
    )


@blueprint.post("/refit")
@needs("curator")
def refit() -> ResponseReturnValue:
    """Fit all scores of a collection to the log anew: the same votes give the same scores."""
    collection, label = _asked_for()
    fitter = judge()  # the task outlives the request, and what belongs to it

    def work(task: Task) -> None:
        board = fitter.refit(collection.id)
        task.result = f"{int(board.live.votes.sum())} votes fitted on {len(board.ids)} pictures"

    task = get_app().tasks.start("rank", "Fitting scores to the votes", work)
    task.link = url_for("pictures.grid", collection=collection.id, order="best", label=label)
    if wants_json():
        return jsonify(task=task.id)
    return redirect(url_for("tasks.show", task_id=task.id), 303)


def _asked_for() -> tuple[Collection, str | None]:
    wanted = request.args.get("collection")
    number = None if not wanted else whole_number(wanted, "collection")
    with reading() as connection:
        collection = collection_of(collections.all_collections(connection), number)
    labels = list(counted(collection.id))
    label = request.args.get("label") or (labels[0] if labels else None)
    if label is not None and label not in labels:
        raise UserError(f"there is no class {label!r}: {', '.join(labels[:20])}")
    return collection, label


def _pair(collection: Collection, label: str) -> tuple[Picture, Picture, Asked] | None:
    with reading() as connection:
        asked = judge().ask(connection, curator().id, collection.id, label)
        if asked is None:
            return None
        found = pictures.pictures_of(connection, [asked.left_id, asked.right_id])
    if len(found) != 2:  # one of them went while the scores were being fitted
        judge().forget(collection.id)
        return None
    return found[0], found[1], asked


def _pair_json(left: Picture, right: Picture, asked: Asked) -> dict[str, Any]:
    return {"left": as_json(left), "right": as_json(right), "repeats": asked.repeats_id}


def _progress(collection: Collection, label: str) -> dict[str, Any]:
    board = judge().board(collection.id)
    members = board.members(label)
    votes = board.live.votes[members]
    return {
        "pictures": len(members),
        "votes": int(votes.sum()),
        "unseen": int((votes == 0).sum()),
        "per_picture": float(votes.mean()) if len(members) else 0.0,
    }


def _comparison() -> Comparison:
    form = request.form
    outcome = form.get("outcome", "")
    if outcome not in OUTCOMES:
        raise UserError(f"the outcome is {outcome!r}: one of {', '.join(OUTCOMES)}")
    repeats = form.get("repeats")
    return Comparison(
        action_id=0,
        curator_id=curator().id,
        left_id=whole_number(form.get("left", ""), "left"),
        right_id=whole_number(form.get("right", ""), "right"),
        outcome=outcome,
        repeats_id=whole_number(repeats, "repeats") if repeats else None,
    )


def _collection_of_pair(connection: Connection, comparison: Comparison) -> Collection:
    found = pictures.pictures_of(connection, [comparison.left_id, comparison.right_id])
    ids = {picture.collection_id for picture in found}
    if comparison.left_id == comparison.right_id:
        raise UserError("a picture cannot be compared with itself")
    if len(found) != 2 or len(ids) != 1:
        raise UserError("these are not two pictures of one collection: reload the page")
    return next(one for one in collections.all_collections(connection) if one.id in ids)


def _check_repeat(connection: Connection, comparison: Comparison) -> None:
    if comparison.repeats_id is None:
        return
    before = ranking.comparison(connection, comparison.repeats_id)
    same = before is not None and (before.curator_id, before.left_id, before.right_id) == (
        comparison.curator_id,
        comparison.right_id,
        comparison.left_id,
    )
    if not same:
        raise UserError("this repeats no judgement of this curator with its sides changed")
