"""Train, validation and test: stratified by label, with no group of copies in two of them."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from core.data.pinned import SPLITS, SplitName
from core.errors import UserError


def check_fractions(fractions: tuple[float, float, float]) -> None:
    """UserError unless these are three shares of train, validation and test that make 1."""
    bad = any(not 0 <= share <= 1 for share in fractions) or abs(sum(fractions) - 1) > 1e-6
    if bad or fractions[0] == 0:
        raise UserError(
            f"the split is {fractions}: give shares of train, validation and test that sum to 1, "
            "with some for training, such as 0.8 0.1 0.1"
        )


def assign_splits(
    keys: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[int],
    *,
    fractions: tuple[float, float, float],
    seed: int,
    stated: Sequence[SplitName | None] | None = None,
) -> list[SplitName]:
    """A split for each picture; each label comes as close to `fractions` as whole groups allow.

    `keys` (such as content digests) and `seed` alone decide the order of drawing, so that neither
    the order nor the names of the pictures matter. A `stated` split is kept. Where copies are
    stated for several splits, all of them go to the most held-out one: what was kept from
    training stays out of it.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    chosen: list[SplitName | None] = [None] * len(keys)
    room = _room(labels, fractions)
    free = []
    for group, indices in members.items():
        wanted = [SPLITS.index(split) for i in indices if stated and (split := stated[i])]
        if wanted:
            _place(indices, SPLITS[max(wanted)], chosen, labels, room)
        else:
            free.append(group)
    # The largest groups first, while there is room everywhere; then in the order drawn.
    drawn = {group: _draw(seed, min(keys[i] for i in members[group])) for group in free}
    for group in sorted(free, key=lambda group: (-len(members[group]), drawn[group])):
        indices = members[group]
        share = Counter(labels[i] for i in indices)
        best = max(
            (k for k in range(3) if fractions[k] > 0),
            key=lambda k: (sum(n * room[label][k] for label, n in share.items()), -k),
        )
        _place(indices, SPLITS[best], chosen, labels, room)
    return [split for split in chosen if split is not None]


def _room(labels: Sequence[str], fractions: tuple[float, float, float]) -> dict[str, list[int]]:
    """How many pictures of each label each split should get: largest remainders, exact sum."""
    room = {}
    for label, count in Counter(labels).items():
        exact = [count * share for share in fractions]
        whole = [int(value + 1e-9) for value in exact]
        by_remainder = sorted(range(3), key=lambda k: (whole[k] - exact[k], k))
        for k in by_remainder[: count - sum(whole)]:
            whole[k] += 1
        room[label] = whole
    return room


def _place(
    indices: Sequence[int],
    split: SplitName,
    chosen: list[SplitName | None],
    labels: Sequence[str],
    room: dict[str, list[int]],
) -> None:
    for index in indices:
        chosen[index] = split
        room[labels[index]][SPLITS.index(split)] -= 1


def _draw(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()
