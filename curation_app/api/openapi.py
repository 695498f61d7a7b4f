"""The API's description (OpenAPI 3.1), made from the routes that there are and their docstrings.

What a docstring cannot say (arguments, forms, the shape of an answer) stands in
`curation_app.api.operations`; a route that is not named there is described all the same.
"""

import inspect
import re
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from curation_app.api import operations
from curation_app.api.operations import Operation
from curation_app.api.schemas import ERROR, SCHEMAS, SEE

BASE = "/api/v1"
_PLACE = re.compile(r"<(?:(?P<kind>\w+)(?:\((?P<bounds>[^)]*)\))?:)?(?P<name>\w+)>")
_NUMBER = re.compile(r"\w+=(\d+)")
_JSON = "application/json"
_ERRORS = {
    "400": "An argument is wrong; `error` says which, and what is allowed.",
    "401": "Nobody who is known asks: send a script token.",
    "403": "This curator's role does not allow it, or the token is missing.",
    "404": "There is no such thing.",
}
_ACTING_ERRORS = {
    "409": "Nothing was changed; `error` says why.",
    "413": "The body is too large.",
    "503": "The database did not answer: nothing was recorded, try again.",
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "8 to 64 characters of your own, such as a UUID: sent twice, it acts once.",
    "schema": {"type": "string", "minLength": 8, "maxLength": 64},
}


def api_path(rule: str) -> str:
    """Where the API offers a page's route."""
    return BASE + ("/pictures" if rule == "/" else rule)


def describe(app: Flask, version: str) -> dict[str, Any]:
    """The whole description: every route below BASE, every method."""
    paths: dict[str, dict[str, Any]] = {}
    for rule in api_rules(app):
        path = _PLACE.sub(lambda match: f"{{{match['name']}}}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(app, rule, method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Menagerie curation",
            "version": version,
            "summary": "Rank, merge and approve pictures, as scripts do it.",
            "description": operations.INTRODUCTION,
        },
        "servers": [{"url": "/", "description": "This app"}],
        "security": [{"token": []}, {"cookie": [], "form": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A script token."},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": str(app.config["SESSION_COOKIE_NAME"]),
                },
                "form": {"type": "apiKey", "in": "header", "name": "X-Form-Token"},
            },
        },
    }


def api_rules(app: Flask) -> list[Rule]:
    """The routes that the API offers."""
    found = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(f"{BASE}/")]
    return sorted(found, key=lambda rule: rule.rule)


def _operation(app: Flask, rule: Rule, method: str) -> dict[str, Any]:
    view = app.view_functions[rule.endpoint]
    told = operations.OPERATIONS.get(rule.endpoint, Operation())
    summary, _, more = inspect.cleandoc(view.__doc__ or rule.endpoint).partition("\n\n")
    described: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": " ".join(summary.split()),
        "parameters": [*_places(rule), *(_argument(name) for name in told.query)],
        "responses": _responses(told, acts=method != "GET"),
    }
    if more:
        described["description"] = " ".join(more.split())
    if method != "GET":
        described["requestBody"] = _body(told)
        if told.takes_key:
            described["parameters"].append(_KEY)
    return described


def _places(rule: Rule) -> list[dict[str, Any]]:
    return [
        {
            "name": match["name"],
            "in": "path",
            "required": True,
            "schema": _place(match["kind"] or "string", match["bounds"] or ""),
        }
        for match in _PLACE.finditer(rule.rule)
    ]


def _place(kind: str, bounds: str) -> dict[str, Any]:
    if kind == "int":
        most = _NUMBER.findall(bounds)
        return {"type": "integer", "minimum": 0} | ({"maximum": int(most[0])} if most else {})
    if kind == "any":
        return {"enum": [one.strip(" '\"") for one in bounds.split(",")]}
    length = [int(number) for number in _NUMBER.findall(bounds)] if "length=" in bounds else []
    exact = {"minLength": length[0], "maxLength": length[0]} if length else {}
    return {"type": "string"} | exact


def _argument(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", **operations.ARGUMENTS[name]}


def _body(told: Operation) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": dict(told.form)}
    if told.required:
        schema["required"] = list(told.required)
    kind = "multipart/form-data" if told.uploads else "application/x-www-form-urlencoded"
    return {"required": bool(told.required), "content": {kind: {"schema": schema}}}


def _responses(told: Operation, *, acts: bool) -> dict[str, Any]:
    if told.media_types:
        kinds: dict[str, Any] = {kind: {} for kind in told.media_types}
        found: dict[str, Any] = {"200": {"description": "The bytes.", "content": kinds}}
        found["304"] = {"description": "They are those that If-None-Match names."}
    elif told.starts_work:
        found = {
            "303": {
                "description": "Done, or begun in the background: see Location.",
                "headers": {"Location": {"schema": {"type": "string"}}},
                "content": {_JSON: {"schema": SEE}},
            }
        }
    else:
        content = {_JSON: {"schema": told.answer}}
        found = {"200": {"description": told.answers or "Done.", "content": content}}
    errors = _ERRORS | (_ACTING_ERRORS if acts else {})
    for status, description in errors.items():
        found[status] = {"description": description, "content": {_JSON: {"schema": ERROR}}}
    return found
