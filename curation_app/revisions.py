"""Revisions: freeze what is kept, and see what to run next."""

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from curation_app import freezing
from curation_app.context import get_app, get_store

blueprint = Blueprint("revisions", __name__, url_prefix="/revisions")


@blueprint.get("/")
def index() -> str:
    """All revisions, each with the command that uses it."""
    app = get_app()
    return render_template(
        "revisions.html",
        collection=app.shelf.root.name,
        revisions=freezing.revisions(app.shelf.revisions),
        counts=get_store().counts(),
        secret=app.secret,
    )


@blueprint.post("/")
def freeze() -> ResponseReturnValue:
    """Freeze the pictures to keep, of all classes."""
    revision = freezing.freeze(get_app().shelf, get_store())
    return redirect(url_for("revisions.index", _anchor=f"revision-{revision.number}"), 303)
