"""Progress: by class, by curator, over time; and how far the votes can be trusted."""

import dataclasses
import threading
import time
from typing import Any

from flask import Blueprint, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from curation_app.context import collection_of, get_app, reading, wants_json
from curation_app.filters import whole_number
from curation_app.progress import plots
from curation_app.progress.figures import ClassProgress, CuratorProgress, Figures, OverTime, figures
from curation_app.progress.plots import Interval, Series
from curation_app.ranking.stability import STABLE
from curation_app.records import Collection
from curation_app.store import collections
from curation_app.store import progress as store
from curation_app.tasks import Task
from curation_app.views.ranking import judge

MOST_PLOTS = 24
"""Classes whose scores are plotted; tables list all."""
_QUICK_S = 0.3
_QUICK_ACTIONS = 20_000
_KEPT_S = 1.0
_RESTS = 30
"""Figures that take longer are kept for so many times as long as counting took."""

blueprint = Blueprint("progress", __name__, url_prefix="/progress")


@dataclasses.dataclass(kw_only=True)
class Kept:
    """The figures of one collection, and when they were made."""

    figures: Figures | None = None
    made_s: float = float("-inf")
    took_s: float = 0.0
    counting: bool = False
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def is_fresh(self) -> bool:
        """Whether they need not be made anew yet."""
        age_s = time.monotonic() - self.made_s
        return age_s < (_KEPT_S if self.took_s < _QUICK_S else _RESTS * self.took_s)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """How far curating a collection is, and how far its votes can be trusted.

    By class: states, votes, the stability of the order and the votes that it still needs. By
    curator: what they did, and how far they agree with themselves, with each other and with the
    fitted order. Large collections are counted in the background, now and then: see `made_at`.
    """
    number = request.args.get("collection")
    with reading() as connection:
        known = collections.all_collections(connection)
    collection = collection_of(known, whole_number(number, "collection") if number else None)
    found = _figures(collection, wait=wants_json())
    if wants_json():
        return jsonify(dataclasses.asdict(found) if found else {})
    drawn = {} if found is None else _drawn(found)
    return render_template(
        "progress.html",
        collection=collection,
        collections=known,
        figures=found,
        stable=STABLE,
        zip=zip,
        most_plots=MOST_PLOTS,
        **drawn,
    )


def _figures(collection: Collection, *, wait: bool) -> Figures | None:
    """Figures that are at most a little old; None while they are counted for the first time."""
    app, fitter = get_app(), judge()
    with _keeping:
        kept: Kept = app.parts.setdefault("progress", {}).setdefault(collection.id, Kept())
    if kept.is_fresh():
        return kept.figures

    def work(task: Task | None = None) -> None:
        try:
            with kept.lock:
                if kept.is_fresh():  # made by another request, while this one waited
                    return
                started_s = time.monotonic()
                board = fitter.board(collection.id)
                with app.engine.connect() as connection:
                    kept.figures = figures(connection, collection.id, board)
                kept.made_s = time.monotonic()
                kept.took_s = kept.made_s - started_s
        finally:
            kept.counting = False

    if _is_quick(kept) or (wait and kept.figures is None):
        work()
    elif not kept.counting:
        kept.counting = True
        app.tasks.start("progress", f"Counting the votes on {collection.name}", work)
    return kept.figures


_keeping = threading.Lock()


def _is_quick(kept: Kept) -> bool:
    if kept.figures is not None:
        return kept.took_s < _QUICK_S
    with reading() as connection:
        return store.last_action(connection) < _QUICK_ACTIONS


def _drawn(found: Figures) -> dict[str, Any]:
    """The plots, and what stands beside them."""
    largest = sorted(found.classes, key=lambda one: (-one.voted, one.label))[:MOST_PLOTS]
    return {
        "time_plot": _time_plot(found.over_time),
        "class_plots": [(one, _class_plot(one)) for one in largest if one.voted],
        "stability_plot": _stability_plot(found.classes[:MOST_PLOTS]),
        "alike_plot": _alike_plot(found.curators),
        "between_plot": _between_plot(found),
    }


def _time_plot(over_time: OverTime) -> Markup | None:
    if not over_time.times:
        return None
    totals = [sum(values) for values in zip(*over_time.series.values(), strict=True)]
    most = max(range(len(totals)), key=totals.__getitem__)
    told = (
        f"{sum(totals):,} actions from {over_time.times[0]} to {over_time.times[-1]} (UTC), the "
        f"most at {over_time.times[most]}: {totals[most]:,}."
    )
    series = [Series(name=name, values=values) for name, values in over_time.series.items()]
    return plots.bars("Votes over time", told, [_short(one) for one in over_time.times], series)


def _short(time_text: str) -> str:
    """A time as an axis shows it."""
    digits = len(time_text)
    if digits <= 7:
        return time_text
    if digits <= 10:
        return time_text[5:]
    return f"{time_text[5:10]} {time_text[11:13]}h" if digits == 13 else f"{time_text[11:]:0<5}"


def _class_plot(one: ClassProgress) -> Markup:
    top = max(range(len(one.counts)), key=one.counts.__getitem__)
    near = f"the most, {one.counts[top]:,}, near {one.centres[top]}"
    told = f"{one.voted:,} pictures with votes; {near}."
    return plots.histogram(f"Scores of {one.label}", told, one.centres, one.counts)


def _stability_plot(classes: list[ClassProgress]) -> Markup | None:
    rows = [
        Interval(name=one.label, value=one.stability, low=one.stability, high=one.stability)
        for one in classes
    ]
    stable = sum(one.stability >= STABLE for one in classes)
    told = f"{stable} of {len(classes)} classes have a stable order, {STABLE:.0%} or more."
    return plots.intervals("Stability of the order", told, rows, mark=STABLE) if rows else None


def _alike_plot(curators: list[CuratorProgress]) -> Markup | None:
    rows = [
        Interval(name=one.name, value=one.alike.share, low=one.alike.low, high=one.alike.high)
        for one in curators
        if one.alike is not None
    ]
    told = "Share of the pairs asked for once more that were answered as before, by curator."
    return plots.intervals("Consistency", told, rows) if rows else None


def _between_plot(found: Figures) -> Markup | None:
    rows = [
        Interval(
            name=f"{one.one} and {one.other}",
            value=one.alike.share,
            low=one.alike.low,
            high=one.alike.high,
        )
        for one in found.between[:MOST_PLOTS]
    ]
    told = "Share of the pairs that two curators both compared which they judged alike."
    return plots.intervals("Agreement between curators", told, rows) if rows else None
