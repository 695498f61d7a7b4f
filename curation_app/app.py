"""The application factory, and what holds for every request.

There is no log-in: the app listens on this computer only, and forms carry a secret that other web
sites cannot read. No text of a request ever becomes a file name; pictures are named by number.
"""

import hmac
import sqlite3
from pathlib import Path

from flask import Flask, Response, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, SecurityError

from core.errors import UserError
from curation_app import pictures, revisions
from curation_app.context import EXTENSION, App, close_store, get_app, wants_json
from curation_app.shelf import open_shelf
from curation_app.store import Store

TRUSTED_HOSTS = ("localhost", "127.0.0.1")
MAX_REQUEST_BYTES = 16 * 1024

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(
    collection: Path, database: Path | None = None, revisions_folder: Path | None = None
) -> Flask:
    """Open a collection and make its app; UserError when it cannot be opened."""
    shelf = open_shelf(collection, database, revisions_folder)
    with Store(shelf.database) as store:
        secret = store.secret()
    app = Flask(__name__)
    # A list, and checked by Flask before anything else: a stranger's name that resolves to this
    # computer (DNS rebinding) gets nothing.
    app.config["TRUSTED_HOSTS"] = list(TRUSTED_HOSTS)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.extensions[EXTENSION] = App(shelf=shelf, secret=secret)
    app.register_blueprint(pictures.blueprint)
    app.register_blueprint(revisions.blueprint)
    app.before_request(_check_secret)
    app.after_request(_add_headers)
    app.teardown_appcontext(close_store)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(UserError, _user_error)
    app.register_error_handler(sqlite3.OperationalError, _database_error)
    return app


def _check_secret() -> None:
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    given = request.form.get("secret", "").encode()
    if not hmac.compare_digest(given, get_app().secret.encode()):
        abort(403, "This form was not made by this app: open its page again, and send it there.")


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    if response.mimetype in ("text/html", "application/json"):
        # Going back must not show votes as they were.
        response.headers["Cache-Control"] = "no-store"
    return response


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < 400:  # redirects are exceptions too
        return error.get_response()
    if isinstance(error, SecurityError):
        message = f"This app answers to {' and '.join(TRUSTED_HOSTS)} only.\n"
        return Response(message, status=error.code, mimetype="text/plain")
    return _complain(error.description or error.name, error.code)


def _user_error(error: UserError) -> ResponseReturnValue:
    return _complain(str(error), 409)


def _database_error(error: sqlite3.OperationalError) -> ResponseReturnValue:
    return _complain(f"Nothing was recorded: the database says “{error}”. Try again.", 503)


def _complain(message: str, status: int) -> ResponseReturnValue:
    if wants_json():
        return jsonify(error=message), status
    return render_template("error.html", message=message), status
