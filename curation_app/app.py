"""The application factory: open what was named, and register a blueprint per noun."""

import time
from collections.abc import Sequence
from pathlib import Path

from flask import Flask, Response, g, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException, SecurityError

from core.errors import UserError
from curation_app import opening, security
from curation_app.context import EXTENSION, App, Settings, get_app, wants_json
from curation_app.judging import judge_of
from curation_app.records import Collection
from curation_app.store import collections
from curation_app.store.engine import open_database
from curation_app.tallies import Tallies
from curation_app.tasks import Task, Tasks
from curation_app.views import BLUEPRINTS, PAGES
from curation_app.workspace import DATABASE, FOLDER, Workspace

_FIRST_PAGES_S = 1.0
"""What is on record is shown before its folder, which may be large, is looked through again."""


def create_app(folders: Path | Sequence[Path], settings: Settings | None = None) -> Flask:
    """Open collections and sample sets, and make the app that shows them.

    What is on record already can be seen at once, and what is new is looked at in the background;
    with `at_once`, everything is there on return. UserError when something cannot be opened.
    """
    settings = settings or Settings()
    named = [folders] if isinstance(folders, Path) else list(folders)
    for folder in named:
        opening.kind_of(folder)
        _check_revisions(folder, settings.revisions)
    home = _home(named, settings)
    engine = open_database(settings.database or home / DATABASE)
    with engine.connect() as connection:
        secret = collections.secret(connection)
    registered = [opening.register(engine, folder) for folder in named]
    parts = App(
        engine=engine,
        tallies=Tallies(engine),
        workspace=Workspace(folder=(settings.workspace or home / FOLDER).absolute()),
        settings=settings,
        tasks=Tasks(at_once=settings.at_once),
        secret=secret,
        opened=tuple(one.id for one in registered),
        unusable={one.id: {} for one in registered},
    )
    for collection in registered:
        _open(parts, collection)
    return _make(parts)


def _home(named: list[Path], settings: Settings) -> Path:
    if named:
        return named[0].resolve()
    if settings.database is None or settings.workspace is None:
        raise UserError("no collection is named: name one, or give --database and --workspace")
    return settings.workspace


def _check_revisions(folder: Path, revisions: Path | None) -> None:
    if revisions is not None and revisions.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"{revisions} lies inside the collection, whose pictures would then be found twice: "
            "name a folder outside of it"
        )


def _open(parts: App, collection: Collection) -> None:
    """Listing a new collection comes first, as it tells whether there is anything to show."""
    with parts.engine.connect() as connection:
        known = collections.count(connection, collection.id)

    def plan() -> opening.Plan:
        planned = opening.plan(parts.engine, collection)
        parts.unusable[collection.id] = planned.unusable
        return planned

    listed = None if known and not parts.settings.at_once else plan()
    if listed is not None and listed.is_known:
        return

    def work(task: Task) -> None:
        if listed is None and not parts.settings.at_once:
            time.sleep(_FIRST_PAGES_S)
        opening.carry_out(parts.engine, parts.workspace, listed or plan(), task.report)
        task.result = f"{collection.name} is open"
        judge = judge_of(parts)
        judge.forget(collection.id)  # scores of the first pictures, asked for while the rest came
        judge.board(collection.id)  # before the first curator asks for a pair

    task = parts.tasks.start("open", f"Opening {collection.name}", work)
    if task.finished and task.error:
        raise UserError(task.error)


def _make(parts: App) -> Flask:
    app = Flask(__name__)
    app.extensions[EXTENSION] = parts
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    security.protect(
        app, parts.secret, share=parts.settings.share, hosts=parts.settings.trusted_hosts
    )
    app.before_request_funcs.setdefault(None, []).insert(0, _start_clock)
    app.after_request(_tell_time)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.context_processor(_for_templates)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(UserError, _user_error)
    app.register_error_handler(DBAPIError, _database_error)
    return app


def _start_clock() -> None:
    g.started_s = time.perf_counter()


def _tell_time(response: Response) -> Response:
    if "started_s" in g:
        took_ms = 1000 * (time.perf_counter() - g.started_s)
        response.headers["Server-Timing"] = f"app;dur={took_ms:.2f}"
    return response


def _for_templates() -> dict[str, object]:
    """What every page may use."""
    return {
        "nav_pages": lambda: PAGES,
        "token": lambda: _hidden("secret", security.form_token()),
        "came_from": lambda: _hidden("to", request.full_path.rstrip("?")),
        "curator": g.get("curator"),
        "people_log_in": get_app().settings.share,
        # Strangers are not told what is going on.
        "running": [task for task in get_app().tasks.all() if "curator" in g and not task.finished],
    }


def _hidden(name: str, value: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, value)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < 400:  # redirects are exceptions too
        return error.get_response()
    if isinstance(error, SecurityError):
        message = "This app does not answer to that host name; --trusted-host adds one.\n"
        return Response(message, status=error.code, mimetype="text/plain")
    return _complain(error.description or error.name, error.code)


def _user_error(error: UserError) -> ResponseReturnValue:
    return _complain(str(error), 409 if request.method == "POST" else 400)


def _database_error(error: DBAPIError) -> ResponseReturnValue:
    lost = "" if request.method == "GET" else "Nothing was recorded: "
    return _complain(f"{lost}the database says “{error.orig}”. Try again.", 503)


def _complain(message: str, status: int) -> ResponseReturnValue:
    if wants_json():
        return jsonify(error=message), status
    return render_template("error.html", message=message), status
