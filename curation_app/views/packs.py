"""Packs, for those who make games: browse, search, look at, copy, download."""

import dataclasses
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    jsonify,
    render_template,
    request,
    send_file,
    url_for,
)
from flask.typing import ResponseReturnValue

from core.errors import UserError
from curation_app.context import get_app, wants_json
from curation_app.filters import MAX_ID, MAX_TEXT, whole_number
from curation_app.packs.files import SUMS, File
from curation_app.packs.opened import FACTS, AlteredError, Pack, Sticker
from curation_app.packs.shelf import Shelf

PAGE_SIZE = 60
GROUNDS = ("chequered", "light", "dark")
DOCUMENTS = {
    "licence": ("LICENSE", "text/plain"),
    "disclosure": ("AI-DISCLOSURE.md", "text/plain"),
    "facts": (FACTS, "application/json"),
    "preview": ("preview.png", "image/png"),
}
"""What the rest of a pack is called in URLs, its file, and its media type."""
SVG_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
"""Opened alone, a drawing may neither run nor fetch anything."""

blueprint = Blueprint("packs", __name__, url_prefix="/packs")
_PACK = "/<string(length=16):digest>"
_STICKER = f"{_PACK}/<int(max={MAX_ID}):number>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for, and how it is shown."""

    text: str = ""
    label: str = ""
    tag: str = ""
    ground: str = GROUNDS[0]

    @property
    def narrows(self) -> bool:
        """Whether anything is looked for."""
        return bool(self.text or self.label or self.tag)

    def finds(self, sticker: Sticker) -> bool:
        """Whether a sticker is what is looked for."""
        return (
            self.label in ("", sticker.label)
            and (not self.tag or self.tag in sticker.tags)
            and sticker.mentions(self.text)
        )

    def arguments(self) -> dict[str, str]:
        """As URL arguments, without what says nothing."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Every pack, and the stickers of all packs that fit a search (`text`, `label`, `tag`)."""
    search = _search()
    packs, broken = _shelf().look()
    found = [(pack, one) for pack in packs for one in pack.stickers if search.finds(one)]
    shown, after = _page(found if search.narrows else [])
    if wants_json():
        return jsonify(
            packs=[pack_as_json(pack) for pack in packs],
            broken=[dataclasses.asdict(one) for one in broken],
            stickers=[sticker_as_json(pack, one) for pack, one in shown],
            found=len(found) if search.narrows else 0,
            next=after,
        )
    return render_template(
        "packs.html",
        packs=packs,
        broken=broken,
        shown=shown,
        found=len(found),
        after=after,
        named=bool(get_app().settings.packs),
        **_menus(search, packs),
    )


@blueprint.get(f"{_PACK}/")
def show(digest: str) -> ResponseReturnValue:
    """One pack: its stickers that fit a search, its terms, and what made it."""
    pack = _pack(digest)
    search = _search()
    found = [(pack, one) for one in pack.stickers if search.finds(one)]
    shown, after = _page(found)
    if wants_json():
        return jsonify(
            pack_as_json(pack)
            | {
                "facts": pack.facts,
                "refused": [{"picture": name, "reason": reason} for name, reason in pack.refused],
                "found": len(found),
                "stickers": [sticker_as_json(pack, one) for _, one in shown],
                "next": after,
            }
        )
    return render_template(
        "pack.html",
        pack=pack,
        shown=shown,
        found=len(found),
        after=after,
        documents=[what for what, (name, _) in DOCUMENTS.items() if name in pack.documents],
        texts={what: _text(pack, what) for what in ("licence", "disclosure")},
        **_menus(search, [pack]),
    )


@blueprint.get(_STICKER)
def sticker(digest: str, number: int) -> ResponseReturnValue:
    """One sticker: on every ground, its files with their checksums, and what was measured."""
    pack, one = _sticker(digest, number)
    if wants_json():
        return jsonify(sticker_as_json(pack, one))
    return render_template(
        "sticker.html", pack=pack, sticker=one, grounds=GROUNDS, count=len(pack.stickers)
    )


@blueprint.get(f"{_STICKER}/svg")
def svg(digest: str, number: int) -> Response:
    """A sticker as SVG; `text=1` shows its text, `download=1` saves it."""
    pack, one = _sticker(digest, number)
    media_type = "text/plain" if request.args.get("text") else "image/svg+xml"
    response = _send(pack, one.svg, media_type)
    response.headers["Content-Security-Policy"] = SVG_POLICY
    return response


@blueprint.get(f"{_STICKER}/png/<int(max=99999):side_px>")
def png(digest: str, number: int, side_px: int) -> Response:
    """A sticker as PNG in one of its sizes; `download=1` saves it."""
    pack, one = _sticker(digest, number)
    files = [file for file in one.pngs if file.side_px == side_px]
    if not files:
        sizes = ", ".join(str(file.side_px) for file in one.pngs)
        abort(404, f"There is no PNG of {side_px} px: {sizes} are there.")
    return _send(pack, files[0], "image/png")


@blueprint.get(f"{_PACK}/<any({', '.join(DOCUMENTS)}):what>")
def document(digest: str, what: str) -> Response:
    """A pack's licence, AI disclosure, facts (pack.json) or contact sheet."""
    pack = _pack(digest)
    name, media_type = DOCUMENTS[what]
    if name not in pack.documents:
        abort(404, f"This pack has no {name}.")
    return _send(pack, pack.documents[name], media_type)


@blueprint.get(f"{_PACK}/checksums")
def checksums(digest: str) -> Response:
    """A pack's SHA256SUMS, for `sha256sum -c`."""
    response = Response(_pack(digest).sums, mimetype="text/plain")
    return _saved_as(response, SUMS)


@blueprint.get(f"{_PACK}/zip")
def zipped(digest: str) -> Response:
    """A pack as one zip."""
    _shelf().look()
    pack = _pack(digest)
    if pack.zip is None:
        abort(404, "The zip of this pack is not there: export it again, or download its files.")
    try:
        return send_file(
            pack.zip.path,
            mimetype="application/zip",
            as_attachment=True,
            download_name=pack.zip.path.name,
            etag=pack.zip.sha256,
        )
    except OSError:
        _shelf().forget()
        abort(422, "The zip of this pack has gone: open the page of packs again.")


def pack_as_json(pack: Pack) -> dict[str, Any]:
    """A pack for the API, without its stickers."""
    labels: dict[str, int] = {}
    for one in pack.stickers:
        labels[one.label] = labels.get(one.label, 0) + 1
    zipped = pack.zip and {
        "sha256": pack.zip.sha256,
        "size_bytes": pack.zip.size_bytes,
        "url": url_for("packs.zipped", digest=pack.digest),
    }
    return {
        "digest": pack.digest,
        "name": pack.name,
        "licence": pack.licence,
        "redistributable": pack.redistributable,
        "count": len(pack.stickers),
        "labels": dict(sorted(labels.items())),
        "zip": zipped,
        "url": url_for("packs.show", digest=pack.digest),
    }


def sticker_as_json(pack: Pack, one: Sticker) -> dict[str, Any]:
    """A sticker for the API."""
    place: dict[str, Any] = {"digest": pack.digest, "number": one.number}
    pngs = [
        _file_as_json(file, url_for("packs.png", side_px=file.side_px, **place))
        | {"side_px": file.side_px}
        for file in one.pngs
    ]
    return {
        "pack": pack.digest,
        "number": one.number,
        "name": one.name,
        "label": one.label,
        "alt": one.alt,
        "seed": one.seed,
        "tags": list(one.tags),
        "figures": dict(one.figures),
        "svg": _file_as_json(one.svg, url_for("packs.svg", **place)),
        "pngs": pngs,
        "url": url_for("packs.sticker", **place),
    }


def _file_as_json(file: File, url: str) -> dict[str, Any]:
    return {"sha256": file.sha256, "size_bytes": file.size_bytes, "url": url}


def _shelf() -> Shelf:
    app = get_app()
    shelf = app.parts.get("packs")
    if not isinstance(shelf, Shelf):
        shelf = app.parts.setdefault("packs", Shelf(app.settings.packs))
    return shelf


def _pack(digest: str) -> Pack:
    found = _shelf().pack(digest)
    if found is None:
        abort(404, "There is no such pack; it may have been exported anew.")
    return found


def _sticker(digest: str, number: int) -> tuple[Pack, Sticker]:
    pack = _pack(digest)
    if number >= len(pack.stickers):
        abort(404, f"There is no such sticker: {pack.name} has {len(pack.stickers)}.")
    return pack, pack.stickers[number]


def _search() -> Search:
    values = {
        name: request.args[name]
        for name in ("text", "label", "tag", "ground")
        if request.args.get(name)
    }
    for name, value in values.items():
        if len(value) > MAX_TEXT:
            raise UserError(f"{name} has {len(value)} characters: at most {MAX_TEXT} are allowed")
    search = Search(**values)
    if search.ground not in GROUNDS:
        raise UserError(f"ground is {search.ground!r}: one of {', '.join(GROUNDS)}")
    return search


def _page(
    found: list[tuple[Pack, Sticker]],
) -> tuple[list[tuple[Pack, Sticker]], int | None]:
    """The page that the URL asks for (`after` so many), and where the next one begins."""
    after = whole_number(request.args.get("after") or "0", "after")
    end = after + PAGE_SIZE
    return found[after:end], end if end < len(found) else None


def _menus(search: Search, packs: list[Pack]) -> dict[str, Any]:
    stickers = [one for pack in packs for one in pack.stickers]
    return {
        "search": search,
        "grounds": GROUNDS,
        "labels": sorted({one.label for one in stickers}),
        "tags": sorted({tag for one in stickers for tag in one.tags}),
    }


def _text(pack: Pack, what: str) -> str:
    file = pack.documents.get(DOCUMENTS[what][0])
    return "" if file is None else _read(pack, file).decode("utf-8", errors="replace")


def _send(pack: Pack, file: File, media_type: str) -> Response:
    """A file's bytes, or that the browser has them already: a digest names them for ever."""
    if request.if_none_match.contains_weak(file.sha256):
        response = Response(status=304)
    else:
        response = Response(_read(pack, file), mimetype=media_type)
    response.set_etag(file.sha256)
    response.headers["Cache-Control"] = "private, no-cache"
    if request.args.get("download"):
        return _saved_as(response, file.name.rpartition("/")[2])
    return response


def _saved_as(response: Response, name: str) -> Response:
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def _read(pack: Pack, file: File) -> bytes:
    try:
        return pack.read(file)
    except AlteredError as error:
        _shelf().forget()
        abort(422, f"{error}: open the page of packs again.")
