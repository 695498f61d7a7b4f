"""Accounts: logging in and out, one's own password and script token, and who may do what."""

from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from core.errors import UserError
from curation_app import security
from curation_app.accounts import (
    MIN_PASSWORD,
    LoginRefusedError,
    check_password,
    hash_password,
    log_in,
)
from curation_app.context import acting, curator, get_app, needs, reading, wants_json
from curation_app.filters import MAX_ID
from curation_app.records import ROLES, Curator
from curation_app.store import accounts
from curation_app.store.migrations import LOCAL_CURATOR
from curation_app.wording import MAX_NAME, check_name

DONE = {
    "password": "Your password is changed, and you are logged out everywhere else.",
    "everywhere": "You are logged out everywhere else, and older script tokens have ended.",
    "added": "Added: tell them the name and the password, which they can change on this page.",
    "changed": "Changed: they have to log in again.",
}

blueprint = Blueprint("accounts", __name__)
_ID = f"<int(max={MAX_ID}):curator_id>"


@blueprint.before_request
def _only_where_people_log_in() -> None:
    if not get_app().settings.share and request.endpoint != "accounts.index":
        abort(404, "Nobody logs in here: that comes with --share.")


@blueprint.get("/login")
def login() -> ResponseReturnValue:
    """The form to log in with; `next` is the page to go on to."""
    lost = "What you sent was not recorded: log in, and do it again."
    return _login_form(lost if request.args.get("lost") else None)


@blueprint.post("/login")
def enter() -> ResponseReturnValue:
    """Log in; too many wrong passwords make the next attempts wait."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    try:
        found = log_in(get_app().engine, name, password, security.visitor_address())
    except LoginRefusedError as error:
        return _refuse(error)
    security.enter(found)
    if wants_json():
        return jsonify(you=_row(found))
    return redirect(_next(), 303)


@blueprint.post("/logout")
@needs("viewer")
def leave() -> ResponseReturnValue:
    """Log out in this browser."""
    security.leave()
    return redirect(url_for("accounts.login"), 303)


@blueprint.post("/logout/everywhere")
@needs("viewer")
def leave_everywhere() -> ResponseReturnValue:
    """Log out in all other browsers, and end all script tokens."""
    security.enter(acting(lambda connection: accounts.change_curator(connection, curator().id)))
    return _done("everywhere")


@blueprint.get("/accounts/")
def index() -> ResponseReturnValue:
    """One's own account; for administrators, everybody's."""
    return _page()


@blueprint.post("/accounts/password")
@needs("viewer")
def change_password() -> ResponseReturnValue:
    """Change one's own password; `current` is the one so far."""
    me, form = curator(), request.form
    try:
        log_in(get_app().engine, me.name, form.get("current", ""), security.visitor_address())
    except LoginRefusedError as error:
        problem = str(error).replace("Name or password", "The current password")
        return _page(problem, 429 if error.wait_s else 403)
    return _changed(me.id, "password", password=lambda: _new_password(me.name))


@blueprint.post("/accounts/")
@needs("admin")
def add() -> ResponseReturnValue:
    """Add an account: `name`, `role`, `password`."""
    try:
        name = check_name(request.form.get("name", ""), "name")
        stored = _new_password(name)
        role = request.form.get("role", "")
        acting(lambda connection: accounts.add_curator(connection, name, role, stored))
    except UserError as error:
        return _page(str(error), 409)
    return _done("added")


@blueprint.post(f"/accounts/{_ID}/role")
@needs("admin")
def change_role(curator_id: int) -> ResponseReturnValue:
    """Give another `role` to an account."""
    return _changed(curator_id, "changed", role=lambda: request.form.get("role", ""))


@blueprint.post(f"/accounts/{_ID}/active")
@needs("admin")
def change_active(curator_id: int) -> ResponseReturnValue:
    """Let an account log in (`active` is 1) or no longer (0); what it did stays."""
    return _changed(curator_id, "changed", active=_wanted_active)


@blueprint.post(f"/accounts/{_ID}/password")
@needs("admin")
def reset_password(curator_id: int) -> ResponseReturnValue:
    """Give an account a new `password`, for somebody who forgot it."""
    with reading() as connection:
        found = accounts.curator(connection, curator_id)
    name = "" if found is None else found.name
    return _changed(curator_id, "changed", password=lambda: _new_password(name))


def _changed(curator_id: int, done: str, **wanted: Any) -> ResponseReturnValue:
    """Change an account by what these functions read from the form; say what is wrong with it."""

    def change(connection: Connection) -> Curator:
        found = accounts.change_curator(connection, curator_id, **values)
        if "password" in values:
            accounts.forget_failures(connection, found.name)
        return found

    try:
        # Before the transaction: hashing takes long.
        values = {name: read() for name, read in wanted.items()}
        changed = acting(change)
    except UserError as error:
        return _page(str(error), 409)
    if changed.id == curator().id and changed.active:
        security.enter(changed)
    return _done(done)


def _new_password(name: str) -> str:
    password = request.form.get("password", "")
    if request.form.get("again", password) != password:
        raise UserError("the two new passwords differ: type them again")
    return hash_password(check_password(password, name))


def _wanted_active() -> bool:
    active = request.form.get("active", "")
    if active not in ("0", "1"):
        raise UserError(f"active is {active!r}: 0 or 1")
    return active == "1"


def _done(what: str) -> ResponseReturnValue:
    if wants_json():
        return jsonify(done=DONE[what])
    return redirect(url_for("accounts.index", done=what), 303)


def _page(problem: str | None = None, status: int = 200) -> ResponseReturnValue:
    me = curator()
    if wants_json() and problem:
        return jsonify(error=problem), status
    with reading() as connection:
        everybody = accounts.all_curators(connection) if me.may("admin") else []
    people = [one for one in everybody if one.name != LOCAL_CURATOR]
    if wants_json():
        return jsonify(you=_row(me), accounts=[_row(one) for one in people])
    page = render_template(
        "accounts.html",
        people=people,
        script_token=security.script_token(me),
        roles=ROLES,
        most=MAX_NAME,
        least=MIN_PASSWORD,
        problem=problem,
        done=DONE.get(request.args.get("done", "")),
    )
    return page, status


def _row(one: Curator) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "role": one.role, "active": one.active}


def _refuse(error: LoginRefusedError) -> Response:
    status = 429 if error.wait_s else 401
    message = str(error)
    response = make_response(jsonify(error=message) if wants_json() else _login_form(message))
    response.status_code = status
    if error.wait_s:
        response.headers["Retry-After"] = str(error.wait_s)
    return response


def _login_form(problem: str | None) -> str:
    return render_template(
        "login.html",
        problem=problem,
        name=request.form.get("name", "")[:MAX_NAME],
        next_page=_next(),
        most=MAX_NAME,
        running=[],  # what goes on is no stranger's business
    )


def _next() -> str:
    """The page that was wanted before the log-in, when it is one of ours."""
    return security.own_page(request.values.get("next", "")) or url_for("pictures.grid")
