"""Work that outlasts a request, in the background: openings, imports, searches, freezes."""

import contextlib
import dataclasses
import logging
import secrets
import threading
from collections.abc import Callable

from core.errors import UserError

_KEPT = 50
_log = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True)
class Task:
    """One piece of work, and how far it is; read by pages while it goes on."""

    id: str
    title: str
    unit: str = "pictures"
    done: int = 0
    total: int = 0
    finished: bool = False
    error: str = ""
    result: str = ""
    """A sentence about what came of it."""
    link: str = ""
    """The page to see it on."""

    def report(self, done: int, total: int) -> None:
        """Say how far it is."""
        self.done, self.total = done, total


class Tasks:
    """All tasks of the app; those of one kind run one after another, others side by side."""

    def __init__(self, *, at_once: bool = False) -> None:
        """With `at_once`, `start` returns when the work is done."""
        self._at_once = at_once
        self._tasks: dict[str, Task] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def start(self, kind: str, title: str, work: Callable[[Task], None]) -> Task:
        """Do the work in the background; what it raises is the task's error."""
        task = Task(id=secrets.token_hex(8), title=title)
        with self._lock:
            self._tasks[task.id] = task
            for old in [one.id for one in self._tasks.values() if one.finished][:-_KEPT]:
                del self._tasks[old]
            lock = self._locks.setdefault(kind, threading.Lock())
        if self._at_once:
            _run(lock, task, work)
        else:
            threading.Thread(target=_run, args=(lock, task, work), daemon=True).start()
        return task

    def get(self, task_id: str) -> Task | None:
        """A task by its id."""
        return self._tasks.get(task_id)

    def all(self) -> list[Task]:
        """Every task that is remembered, the newest first."""
        with self._lock:
            return list(self._tasks.values())[::-1]


def _run(lock: threading.Lock, task: Task, work: Callable[[Task], None]) -> None:
    with lock, contextlib.suppress(Exception):
        try:
            work(task)
        except UserError as error:
            task.error = str(error)
        except OSError as error:
            task.error = f"{error.strerror or error}: {error.filename or 'the disk'}"
        except Exception:
            task.error = "a bug in Menagerie: the terminal tells more"
            _log.exception("%s failed", task.title)
            raise
        finally:
            task.finished = True
