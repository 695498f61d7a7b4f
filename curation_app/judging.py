"""Scores in memory while curators judge: the next pair to ask for, and what a judgement moves.

The log in the database is the truth. Scores here are a fit to it, moved by each vote at once, and
fitted anew now and then, in the background where that takes long; the database holds a copy of them
that pages sort by.
"""

import dataclasses
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from curation_app.context import App
from curation_app.ranking.live import Live
from curation_app.ranking.model import fit
from curation_app.ranking.pairing import next_pair
from curation_app.ranking.votes import PairVotes, StarVotes
from curation_app.records import Acted, Comparison
from curation_app.store import ranking
from curation_app.store.engine import writing
from curation_app.tasks import Task, Tasks

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
UNKNOWN = 10.0
"""The deviation of a picture that nobody has voted on, in the database."""
_SMALL = 4000
"""Up to so many pictures and votes, a fit takes less time than a page."""
_ENOUGH_VOTES = 25
_HANDED_OUT_S = 120.0
_JUST_NOW_S = 30.0
_REPEATED = 0.05
_RECENT = 64
"""So many of a curator's last pairs may be asked once more,"""
_FRESH = 5
"""but not these: they would be remembered."""
_RESTS = 60
"""A fit in the background comes no sooner than so many times as long as the last one took."""
_WRITTEN_AT_ONCE = 100
_RESTED_ON = frozenset({"vote", "stars", "label", "merged_into", "present"})
"""Fields that scores, or who is compared with whom, depend on."""


@dataclasses.dataclass(kw_only=True, eq=False)
class Board:
    """The scores of a collection."""

    collection_id: int
    ids: Ints
    """Of the database, sorted; a picture's place among them is its number in `live`."""
    classes: dict[str, Ints]
    """Class to numbers."""
    live: Live
    fitted_s: float
    """When, on the monotonic clock."""
    took_s: float
    votes: int = 0
    """Since the fit."""
    stale: bool = False
    """Whether the log holds something that `live` has not been told."""
    handed_out: dict[tuple[int, int], float] = dataclasses.field(default_factory=dict)
    """Pairs that curators look at, or skipped, and until when nobody else gets them."""
    judged_at_s: dict[tuple[int, int], float] = dataclasses.field(default_factory=dict)
    """Pairs judged since the fit, and when."""

    def members(self, label: str) -> Ints:
        """The pictures of a class, by number; none of one that came since the fit."""
        return self.classes.get(label, np.empty(0, np.int64))

    def number(self, picture_id: int) -> int | None:
        """Where a picture stands, if it is ranked."""
        place = int(np.searchsorted(self.ids, picture_id))
        return place if place < len(self.ids) and self.ids[place] == picture_id else None

    def holds_any(self, picture_ids: Sequence[int]) -> bool:
        """Whether any of these pictures is ranked."""
        if not len(self.ids):
            return False
        places = np.minimum(np.searchsorted(self.ids, picture_ids), len(self.ids) - 1)
        return bool((self.ids[places] == picture_ids).any())

    def is_free(self, left_id: int, right_id: int) -> bool:
        """Whether both pictures are ranked, and nobody looks at them as a pair."""
        left, right = self.number(left_id), self.number(right_id)
        if left is None or right is None:
            return False
        return (min(left, right), max(left, right)) not in self.handed_out

    def hand_out(self, one: int, other: int) -> None:
        """Keep a pair, by its pictures' numbers, from being asked for by anybody else."""
        until_s = time.monotonic() + _HANDED_OUT_S
        self.handed_out[min(one, other), max(one, other)] = until_s

    def keep_handed_out(self, before: "Board") -> None:
        """Take over the pairs that curators were given while an earlier fit held.

        Also those judged a moment ago that this fit has not seen: they were taken back, and are on
        the screen again, or not on record yet when the log was read.
        """
        judged = {pair: at_s + _JUST_NOW_S for pair, at_s in before.judged_at_s.items()}
        for pair, until_s in (judged | before.handed_out).items():
            one, other = (self.number(int(before.ids[number])) for number in pair)
            if one is None or other is None:
                continue
            met = self.live.have_met(np.array([one]), np.array([other])).item()
            if pair in before.handed_out or not met:
                self.handed_out[min(one, other), max(one, other)] = until_s
        # Fewer votes than before: the log was read before one of them was on record.
        self.stale |= int(self.live.votes.sum()) < int(before.live.votes.sum())

    def rows(self, numbers: Ints) -> tuple[Ints, Floats, Floats, Ints]:
        """Ids, scores, deviations and votes of some pictures, as the database keeps them."""
        votes = self.live.votes[numbers]
        return (
            self.ids[numbers],
            np.where(votes > 0, self.live.mean[numbers], 0.0),
            np.where(votes > 0, np.sqrt(self.live.variance[numbers]), UNKNOWN),
            votes,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """A pair to judge."""

    left_id: int
    right_id: int
    repeats_id: int | None = None
    """The curator's own judgement that this asks for once more, sides changed."""


class Judge:
    """The boards of all collections; for several threads at once."""

    def __init__(self, engine: Engine, tasks: Tasks, *, seed: int | None = None) -> None:
        self._engine = engine
        self._tasks = tasks
        self._lock = threading.RLock()
        self._first = threading.Lock()
        self._fitting = threading.Lock()  # an older fit must not take a newer one's place
        self._heard = 0
        self._boards: dict[int, Board] = {}
        self._refitting: set[int] = set()
        self._random = np.random.default_rng(seed)

    def ask(
        self, connection: Connection, curator_id: int, collection_id: int, label: str
    ) -> Asked | None:
        """The next pair for a curator; None when the class has fewer than two pictures."""
        board = self.board(collection_id)
        with self._lock:
            board = self._boards.get(collection_id, board)  # fitted anew by somebody meanwhile
            self._forget_old(board)
            if self._random.random() < _REPEATED:
                again = self._repeat(connection, board, curator_id, label)
                if again is not None:
                    return again
            members = board.members(label)
            if len(members) < 2:
                return None
            pair = next_pair(board.live, members, self._random, in_flight=list(board.handed_out))
            if pair is None:
                return None
            board.hand_out(*pair)
        return Asked(left_id=int(board.ids[pair[0]]), right_id=int(board.ids[pair[1]]))

    def judged(
        self, connection: Connection, collection_id: int, curator_id: int, comparison: Comparison
    ) -> None:
        """Take a new judgement in, and write what it moved, in the transaction that records it."""
        board = self._known(collection_id)
        with self._lock:
            board = self._boards.get(collection_id, board)  # fitted anew by somebody meanwhile
            left, right = board.number(comparison.left_id), board.number(comparison.right_id)
            if left is None or right is None:
                return
            if comparison.outcome == "skip":
                return  # and it is not asked again at once
            pair = min(left, right), max(left, right)
            board.handed_out.pop(pair, None)
            board.judged_at_s[pair] = time.monotonic()
            sign = ranking.OUTCOME_SIGNS[comparison.outcome]
            board.live.compare(left, right, sign, curator_id)
            board.votes += 1
            ranking.write_scores(connection, *board.rows(np.array([left, right])))

    def board(self, collection_id: int) -> Board:
        """The scores of a collection, fitted anew where that is due, in the background if large.

        Not inside a transaction that writes: what a fit changes is written in others.
        """
        board = self._known(collection_id)
        if _is_due(board):
            return self._refit_later(board)
        return board

    def _known(self, collection_id: int) -> Board:
        with self._lock:
            board, heard = self._boards.get(collection_id), self._heard
        if board is not None:
            return board
        # Actions on other pictures do not wait for a first fit, which may be long.
        with self._first:
            with self._lock:
                board, heard = self._boards.get(collection_id), self._heard
            if board is None:
                board = self._fitted(collection_id)
                with self._lock:
                    board.stale = heard != self._heard
                    self._boards[collection_id] = board
        return board

    def listen(self, acted: Acted) -> None:
        """After each action: undo, stars, moved and merged pictures change what scores rest on."""
        if not acted.fields & _RESTED_ON:
            return
        with self._lock:
            self._heard += 1
            for board in self._boards.values():
                # Pictures that come back are none of the board's yet.
                if acted.fields & {"merged_into", "present"} or board.holds_any(acted.picture_ids):
                    board.stale = True

    def forget(self, collection_id: int) -> None:
        """After pictures came or went."""
        with self._lock:
            self._heard += 1  # a fit that is under way is stale when it is done
            self._boards.pop(collection_id, None)

    def holds(self, picture_id: int) -> bool:
        """Whether a picture's collection is fitted already."""
        with self._lock:
            return any(board.number(picture_id) is not None for board in self._boards.values())

    def ready(self, collection_id: int) -> None:
        """Fit a collection for the first time, if nobody has."""
        self._known(collection_id)

    def refit(self, collection_id: int) -> Board:
        """Fit the scores to the whole log anew, and write those that changed."""
        with self._fitting:
            return self._refit(collection_id)

    def _refit(self, collection_id: int) -> Board:
        with self._lock:
            held, heard = self._boards.get(collection_id), self._heard
            votes = held.votes if held is not None else 0
        board = self._fitted(collection_id)
        with self._lock:
            # What came while it was fitted is not in it.
            board.stale = heard != self._heard or (held is not None and held.votes != votes)
            if collection_id in self._boards:
                board.keep_handed_out(self._boards[collection_id])
            self._boards[collection_id] = board
        self._write(board)
        return board

    def _fitted(self, collection_id: int) -> Board:
        started_s = time.monotonic()
        with self._engine.connect() as connection:
            members = ranking.members(connection, collection_id)
            votes = ranking.votes(connection, collection_id)
        ids = np.array([one for one, _ in members], np.int64)
        classes: dict[str, list[int]] = {}
        for number, (_, label) in enumerate(members):
            classes.setdefault(label, []).append(number)
        pairs, stars = _numbered(votes.pairs, ids, 2), _numbered(votes.stars, ids, 1)
        curators = int(max(pairs[:, 3].max(initial=0), stars[:, 2].max(initial=0))) + 1
        scores = fit(
            len(ids),
            PairVotes(
                left=pairs[:, 0], right=pairs[:, 1], outcome=pairs[:, 2], curator=pairs[:, 3]
            ),
            StarVotes(picture=stars[:, 0], stars=stars[:, 1], curator=stars[:, 2]),
            curators=curators,
        )
        now_s = time.monotonic()
        return Board(
            collection_id=collection_id,
            ids=ids,
            classes={label: np.array(some) for label, some in classes.items()},
            live=Live(scores),
            fitted_s=now_s,
            took_s=now_s - started_s,
        )

    def _refit_later(self, board: Board) -> Board:
        """At once where it is quick; else in the background, and the old scores serve meanwhile."""
        size = len(board.ids) + int(board.live.votes.sum())
        if size <= _SMALL:
            with self._fitting:
                latest = self._known(board.collection_id)
                return self._refit(board.collection_id) if _is_due(latest) else latest
        with self._lock:
            rested = time.monotonic() - board.fitted_s > _RESTS * board.took_s
            if board.collection_id in self._refitting or not rested:
                return board
            self._refitting.add(board.collection_id)

        def again(_: Task) -> None:
            try:
                self.refit(board.collection_id)
            finally:
                with self._lock:
                    self._refitting.discard(board.collection_id)

        self._tasks.start("rank", "Fitting scores to the votes", again)
        return board

    def _write(self, board: Board) -> None:
        """Scores that differ from what the database holds."""
        with self._engine.connect() as connection:
            held = ranking.scores(connection, board.collection_id)
        known, places, _ = np.intersect1d(board.ids, held[0], return_indices=True)
        rows = board.rows(places)
        there = np.searchsorted(held[0], known)
        differ = [mine != theirs[there] for mine, theirs in zip(rows[1:], held[1:], strict=True)]
        changed = places[np.logical_or.reduce(differ)]
        for start in range(0, len(changed), _WRITTEN_AT_ONCE):
            some = changed[start : start + _WRITTEN_AT_ONCE]
            with writing(self._engine) as connection:
                # Votes on them wait: what one has moved must not be moved back by older scores.
                ranking.hold(connection, board.ids[some].tolist())
                with self._lock:
                    rows = board.rows(some)
                ranking.write_scores(connection, *rows)

    def _repeat(
        self, connection: Connection, board: Board, curator_id: int, label: str
    ) -> Asked | None:
        latest = ranking.latest_comparisons(
            connection, curator_id, board.collection_id, label, _RECENT
        )
        repeated = {one.repeats_id for one in latest}
        able = [
            one
            for one in latest[_FRESH:]
            if one.repeats_id is None
            and one.action_id not in repeated
            and board.is_free(one.left_id, one.right_id)
        ]
        if not able:
            return None
        chosen = able[int(self._random.integers(len(able)))]
        # Pages fetch ahead of what was answered: a repeat on its way must not be asked twice.
        board.hand_out(board.number(chosen.left_id) or 0, board.number(chosen.right_id) or 0)
        return Asked(left_id=chosen.right_id, right_id=chosen.left_id, repeats_id=chosen.action_id)

    def _forget_old(self, board: Board) -> None:
        now_s = time.monotonic()
        for pair in [pair for pair, until_s in board.handed_out.items() if until_s < now_s]:
            del board.handed_out[pair]


def judge_of(app: App) -> Judge:
    """The app's one judge, who hears of every action."""
    found: Judge | None = app.parts.get("judge")
    if found is None:
        found = app.parts.setdefault("judge", Judge(app.engine, app.tasks))
        if found.listen not in app.listeners:
            app.listeners.append(found.listen)
    return found


def _is_due(board: Board) -> bool:
    """Whether its scores should be fitted anew."""
    return board.stale or board.votes >= _ENOUGH_VOTES


def _numbered(rows: Ints, ids: Ints, columns: int) -> Ints:
    """Votes with numbers in place of ids, without those on pictures that are not ranked."""
    if not len(rows) or not len(ids):
        return rows[:0]
    places = np.searchsorted(ids, rows[:, :columns])
    there = (ids[np.minimum(places, len(ids) - 1)] == rows[:, :columns]).all(axis=1)
    rows = rows[there].copy()
    rows[:, :columns] = places[there]
    return rows
