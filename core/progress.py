"""Progress bars that suit where they are shown."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    items: Iterable[Any] | None = None,
    *,
    title: str,
    unit: str,
    total: int | None = None,
    done: int = 0,
    hidden: bool = False,
) -> "tqdm[Any]":
    """A bar over `items`, or one that `update` moves: lively on a terminal, sparse in a log."""
    pause_s = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(
        items,
        desc=title,
        unit=unit,
        total=total,
        initial=done,
        disable=hidden,
        mininterval=pause_s,
        dynamic_ncols=True,
    )
