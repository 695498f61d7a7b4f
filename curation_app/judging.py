"""Scores in memory while curators judge: the next pair to ask for, and what a judgement moves.

The log in the database is the truth. Scores here are a fit to it, moved by each vote at once, and
fitted anew now and then, in the background where that takes long; the database holds a copy of them
that pages sort by.
"""

import dataclasses
import threading
import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from curation_app.ranking.live import Live
from curation_app.ranking.model import fit
from curation_app.ranking.pairing import next_pair
from curation_app.ranking.votes import PairVotes, StarVotes
from curation_app.records import Acted, Comparison
from curation_app.store import ranking
from curation_app.store.engine import writing
from curation_app.tasks import Tasks

Ints = NDArray[np.int64]
UNKNOWN = 10.0
"""The deviation of a picture that nobody has voted on, in the database."""
_SMALL = 4000
"""Up to so many pictures and votes, a fit takes less time than a page."""
_ENOUGH_VOTES = 25
_HANDED_OUT_S = 120.0
_REPEATED = 0.05
_FRESH = 5
"""So many of a curator's last pairs are not asked again: they would be remembered."""
_WRITTEN_AT_ONCE = 500


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
    """Pairs that curators look at, and until when nobody else gets them."""

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

    def rows(self, numbers: Iterable[int]) -> tuple[list[int], list[float], list[float], list[int]]:
        """Ids, scores, deviations and votes, as the database keeps them."""
        chosen = list(numbers)
        votes = [int(self.live.votes[one]) for one in chosen]
        deviations = [
            float(np.sqrt(self.live.variance[one])) if number else UNKNOWN
            for one, number in zip(chosen, votes, strict=True)
        ]
        scores = [
            float(self.live.mean[one]) if number else 0.0
            for one, number in zip(chosen, votes, strict=True)
        ]
        return [int(self.ids[one]) for one in chosen], scores, deviations, votes


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
        self._boards: dict[int, Board] = {}
        self._refitting: set[int] = set()
        self._random = np.random.default_rng(seed)

    def ask(
        self, connection: Connection, curator_id: int, collection_id: int, label: str
    ) -> Asked | None:
        """The next pair for a curator; None when the class has fewer than two pictures."""
        board = self.board(collection_id)
        with self._lock:
            if self._random.random() < _REPEATED:
                again = self._repeat(connection, board, curator_id, label)
                if again is not None:
                    return again
            members = board.classes.get(label)
            if members is None or len(members) < 2:
                return None
            self._forget_old(board)
            pair = next_pair(board.live, members, self._random, in_flight=list(board.handed_out))
            if pair is None:
                return None
            board.handed_out[min(pair), max(pair)] = time.monotonic() + _HANDED_OUT_S
        return Asked(left_id=int(board.ids[pair[0]]), right_id=int(board.ids[pair[1]]))

    def judged(
        self, connection: Connection, collection_id: int, curator_id: int, comparison: Comparison
    ) -> None:
        """Take a new judgement in, and write what it moved, in the transaction that records it."""
        board = self._known(collection_id)
        left, right = board.number(comparison.left_id), board.number(comparison.right_id)
        if left is None or right is None:
            return
        with self._lock:
            board.handed_out.pop((min(left, right), max(left, right)), None)
            if comparison.outcome == "skip":
                return
            sign = ranking.OUTCOME_SIGNS[comparison.outcome]
            board.live.compare(left, right, sign, curator_id)
            board.votes += 1
            ranking.write_scores(connection, *board.rows((left, right)))

    def board(self, collection_id: int) -> Board:
        """The scores of a collection, fitted anew where that is due, in the background if large.

        Not inside a transaction that writes: what a fit changes is written in others.
        """
        board = self._known(collection_id)
        if board.stale or board.votes >= _ENOUGH_VOTES:
            return self._refit_later(board)
        return board

    def _known(self, collection_id: int) -> Board:
        with self._lock:
            board = self._boards.get(collection_id)
            if board is None:
                board = self._boards[collection_id] = self._fitted(collection_id)
            return board

    def listen(self, acted: Acted) -> None:
        """After each action: undo, stars, moved and merged pictures change what scores rest on."""
        with self._lock:
            for board in self._boards.values():
                # Some may be merged, or were: a single one does not tell.
                if board.holds_any(acted.picture_ids):
                    board.stale = True

    def forget(self, collection_id: int) -> None:
        """After pictures came or went."""
        with self._lock:
            self._boards.pop(collection_id, None)

    def refit(self, collection_id: int) -> Board:
        """Fit the scores to the whole log anew, and write those that changed."""
        board = self._fitted(collection_id)
        with self._lock:
            self._boards[collection_id] = board
            self._refitting.discard(collection_id)
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
            return self.refit(board.collection_id)
        with self._lock:
            rested = time.monotonic() - board.fitted_s > 20 * board.took_s
            if board.collection_id in self._refitting or not rested:
                return board
            self._refitting.add(board.collection_id)
        self._tasks.start(
            "rank",
            "Fitting scores to the votes",
            lambda _: _ignore(self.refit(board.collection_id)),
        )
        return board

    def _write(self, board: Board) -> None:
        """Scores that differ from what the database holds."""
        with self._engine.connect() as connection:
            held = ranking.scores(connection, board.collection_id)
        changed = []
        ids, scores, deviations, votes = board.rows(range(len(board.ids)))
        for number, row in enumerate(zip(ids, scores, deviations, votes, strict=True)):
            if held.get(row[0]) != row[1:]:
                changed.append(number)
        for start in range(0, len(changed), _WRITTEN_AT_ONCE):
            with writing(self._engine) as connection:
                some = changed[start : start + _WRITTEN_AT_ONCE]
                ranking.write_scores(connection, *board.rows(some))

    def _repeat(
        self, connection: Connection, board: Board, curator_id: int, label: str
    ) -> Asked | None:
        latest = ranking.latest_comparisons(connection, curator_id, board.collection_id, label, 200)
        repeated = {one.repeats_id for one in latest}
        able = [
            one
            for one in latest[_FRESH:]
            if one.repeats_id is None
            and one.action_id not in repeated
            and board.number(one.left_id) is not None
            and board.number(one.right_id) is not None
        ]
        if not able:
            return None
        chosen = able[int(self._random.integers(len(able)))]
        return Asked(left_id=chosen.right_id, right_id=chosen.left_id, repeats_id=chosen.action_id)

    def _forget_old(self, board: Board) -> None:
        now_s = time.monotonic()
        for pair in [pair for pair, until_s in board.handed_out.items() if until_s < now_s]:
            del board.handed_out[pair]


def _numbered(rows: Ints, ids: Ints, columns: int) -> Ints:
    """Votes with numbers in place of ids, without those on pictures that are not ranked."""
    if not len(rows) or not len(ids):
        return rows[:0]
    places = np.searchsorted(ids, rows[:, :columns])
    there = (ids[np.minimum(places, len(ids) - 1)] == rows[:, :columns]).all(axis=1)
    rows = rows[there].copy()
    rows[:, :columns] = places[there]
    return rows


def _ignore(board: Board) -> None:
    """A task returns nothing."""
