"""Quality: what flags say by class, how measures are spread, and what gives classes away."""

import dataclasses
from collections.abc import Sequence

from flask import Blueprint, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from curation_app.context import collection_of, get_app, reading, wants_json
from curation_app.filters import whole_number
from curation_app.indexing.quality import FLAGS
from curation_app.measures import (
    SCALES,
    ClassQuality,
    Distribution,
    Figures,
    Qualities,
    Scale,
)
from curation_app.records import Collection
from curation_app.store import collections
from curation_app.tasks import Task

MOST_CLASSES = 60
"""Classes that are shown with pictures and plots, those that stand apart first; tables list all."""
_WIDE, _HIGH = 120, 32

blueprint = Blueprint("quality", __name__, url_prefix="/quality")


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Flags and distributions by class, and what tells the classes apart beside their subjects."""
    number = request.args.get("collection")
    with reading() as connection:
        known = collections.all_collections(connection)
    collection = collection_of(known, whole_number(number, "collection") if number else None)
    found = _figures(collection)
    if wants_json():
        return jsonify(_as_json(found or _qualities().figures(collection.id)))
    ordered = sorted(found.classes, key=_standing_apart)[:MOST_CLASSES] if found else []
    return render_template(
        "quality.html",
        collection=collection,
        collections=known,
        figures=found,
        ordered=ordered,
        all_flags=FLAGS,
        scales=SCALES,
        strip=strip,
        share_bar=share_bar,
        bars=bars,
        zip=zip,
    )


def strip(colours: Sequence[tuple[int, int, int]], told: str) -> Markup:
    """Colours side by side."""
    wide = _WIDE / max(1, len(colours))
    rect = '<rect x="{:.2f}" y="0" width="{:.2f}" height="10" fill="#{:02x}{:02x}{:02x}"/>'
    # Each a little wider than its place: no gaps show between them.
    parts = [
        Markup(rect).format(place * wide, wide + 0.2, *rgb) for place, rgb in enumerate(colours)
    ]
    return _svg("strip", 10, told, parts)


def share_bar(share: float, told: str) -> Markup:
    """A share of a whole, as a bar."""
    parts = [
        Markup('<rect class="whole" x="0" y="0" width="{}" height="6"/>').format(_WIDE),
        Markup('<rect class="share" x="0" y="0" width="{:.1f}" height="6"/>').format(share * _WIDE),
    ]
    return _svg("share", 6, told, parts)


def bars(distribution: Distribution, scale: Scale, label: str) -> Markup:
    """How a measure is spread over a class; what is flagged has another colour."""
    most = max(distribution.counts) or 1
    wide = _WIDE / len(distribution.counts)
    paths: dict[str, list[str]] = {"usual": [], "flagged": []}
    for place, count in enumerate(distribution.counts):
        if count:
            # A single picture among thousands must be seen.
            high = max(0.8, _HIGH * count / most)
            path = f"M{place * wide + 0.3:.1f} {_HIGH}v{-high:.1f}h{wide - 0.6:.1f}V{_HIGH}z"
            paths["flagged" if _is_flagged(scale, place) else "usual"].append(path)
    parts = [Markup('<path class="base" d="M0 {0}H{1}"/>').format(_HIGH, _WIDE)]
    parts += [
        Markup('<path class="{}" d="{}"/>').format(name, "".join(path))
        for name, path in paths.items()
        if path
    ]
    low, median, high_end = (
        number(value, scale.unit)
        for value in (distribution.low, distribution.median, distribution.high)
    )
    told = f"{scale.name} of {label}: half of them from {low} to {high_end}, median {median}"
    return _svg("bars", _HIGH + 1, told, parts)


def number(value: float, unit: str) -> str:
    """A measure as people read it."""
    return f"{value:.0f} {unit}" if unit else f"{value:.2g}"


def _qualities() -> Qualities:
    app = get_app()
    found = app.parts.get("qualities")
    if found is None:
        found = app.parts.setdefault("qualities", Qualities(app.engine))
    return found  # type: ignore[no-any-return]


def _figures(collection: Collection) -> Figures | None:
    """The figures; None while those of a large collection are counted for the first time."""
    qualities, tasks = _qualities(), get_app().tasks
    if qualities.is_quick(collection.id):
        return qualities.figures(collection.id)
    title = f"Measuring the quality of {collection.name}"

    def work(task: Task) -> None:
        found = qualities.figures(collection.id)
        task.done = task.total = found.count

    if not any(one.title == title and not one.finished for one in tasks.all()):
        task = tasks.start("quality", title, work)
        task.link = url_for("quality.index", collection=collection.id)
    return None


def _standing_apart(one: ClassQuality) -> tuple[bool, float, str]:
    told = (one.bias.told or 0) - (one.bias.mistaken or 0)
    return not one.sentences, -told if one.sentences else 0.0, one.label


def _is_flagged(scale: Scale, place: int) -> bool:
    """Whether all of a bin is."""
    below = scale.low is not None and scale.edges[place + 1] <= scale.low
    return below or (scale.high is not None and scale.edges[place] >= scale.high)


def _svg(kind: str, high: float, told: str, parts: Sequence[Markup]) -> Markup:
    head = (
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
    )
    return (
        Markup(head).format(kind, _WIDE, high, told)
        + Markup("<title>{}</title>").format(told)
        + Markup("").join(parts)
        + Markup("</svg>")
    )


def _as_json(found: Figures) -> dict[str, object]:
    scales = [dataclasses.asdict(one) for one in SCALES]
    return dataclasses.asdict(found) | {"scales": scales}
