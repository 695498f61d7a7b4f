"""Work in the background: how far it is, and what came of it."""

import dataclasses

from flask import Blueprint, abort, jsonify, render_template
from flask.typing import ResponseReturnValue

from curation_app.context import get_app, wants_json
from curation_app.tasks import Task

blueprint = Blueprint("tasks", __name__, url_prefix="/tasks")


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """All work that is remembered."""
    found = get_app().tasks.all()
    if wants_json():
        return jsonify(tasks=[dataclasses.asdict(task) for task in found])
    return render_template("tasks.html", tasks=found)


@blueprint.get("/<task_id>")
def show(task_id: str) -> ResponseReturnValue:
    """One piece of work."""
    task = find(task_id)
    if wants_json():
        return jsonify(dataclasses.asdict(task))
    return render_template("tasks.html", tasks=[task])


def find(task_id: str) -> Task:
    """A task by its id, or 404."""
    task = get_app().tasks.get(task_id)
    if task is None:
        abort(404, "There is no such work; it may have been long ago.")
    return task
