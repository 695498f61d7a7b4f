"""How far curating is: by class, by curator, over time; and how far the votes can be trusted."""

import dataclasses
import datetime
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row

from curation_app.judging import Board
from curation_app.ranking.agreement import Share, between_curators, consistency, overall_kappa
from curation_app.ranking.agreement import with_order as against_order
from curation_app.ranking.stability import outlook
from curation_app.ranking.votes import PairVotes
from curation_app.records import STATES
from curation_app.store import progress as store

KINDS = {"compare": "comparisons", "stars": "stars", "state": "keep, maybe, reject"}
"""Kinds of actions that have a series of their own; all others are one together."""
OTHERS = "tags, classes, merges"
BINS = 20
_TIMES = ((7, 120), (10, 5), (13, 0.4), (15, 0.07))
"""How many characters of a time are a month, day, hour or ten minutes, for spans from so many days
on; shorter ones are counted by the minute."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A share of some cases, with its 95 % interval."""

    cases: int
    share: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassProgress:
    """One class."""

    label: str
    pictures: int
    states: dict[str, int]
    decided: float
    """Share of the pictures that are marked keep, maybe or reject."""
    starred: int
    voted: int
    """Pictures with comparisons or stars."""
    votes_per_picture: float
    stability: float
    """Expected Spearman correlation of the order with the truth; 0 without votes."""
    needed: int | None
    """Further comparisons until the order is stable; None when that cannot be told."""
    centres: list[float]
    """Of the bins of scores, in logits."""
    counts: list[int]
    """Voted pictures in each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CuratorProgress:
    """One curator."""

    id: int
    name: str
    done: dict[str, int]
    """Series to number of actions that stand."""
    taken_back: int
    """In all collections."""
    outcomes: dict[str, int]
    """Outcome to number of comparisons."""
    alike: Measured | None = None
    """Of pairs asked for once more, those answered as before."""
    left: Measured | None = None
    """Of comparisons that are no ties, those that the left picture won."""
    biased: bool = False
    """Whether that is too far from a half to be chance."""
    with_order: Measured | None = None
    """Of comparisons that are no ties, those that the fitted order agrees with."""
    expected: float | None = None
    """What a curator who is never careless would reach on those pairs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Between:
    """Two curators, on the pairs that both compared."""

    one: str
    other: str
    alike: Measured
    kappa: float | None
    """0 is chance, 1 is always alike."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverTime:
    """Actions over time."""

    times: list[str]
    """Without gaps; their length says what they are: a month, day, hour, ten minutes, minute."""
    series: dict[str, list[int]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything that the page of progress shows of a collection."""

    made_at: str
    classes: list[ClassProgress]
    curators: list[CuratorProgress]
    between: list[Between]
    kappa: float | None
    """Of all curators on all pairs that several of them compared."""
    over_time: OverTime


def figures(connection: Connection, collection_id: int, board: Board) -> Figures:
    """Count, and measure how far the votes agree; `board` holds the collection's scores."""
    done = store.done(connection, collection_id, digits_for(store.span(connection)))
    curators = by_curator(connection, done, collection_id)
    votes = _pair_votes(store.pairs(connection, collection_id))
    names = store.names(connection)
    return Figures(
        made_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        classes=by_class(store.judged(connection, collection_id), board),
        curators=[_measured(one, votes, board) for one in curators],
        between=[
            Between(
                one=names[found.curators[0]],
                other=names[found.curators[1]],
                alike=_share(found.alike),
                kappa=found.kappa,
            )
            for found in between_curators(votes)
        ],
        kappa=overall_kappa(votes),
        over_time=over_time(done),
    )


def by_class(rows: Sequence[Row[Any]], board: Board) -> list[ClassProgress]:
    """What `store.judged` found, class by class."""
    if not rows:
        return []
    columns = [np.array(column) for column in list(zip(*rows, strict=True))[:5]]
    labels, votes, scores = columns[0], columns[3], columns[4]
    edges = _edges(scores[votes > 0])
    return [
        _class(str(label), [column[labels == label] for column in columns[1:]], edges, board)
        for label in np.unique(labels)
    ]


def by_curator(
    connection: Connection, rows: Sequence[Row[Any]], collection_id: int
) -> list[CuratorProgress]:
    """What `store.done` counted, curator by curator; those who did nothing are left out."""
    done: dict[int, Counter[str]] = {}
    for row in rows:
        done.setdefault(row.curator_id, Counter())[series_of(row.kind)] += row.number
    judged: dict[int, dict[str, int]] = {}
    for row in store.outcomes(connection, collection_id):
        judged.setdefault(row.curator_id, {})[row.outcome] = row.number
    names, back = store.names(connection), store.taken_back(connection)
    return [
        CuratorProgress(
            id=one,
            name=names[one],
            done={name: counts[name] for name in all_series()},
            taken_back=back.get(one, 0),
            outcomes=judged.get(one, {}),
        )
        for one, counts in sorted(done.items(), key=lambda item: names[item[0]])
    ]


def over_time(rows: Sequence[Row[Any]]) -> OverTime:
    """What `store.done` counted, time by time."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row.time, Counter())[series_of(row.kind)] += row.number
    times = without_gaps(sorted(found))
    return OverTime(
        times=times,
        series={name: [found.get(one, Counter())[name] for one in times] for name in all_series()},
    )


def digits_for(span: tuple[str, str] | None) -> int:
    """How many characters of a time make bars that can be told apart."""
    if span is None:
        return 10
    first, last = (datetime.datetime.fromisoformat(text) for text in span)
    days = (last - first).total_seconds() / 86400
    return next((digits for digits, least in _TIMES if days >= least), 16)


def without_gaps(times: Sequence[str]) -> list[str]:
    """Every time from the first to the last, cut off as those are."""
    if not times:
        return []
    digits = len(times[0])
    at, last = (_parsed(text) for text in (times[0], times[-1]))
    found = []
    while at <= last:
        found.append(at.isoformat()[:digits])
        at = _after(at, digits)
    return found


def series_of(kind: str) -> str:
    """The series that a kind of action belongs to."""
    return KINDS.get(kind, OTHERS)


def all_series() -> list[str]:
    """All series, in their order."""
    return [*KINDS.values(), OTHERS]


def _class(
    label: str, columns: list[NDArray[Any]], edges: NDArray[np.float64], board: Board
) -> ClassProgress:
    states, stars, votes, scores = columns
    by_state = {state: int((states == state).sum()) for state in STATES}
    members = board.classes.get(label, np.zeros(0, np.int64))
    live = board.live
    found = outlook(
        live.mean[members],
        live.variance[members],
        live.votes[members].astype(np.float64),
        spread=live.scores.spread,
    )
    voted = votes > 0
    counts = np.histogram(np.clip(scores[voted], edges[0], edges[-1]), edges)[0]
    return ClassProgress(
        label=label,
        pictures=len(states),
        states=by_state,
        decided=1 - by_state["unseen"] / len(states),
        starred=int((stars > 0).sum()),
        voted=int(voted.sum()),
        votes_per_picture=float(votes.mean()),
        stability=max(0.0, found.correlation) if voted.any() or len(votes) < 2 else 0.0,
        needed=found.comparisons_needed,
        centres=[round(float(one), 2) for one in (edges[1:] + edges[:-1]) / 2],
        counts=[int(one) for one in counts],
    )


def _edges(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of bins around 0, the same for all classes, so that their plots can be compared."""
    most = float(np.quantile(np.abs(scores), 0.995)) if len(scores) else 1.0
    wide = max(0.2, round(2 * most / BINS, 1))
    half = int(np.ceil(most / wide))
    return np.asarray((np.arange(-half, half + 2) - 0.5) * wide, dtype=np.float64)


def _measured(one: CuratorProgress, votes: PairVotes, board: Board) -> CuratorProgress:
    """A curator's figures with how far the votes agree, with themselves and with the order."""
    own = votes.where(votes.curator == one.id)
    found = consistency(own)
    ordered = against_order(_numbered(own, board), board.live.mean, board.live.variance)
    return dataclasses.replace(
        one,
        alike=_share_or_none(found.alike),
        left=_share_or_none(found.left),
        biased=found.biased,
        with_order=_share_or_none(ordered.alike),
        expected=ordered.expected,
    )


def _share_or_none(found: Share) -> Measured | None:
    return _share(found) if found.cases else None


def _share(found: Share) -> Measured:
    low, high = found.interval or (0.0, 1.0)
    return Measured(cases=found.cases, share=found.value or 0.0, low=low, high=high)


def _pair_votes(rows: NDArray[np.int64]) -> PairVotes:
    left, right, outcome, curator = rows.T
    return PairVotes(left=left, right=right, outcome=outcome, curator=curator)


def _numbered(votes: PairVotes, board: Board) -> PairVotes:
    """With the board's numbers in place of ids, without pictures that are not on it."""
    if not len(board.ids):
        return votes.where(np.zeros(0, np.int64))
    left, right = (np.searchsorted(board.ids, ids) for ids in (votes.left, votes.right))
    last = len(board.ids) - 1
    there = board.ids[np.minimum(left, last)] == votes.left
    there &= board.ids[np.minimum(right, last)] == votes.right
    numbered = dataclasses.replace(votes, left=left, right=right)
    return numbered.where(there)


def _parsed(text: str) -> datetime.datetime:
    whole = text + "0000-01-01T00:00"[len(text) :]
    return datetime.datetime.fromisoformat(whole)


def _after(at: datetime.datetime, digits: int) -> datetime.datetime:
    if digits == 7:
        return (at.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)
    steps = {10: {"days": 1}, 13: {"hours": 1}, 15: {"minutes": 10}, 16: {"minutes": 1}}
    return at + datetime.timedelta(**steps[digits])
