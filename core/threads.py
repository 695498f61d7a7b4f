"""A fixed number of threads, where bits must not depend on the number of cores."""

import contextlib
from collections.abc import Iterator

THREADS = 4
"""Sums round differently on another number of threads; fewer cores do as well."""


@contextlib.contextmanager
def fixed_threads() -> Iterator[None]:
    """Compute on `THREADS` threads within, and on as many as before after it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)
