"""What takes long to count, kept in memory; of large collections, counted behind the scenes."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")
_LAST = 30
"""How many times as long as counting took its result is shown."""
_log = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True)
class _Kept:
    value: Any
    took_s: float
    made_s: float
    under_way: bool = False

    def is_old(self) -> bool:
        return time.monotonic() - self.made_s > _LAST * self.took_s


class Tallies:
    """Values by name; for several threads at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[Hashable, _Kept] = {}
        self._lock = threading.Lock()

    def value(
        self, name: Hashable, count: Callable[[Connection], T], *, at_once: Callable[[T], bool]
    ) -> T:
        """What `count` finds.

        A value for which `at_once` holds is counted anew each time. Others may be older, by some
        times as long as counting takes, and nobody waits for the new one.
        """
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None and not at_once(kept.value):
                if kept.is_old() and not kept.under_way:
                    kept.under_way = True
                    threading.Thread(target=self._again, args=(name, count), daemon=True).start()
                return cast(T, kept.value)
        return cast(T, self._count(name, count).value)

    def _count(self, name: Hashable, count: Callable[[Connection], Any]) -> _Kept:
        start_s = time.monotonic()
        with self._engine.connect() as connection:
            value = count(connection)
        now_s = time.monotonic()
        kept = self._kept[name] = _Kept(value=value, took_s=now_s - start_s, made_s=now_s)
        return kept

    def _again(self, name: Hashable, count: Callable[[Connection], Any]) -> None:
        try:
            self._count(name, count)
        except SQLAlchemyError:  # the next one who asks tries again
            _log.warning("counting %s failed", name, exc_info=True)
            self._kept[name].under_way = False
