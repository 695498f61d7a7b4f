from collections import Counter

import numpy as np
import pytest

from core.data.pinned import SplitName
from core.data.split import assign_splits, check_fractions
from core.errors import UserError

SHARES = (0.8, 0.1, 0.1)


def test_every_label_is_split_in_the_given_shares() -> None:
    labels = ["cat"] * 100 + ["dog"] * 55 + ["bird"] * 7 + ["fish"]
    keys = [f"{k:04d}" for k in range(len(labels))]
    splits = assign_splits(keys, labels, range(len(labels)), fractions=SHARES, seed=0)
    counts = Counter(zip(labels, splits, strict=True))
    assert [counts["cat", part] for part in ("train", "validation", "test")] == [80, 10, 10]
    assert [counts["dog", part] for part in ("train", "validation", "test")] == [44, 6, 5]
    assert counts["bird", "train"] >= 5
    assert counts["fish", "train"] == 1


def test_a_group_never_straddles_and_the_shares_still_hold() -> None:
    rng = np.random.default_rng(0)
    labels = ["cat", "dog"] * 300
    groups = rng.integers(0, 150, len(labels)).tolist()
    keys = [f"{k:04d}" for k in range(len(labels))]
    splits = assign_splits(keys, labels, groups, fractions=SHARES, seed=0)
    assert all(len({s for s, g in zip(splits, groups, strict=True) if g == k}) <= 1 for k in groups)
    for label in ("cat", "dog"):
        train = sum(s == "train" for s, own in zip(splits, labels, strict=True) if own == label)
        assert abs(train - 240) <= 8


def test_neither_order_nor_names_matter_but_the_seed_does() -> None:
    labels = ["cat"] * 50
    keys = [f"{k:04d}" for k in range(50)]
    splits = assign_splits(keys, labels, range(50), fractions=SHARES, seed=0)
    backwards = assign_splits(keys[::-1], labels, range(50), fractions=SHARES, seed=0)
    assert backwards[::-1] == splits
    assert assign_splits(keys, labels, range(50), fractions=SHARES, seed=1) != splits


def test_a_stated_split_is_kept_and_copies_leave_training() -> None:
    stated: list[SplitName | None] = ["train", "test", None, "validation", "train"]
    groups = [0, 0, 1, 2, 3]  # the first picture in train is a copy of the one in test
    keys = list("abcde")
    splits = assign_splits(keys, ["cat"] * 5, groups, fractions=SHARES, seed=0, stated=stated)
    assert splits == ["test", "test", "train", "validation", "train"]


@pytest.mark.parametrize(
    "shares", [(0.8, 0.1, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5)]
)
def test_impossible_shares_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match=r"0\.8 0\.1 0\.1"):
        check_fractions(shares)
