"""What the scores rest on: who compared what with what, and who gave how many stars."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, bindparam, case, func, select, update

from curation_app.filters import Filter
from curation_app.records import Comparison
from curation_app.store.pictures import conditions
from curation_app.store.schema import actions, changes, comparisons, pictures, undone

Ints = NDArray[np.int64]
OUTCOME_SIGNS = {"left": 1, "tie": 0, "right": -1}
_STANDS = actions.c.id.not_in(select(undone.c.action_id))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Votes:
    """All votes on the pictures of a collection, as ids of the database."""

    pairs: Ints
    """M × 4: left, right, outcome (1, 0, -1: left, tie, right), curator; in the log's order."""
    stars: Ints
    """K × 3: picture, stars, curator; the last word of each curator."""


def members(connection: Connection, collection_id: int) -> list[tuple[int, str]]:
    """Id and class of each picture that can be ranked, by id."""
    rows = connection.execute(
        select(pictures.c.id, pictures.c.label)
        .where(conditions(Filter(collection=collection_id)))
        .order_by(pictures.c.id)
    )
    return [(one, label) for one, label in rows.all()]


def votes(connection: Connection, collection_id: int) -> Votes:
    """Every vote that stands, of all curators.

    Votes on a picture that was merged count for the one that it was merged into, and comparisons of
    two that are one by now for nothing.
    """
    kept = _Kept(connection, collection_id)
    sign = case(OUTCOME_SIGNS, value=comparisons.c.outcome, else_=0)
    found = _comparisons(collection_id).with_only_columns(
        comparisons.c.left_id, comparisons.c.right_id, sign, actions.c.curator_id
    )
    judged = found.where(comparisons.c.outcome != "skip").order_by(actions.c.id)
    # The stars that a merge gives to the kept picture are not the merging curator's own.
    last = (
        select(func.max(changes.c.id))
        .join(actions, actions.c.id == changes.c.action_id)
        .join(pictures, pictures.c.id == changes.c.picture_id)
        .where(changes.c.field == "stars", _STANDS, actions.c.kind != "merge")
        .where(pictures.c.collection_id == collection_id)
        .group_by(changes.c.picture_id, actions.c.curator_id)
    )
    stars = (
        select(changes.c.picture_id, changes.c.value, actions.c.curator_id)
        .join(actions, actions.c.id == changes.c.action_id)
        .where(changes.c.id.in_(last))
        .order_by(changes.c.id)
    )
    pairs = kept.of(_table(connection.execute(judged).yield_per(10_000), 4), 2)
    given = kept.of(_table([(a, int(b), c) for a, b, c in connection.execute(stars)], 3), 1)
    words = {(a, c): (a, b, c) for a, b, c in given.tolist()}  # the last one of each curator
    return Votes(
        pairs=pairs[pairs[:, 0] != pairs[:, 1]],
        stars=_table([word for word in words.values() if word[1]], 3),
    )


class _Kept:
    """What became of the merged pictures of a collection."""

    def __init__(self, connection: Connection, collection_id: int) -> None:
        merged = select(pictures.c.id, pictures.c.merged_into).where(
            pictures.c.collection_id == collection_id, pictures.c.merged_into.is_not(None)
        )
        into = {row.id: row.merged_into for row in connection.execute(merged)}
        self._ids = np.array(sorted(into), np.int64)
        self._kept = np.array([_end(into, one) for one in sorted(into)], np.int64)

    def of(self, rows: Ints, columns: int) -> Ints:
        """Votes with the kept pictures' ids in the first columns."""
        if len(self._ids):
            ids = rows[:, :columns]
            places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
            rows[:, :columns] = np.where(self._ids[places] == ids, self._kept[places], ids)
        return rows


def _end(into: dict[int, int], one: int) -> int:
    """Where a chain of merges ends; one undo may leave a picture merged into a merged one."""
    for _ in into:
        if one not in into:
            break
        one = into[one]
    return one


def latest_comparisons(
    connection: Connection, curator_id: int, collection_id: int, label: str, most: int
) -> list[Comparison]:
    """What a curator judged in a class, the newest first: what may be asked once more."""
    found = (
        _comparisons(collection_id)
        .where(actions.c.curator_id == curator_id, pictures.c.label == label)
        .where(comparisons.c.outcome != "skip")
        .order_by(actions.c.id.desc())
        .limit(most)
    )
    return [_comparison(row) for row in connection.execute(found)]


def comparison(connection: Connection, action_id: int) -> Comparison | None:
    """A comparison by the action that recorded it."""
    found = (
        select(comparisons, actions.c.curator_id, actions.c.at)
        .join(actions, actions.c.id == comparisons.c.action_id)
        .where(comparisons.c.action_id == action_id)
    )
    row = connection.execute(found).first()
    return None if row is None else _comparison(row)


def all_comparisons(connection: Connection, collection_id: int) -> list[Comparison]:
    """Every comparison that stands, skipped ones too, in the log's order."""
    found = _comparisons(collection_id).order_by(actions.c.id)
    return [_comparison(row) for row in connection.execute(found)]


def scores(
    connection: Connection, collection_id: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Ids (sorted), scores, deviations and votes of the pictures that can be ranked, as pages
    show them.
    """
    columns = (pictures.c.id, pictures.c.score, pictures.c.deviation, pictures.c.votes)
    found = select(*columns).where(conditions(Filter(collection=collection_id)))
    rows = np.array(
        [tuple(row) for row in connection.execute(found.order_by(pictures.c.id)).all()],
        dtype=np.float64,
    ).reshape(-1, 4)
    return rows[:, 0].astype(np.int64), rows[:, 1], rows[:, 2], rows[:, 3].astype(np.int64)


def hold(connection: Connection, ids: Sequence[int]) -> None:
    """Let nobody else change these pictures before this transaction ends."""
    rows = select(pictures.c.id).where(pictures.c.id.in_(ids)).order_by(pictures.c.id)
    connection.execute(rows.with_for_update())


def write_scores(
    connection: Connection,
    ids: NDArray[np.int64],
    scores: NDArray[np.float64],
    deviations: NDArray[np.float64],
    numbers: NDArray[np.int64],
) -> None:
    """Put scores where the pages read them."""
    columns = (column.tolist() for column in (ids, scores, deviations, numbers))
    rows = [
        {"one": one, "score": score, "deviation": deviation, "votes": number}
        for one, score, deviation, number in zip(*columns, strict=True)
    ]
    if rows:
        statement = update(pictures).where(pictures.c.id == bindparam("one"))
        names = ("score", "deviation", "votes")
        connection.execute(statement.values({name: bindparam(name) for name in names}), rows)


def _comparisons(collection_id: int) -> Select[Any]:
    """Comparisons that stand, by the collection of their left picture."""
    return (
        select(
            comparisons.c.action_id,
            actions.c.curator_id,
            comparisons.c.left_id,
            comparisons.c.right_id,
            comparisons.c.outcome,
            comparisons.c.repeats_id,
            actions.c.at,
        )
        .join(actions, actions.c.id == comparisons.c.action_id)
        .join(pictures, pictures.c.id == comparisons.c.left_id)
        .where(_STANDS, pictures.c.collection_id == collection_id)
    )


def _table(rows: Iterable[Sequence[Any]], width: int) -> Ints:
    numbers = itertools.chain.from_iterable(rows)
    return np.fromiter(numbers, np.int64).reshape(-1, width)


def _comparison(row: Row[Any]) -> Comparison:
    return Comparison(**row._mapping)
