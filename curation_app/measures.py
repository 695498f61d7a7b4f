"""Quality over a whole collection: flags and distributions by class, and what gives classes away.

What was measured of a picture never changes, so that it is read once; who is in which class does.
"""

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from curation_app.indexing.bias import Bias, ClassBias, bias
from curation_app.indexing.quality import BLURRED, BRIGHT, DARK, SMALL_PX, Quality
from curation_app.store import quality
from curation_app.store.copies import labels, state

Table = NDArray[np.float32]
Ints = NDArray[np.int64]

SWATCHES = 48
TYPICAL = 6
MOST_COMPARED = 10_000
"""Pictures whose backgrounds are compared; of more, the same number of each class, evenly."""
_QUICK = 20_000
_NUMBERS = [field.name for field in dataclasses.fields(Quality) if field.name != "border_rgb"]
_COLOURS = ("red", "green", "blue")
_COLUMNS = (*_NUMBERS, *_COLOURS)
_BORDER = (*_COLOURS, "border_plain", "border_clear")
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """One of the distributions that are shown."""

    name: str
    edges: tuple[float, ...]
    """Of the bins; what lies beyond is in the first and the last one."""
    low: float | None = None
    """Below, pictures are flagged."""
    high: float | None = None
    unit: str = ""


SCALES = (
    Scale(name="sharpness", edges=tuple(2.0 ** (k / 4) for k in range(-8, 17)), low=BLURRED),
    Scale(name="brightness", edges=tuple(k / 20 for k in range(21)), low=DARK, high=BRIGHT),
    Scale(
        name="shorter side",
        edges=tuple(2.0 ** (k / 2) for k in range(8, 25)),
        low=SMALL_PX,
        unit="px",
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distribution:
    """How many pictures of a class lie in each bin of a scale."""

    counts: tuple[int, ...]
    median: float
    low: float
    """The quartile below the median."""
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassQuality:
    """What is known of the pictures of one class."""

    label: str
    count: int
    flags: dict[str, int]
    bias: ClassBias
    sentences: tuple[str, ...]
    """What sets it apart from the others, for people."""
    swatches: tuple[tuple[int, int, int], ...]
    """Border colours of pictures taken evenly, from dark to bright."""
    typical: tuple[int, ...]
    """Ids of pictures whose borders are most like the class's."""
    distributions: tuple[Distribution, ...]
    """One for each of SCALES."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """Quality of a collection."""

    count: int
    unmeasured: int
    """Pictures that were put on record before anything was measured."""
    classes: list[ClassQuality]
    flags: dict[str, int]
    sentences: tuple[str, ...]
    """About all classes together."""
    told: float | None
    """Share of pictures whose class the border alone gives away."""
    chance: float | None
    compared: int
    """Pictures that the comparison of backgrounds rests on."""


class Qualities:
    """The figures of all collections; for several threads at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._measured: dict[int, Measured] = {}
        self._figures: dict[int, tuple[object, Mapping[int, str], Figures]] = {}

    def figures(self, collection_id: int) -> Figures:
        """The figures as they are now; counted anew only when pictures came, went or moved."""
        with self._lock, self._engine.connect() as connection:
            now = state(connection, collection_id)
            known = self._figures.get(collection_id)
            if known is not None and known[0] == now:
                return known[2]
            classes = labels(connection, collection_id)
            if known is not None and known[1] == classes and not known[2].unmeasured:
                found = known[2]  # somebody voted
            else:
                measured = self._measured.setdefault(collection_id, Measured())
                measured.read(connection, np.fromiter(classes, np.int64, len(classes)))
                found = figures(connection, collection_id, measured, classes)
            self._figures[collection_id] = now, classes, found
            return found

    def is_quick(self, collection_id: int) -> bool:
        """Whether `figures` takes hardly longer than a page."""
        with self._engine.connect() as connection:
            count = state(connection, collection_id)[0]
        measured = self._measured.get(collection_id)
        return count - (len(measured.ids) if measured else 0) <= _QUICK


class Measured:
    """What was measured of each picture of a collection, in memory."""

    def __init__(self) -> None:
        self.ids: Ints = np.empty(0, np.int64)
        self.table: Table = np.empty((0, len(_COLUMNS)), np.float32)
        self._bias: tuple[bytes, Bias] | None = None

    def read(self, connection: Connection, ids: Ints) -> None:
        """Take in what is not known yet of these pictures."""
        news = np.setdiff1d(ids, self.ids).tolist()
        found = [(one, _row(text)) for one, text in quality.measures(connection, news)]
        known = [(one, row) for one, row in found if row is not None]
        if known:
            ids = np.concatenate([self.ids, [one for one, _ in known]])
            rows = np.array([row for _, row in known], np.float32)
            order = np.argsort(ids)
            self.ids, self.table = ids[order], np.concatenate([self.table, rows])[order]

    def rows(self, ids: Ints) -> Ints:
        """The rows of those of these ids that were measured, in order."""
        places = np.searchsorted(self.ids, ids)
        there = places < len(self.ids)
        there[there] = self.ids[places[there]] == ids[there]
        return places[there]

    def compare(self, classes: Mapping[str, Ints]) -> Bias:
        """What gives the classes (label to rows) away; the last answer is remembered."""
        key = repr([(label, hash(rows.tobytes())) for label, rows in classes.items()]).encode()
        if self._bias is None or self._bias[0] != key:
            sample = {
                label: [_quality(row) for row in self.table[rows]]
                for label, rows in sampled(classes).items()
            }
            self._bias = key, bias(sample)
        return self._bias[1]


def figures(
    connection: Connection, collection_id: int, measured: Measured, shown: Mapping[int, str]
) -> Figures:
    """Count what was measured of the pictures in `shown` (id to class), class by class."""
    ids: dict[str, list[int]] = {}
    for one, label in shown.items():
        ids.setdefault(label, []).append(one)
    classes = {label: measured.rows(np.array(ids[label], np.int64)) for label in sorted(ids)}
    classes = {label: rows for label, rows in classes.items() if len(rows)}
    compared = measured.compare(classes)
    flagged = quality.flag_counts(connection, collection_id)
    summed_up = {one.label: one for one in compared.classes}
    told = said_of(compared.sentences, list(classes))
    return Figures(
        count=len(shown),
        unmeasured=len(shown) - sum(len(rows) for rows in classes.values()),
        classes=[
            _class(measured, rows, summed_up[label], flagged.get(label, {}), told[label])
            for label, rows in classes.items()
        ],
        flags=_total(flagged),
        sentences=told[None],
        told=compared.told,
        chance=compared.chance,
        compared=sum(one.count for one in compared.classes),
    )


def sampled(classes: Mapping[str, Ints]) -> dict[str, Ints]:
    """Rows to compare: all of them, or as many of each class, evenly."""
    if sum(len(rows) for rows in classes.values()) <= MOST_COMPARED:
        return dict(classes)
    most = max(1, MOST_COMPARED // len(classes))
    return {label: evenly(rows, most) for label, rows in classes.items()}


def evenly(rows: Ints, most: int) -> Ints:
    """Up to so many of them, from the first to the last."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def said_of(sentences: Sequence[str], classes: Sequence[str]) -> dict[str | None, tuple[str, ...]]:
    """Sentences by the class that each begins with; None: of all classes."""
    found: dict[str | None, list[str]] = {label: [] for label in (None, *classes)}
    longest_first = sorted(classes, key=len, reverse=True)
    for line in sentences:
        label = next((one for one in longest_first if line.startswith(f"{one}: ")), None)
        found[label].append(line if label is None else line.removeprefix(f"{label}: "))
    return {label: tuple(lines) for label, lines in found.items()}


def _class(
    measured: Measured,
    rows: Ints,
    summed_up: ClassBias,
    flagged: dict[str, int],
    sentences: tuple[str, ...],
) -> ClassQuality:
    table = measured.table[rows]
    column = {name: table[:, place] for place, name in enumerate(_COLUMNS)}
    values = (
        column["sharpness"],
        column["brightness"],
        np.minimum(column["width_px"], column["height_px"]),
    )
    return ClassQuality(
        label=summed_up.label,
        count=len(rows),
        flags=flagged,
        bias=summed_up,
        sentences=sentences,
        swatches=_swatches(measured.table[evenly(rows, SWATCHES)]),
        typical=tuple(measured.ids[rows[_most_typical(column)]].tolist()),
        distributions=tuple(_spread(one, scale) for one, scale in zip(values, SCALES, strict=True)),
    )


def _swatches(table: Table) -> tuple[tuple[int, int, int], ...]:
    colours = table[:, [_COLUMNS.index(name) for name in _COLOURS]]
    ordered = colours[np.argsort(colours @ _LUMA, kind="stable")].round().astype(int).tolist()
    return tuple((red, green, blue) for red, green, blue in ordered)


def _most_typical(column: Mapping[str, Table]) -> Ints:
    """Rows whose borders are nearest to the middle of the class."""
    colours = [column[name] / (255 if name in _COLOURS else 1) for name in _BORDER]
    borders = np.stack(colours, axis=1)
    apart = np.abs(borders - np.median(borders, axis=0)).sum(axis=1)
    return np.sort(np.argsort(apart, kind="stable")[:TYPICAL])


def _spread(values: Table, scale: Scale) -> Distribution:
    inside = np.clip(values, scale.edges[0], np.nextafter(scale.edges[-1], 0))
    counts, _ = np.histogram(inside, scale.edges)
    low, median, high = np.percentile(values, (25, 50, 75)).tolist()
    return Distribution(counts=tuple(counts.tolist()), low=low, median=median, high=high)


def _row(facts: str) -> list[float] | None:
    """A row of the table; None where nothing was measured."""
    found = json.loads(facts)
    if "border_rgb" not in found:
        return None
    return [*(found[name] for name in _NUMBERS), *found["border_rgb"]]


def _quality(row: Table) -> Quality:
    values = dict(zip(_COLUMNS, row.tolist(), strict=True))
    colour = (int(values.pop("red")), int(values.pop("green")), int(values.pop("blue")))
    sides = {name: int(values.pop(name)) for name in ("width_px", "height_px")}
    return Quality(**values, **sides, border_rgb=colour)


def _total(flagged: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for counts in flagged.values():
        for flag, number in counts.items():
            found[flag] = found.get(flag, 0) + number
    return found
