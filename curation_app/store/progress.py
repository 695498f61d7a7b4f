"""How far curating is: sums over pictures and over the log, made by the database."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Row, case, func, select, true, union_all

from curation_app.store.ranking import OUTCOME_SIGNS
from curation_app.store.schema import actions, changes, comparisons, curators, pictures, undone

_STANDS = actions.c.id.not_in(select(undone.c.action_id))
_AT_ONCE = 20_000
_WORK = actions.c.kind.not_in(("undo", "redo"))


def judged(connection: Connection, collection_id: int) -> list[Row[Any]]:
    """Class, state, stars, votes, score and deviation of each picture that is there."""
    wanted = [pictures.c[name] for name in ("label", "state", "stars", "votes", "score")]
    found = select(*wanted, pictures.c.deviation).where(
        pictures.c.collection_id == collection_id,
        pictures.c.present,
        pictures.c.merged_into.is_(None),
    )
    return list(connection.execute(found))


def names(connection: Connection) -> dict[int, str]:
    """Id to name of everybody who may have acted."""
    rows = connection.execute(select(curators.c.id, curators.c.name))
    return {int(row.id): str(row.name) for row in rows}


def span(connection: Connection) -> tuple[str, str] | None:
    """When the first and the last action were; None without any."""
    ends = [
        select(actions.c.at).order_by(order).limit(1).scalar_subquery()
        for order in (actions.c.id, actions.c.id.desc())
    ]
    first, last = connection.execute(select(*ends)).one()
    return None if first is None else (str(first), str(last))


def last_action(connection: Connection) -> int:
    """About how many actions there are: the highest id."""
    return int(connection.execute(select(func.coalesce(func.max(actions.c.id), 0))).scalar_one())


def done(connection: Connection, collection_id: int, digits: int) -> list[Row[Any]]:
    """Curator, kind, time (its first `digits` characters) and number of the actions that stand."""
    time = func.substr(actions.c.at, 1, digits).label("time")
    found = (
        select(actions.c.curator_id, actions.c.kind, time, func.count().label("number"))
        .where(_WORK, _STANDS, _about(connection, collection_id))
        .group_by(actions.c.curator_id, actions.c.kind, time)
    )
    return list(connection.execute(found))


def taken_back(connection: Connection) -> dict[int, int]:
    """Curator to number of actions that were undone and not done again."""
    found = (
        select(actions.c.curator_id, func.count())
        .join(undone, undone.c.action_id == actions.c.id)
        .group_by(actions.c.curator_id)
    )
    return {int(one): int(number) for one, number in connection.execute(found)}


def outcomes(connection: Connection, collection_id: int) -> list[Row[Any]]:
    """Curator, outcome and number of the comparisons that stand."""
    found = (
        select(actions.c.curator_id, comparisons.c.outcome, func.count().label("number"))
        .join(comparisons, comparisons.c.action_id == actions.c.id)
        .where(_STANDS, _compared_in(connection, collection_id))
        .group_by(actions.c.curator_id, comparisons.c.outcome)
    )
    return list(connection.execute(found))


def pairs(connection: Connection, collection_id: int) -> NDArray[np.int64]:
    """Left, right, outcome (1, 0, -1: left, tie, right) and curator of each comparison, M × 4.

    Those that stand, without skipped ones, the oldest first.
    """
    sign = case(OUTCOME_SIGNS, value=comparisons.c.outcome, else_=0)
    found = (
        select(comparisons.c.left_id, comparisons.c.right_id, sign, actions.c.curator_id)
        .join(actions, actions.c.id == comparisons.c.action_id)
        .where(_STANDS, comparisons.c.outcome != "skip", _compared_in(connection, collection_id))
        .order_by(comparisons.c.action_id)
    )
    numbers = itertools.chain.from_iterable(connection.execute(found).yield_per(_AT_ONCE))
    return np.fromiter(numbers, np.int64).reshape(-1, 4)


def _about(connection: Connection, collection_id: int) -> ColumnElement[bool]:
    """Actions on pictures of this collection; where there is no other, nothing need be asked."""
    if _is_only(connection, collection_id):
        return true()
    mine = select(pictures.c.id).where(pictures.c.collection_id == collection_id)
    compared = select(comparisons.c.action_id).where(comparisons.c.left_id.in_(mine))
    changed = select(changes.c.action_id).where(changes.c.picture_id.in_(mine))
    return actions.c.id.in_(union_all(compared, changed))


def _compared_in(connection: Connection, collection_id: int) -> ColumnElement[bool]:
    if _is_only(connection, collection_id):
        return true()
    mine = select(pictures.c.id).where(pictures.c.collection_id == collection_id)
    return comparisons.c.left_id.in_(mine)


def _is_only(connection: Connection, collection_id: int) -> bool:
    other = select(pictures.c.id).where(pictures.c.collection_id != collection_id).limit(1)
    return connection.execute(other).first() is None
