"""The API: every page's route again below /api/v1, for scripts, and its description."""

import importlib.metadata
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template, request
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue

from curation_app.api.openapi import BASE, api_path, describe
from curation_app.api.operations import PEOPLE_ONLY
from curation_app.context import curator, get_app, reading
from curation_app.security import script_token
from curation_app.store import collections
from curation_app.views.pictures import counted

blueprint = Blueprint("api", __name__, url_prefix="/api")


@blueprint.record_once
def _offer_everything(state: BlueprintSetupState) -> None:
    """Give each route that is there by now a second address below BASE.

    The endpoint stays the same, and with it the view and every rule about who may do what.
    """
    for rule in list(state.app.url_map.iter_rules()):
        own = rule.endpoint.startswith(("static", "api.")) or rule.endpoint in PEOPLE_ONLY
        if not own:
            view = state.app.view_functions[rule.endpoint]
            methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
            state.app.add_url_rule(
                api_path(rule.rule), rule.endpoint, view, methods=methods, strict_slashes=False
            )


@blueprint.after_app_request
def _stay_in_the_api(response: Response) -> Response:
    """A script that is sent on to a page of ours is sent to its address in the API, in JSON."""
    location = response.headers.get("Location", "")
    inside = location.startswith("/") and not location.startswith("/api/")
    if request.path.startswith(f"{BASE}/") and inside:
        path, mark, arguments = location.partition("?")
        location = response.headers["Location"] = api_path(path) + mark + arguments
        response.data = current_app.json.dumps({"see": location})
        response.mimetype = "application/json"
    return response


@blueprint.get("/")
def index() -> str:
    """How scripts do what hands do: the token, examples, every route."""
    document = _description()
    return render_template(
        "api.html",
        base=f"{request.host_url.rstrip('/')}{BASE}",
        script_token=script_token(curator()),
        groups=_groups(document),
    )


@blueprint.get("/openapi.json")
def openapi() -> ResponseReturnValue:
    """The description of the API, as OpenAPI 3.1."""
    return jsonify(_description())


@blueprint.get("/v1/me")
def me() -> ResponseReturnValue:
    """Who asks, and in which role."""
    asks = curator()
    return jsonify(id=asks.id, name=asks.name, role=asks.role, active=asks.active)


@blueprint.get("/v1/collections", endpoint="collections")
def all_collections() -> ResponseReturnValue:
    """Every collection and sample set that the app knows."""
    opened = get_app().opened
    with reading() as connection:
        known = collections.all_collections(connection)
    return jsonify(
        collections=[
            {
                "id": one.id,
                "name": one.name,
                "kind": one.kind,
                "opened": one.id in opened,
                "counts": counted(one.id),
            }
            for one in known
        ]
    )


def _description() -> dict[str, Any]:
    parts = get_app().parts
    found = parts.get("openapi")
    if found is None:
        found = parts["openapi"] = describe(current_app, _version())
    return dict(found)


def _groups(document: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """The routes for people, by noun."""
    groups: dict[str, list[dict[str, str]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            row = {"method": method.upper(), "path": path, "summary": operation["summary"]}
            groups.setdefault(operation["tags"][0], []).append(row)
    return groups


def _version() -> str:
    try:
        return importlib.metadata.version("menagerie")
    except importlib.metadata.PackageNotFoundError:  # run from a copy that nobody installed
        return "0"
