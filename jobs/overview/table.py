"""The table, as wide as the screen, and the same facts as JSON."""

import json
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs.launches import launches_folder
from jobs.overview import words
from jobs.overview.gather import Overview
from jobs.overview.screen import Screen, cells, fitted, padded, printable
from jobs.overview.view import STATES, TaskView, View

_GAP = 2
_RIGHT = ("IMAGES/S", "AGAIN")
_LEAST = {"WHAT": 22, "NODE": 7, "STATE": 18}
"""Widths down to which columns shrink first."""
_TINY = {"WHAT": 12, "STATE": 9, "JOB": 4}
"""Widths down to which they shrink when that is not enough."""
_LEAVE_OUT = ("NODE", "IMAGES/S", "AGAIN", "TIME", "PROGRESS", "JOB")


def table(seen: Overview, screen: Screen) -> str:
    """All of it as text, without a newline at the end."""
    lines = [*_head(seen, screen), *_body(seen, screen), *_foot(seen, screen)]
    return "\n".join(screen.written(line) for line in lines)


def _head(seen: Overview, screen: Screen) -> Iterator[str]:
    counts = Counter(view.state for view in seen.views if view.successor is None)
    if seen.views:
        room = screen.width - cells(words.clock()) - 1
        pieces = []
        for state in filter(counts.get, STATES):
            piece = f"{counts[state]} {state}"
            room -= cells(piece) + 2
            if room >= 0:
                pieces.append(screen.paint(piece, words.STYLES[state]))
        yield f"{words.clock()}   {', '.join(pieces)}".rstrip()
    if seen.silence:
        line = words.line_about_silence(seen.silence)
        yield screen.paint(fitted(line, screen.width), "yellow")


def _body(seen: Overview, screen: Screen) -> Iterator[str]:
    if not seen.views:
        folder = launches_folder()
        yield (
            f"nothing runs, waits or ended in the last 24 hours ({folder})"
            if seen.hidden
            else f"no launches in {folder}: go where they were made, or set MENAGERIE_LAUNCHES"
        )
        return
    groups = _grouped(seen.views)
    ordered = [view for _, views in groups for view in views]
    rows, widths = _fit(ordered, screen.width)
    yield ""
    yield screen.paint(_line({name: name for name in widths}, widths), "dim")
    for night, views in groups:
        if night is not None:
            yield _night_line(night, views, screen)
        for view in views:
            yield from _view_lines(view, rows[view.launch.name], widths, screen)


def _view_lines(
    view: View, row: dict[str, str], widths: dict[str, int], screen: Screen
) -> Iterator[str]:
    styles = {"STATE": words.style(view)}
    if view.successor is not None:
        styles = dict.fromkeys(widths, "dim")
    yield _line(row, widths, styles, screen)
    indent = "    └ " if view.launch.night is not None else "  └ "
    for remark, style in words.remarks(view):
        for line in _wrapped(indent, remark, screen.width, lines=3 if style == "red" else 1):
            yield screen.paint(line, style)


def _wrapped(indent: str, text: str, width: int, *, lines: int) -> list[str]:
    """Text below a row, in so many lines at most."""
    wrapped = textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        max_lines=lines,
        placeholder=" …",
    )
    return [fitted(line, width) for line in wrapped]  # wide letters take two columns


def _grouped(views: Sequence[View]) -> list[tuple[Path | None, list[View]]]:
    """Launches, the newest first; those of one night together, in the order of its stages."""
    groups: dict[str, tuple[Path | None, list[View]]] = {}
    for view in views:
        key = str(view.launch.night or view.launch.folder.root)
        groups.setdefault(key, (view.launch.night, []))[1].insert(0, view)
    return list(groups.values())


def _night_line(night: Path, views: Sequence[View], screen: Screen) -> str:
    verdict, style = night_verdict(views)
    title = f"night {printable(night.name)}"
    room = screen.width - cells(title) - 3
    verdict = fitted(verdict, max(12, room))
    where = fitted(printable(words.short(night)), max(0, room - cells(verdict) - 2), middle=True)
    line = f"{screen.paint(title, 'bold')}   {screen.paint(verdict, style)}"
    return line + (f"  {screen.paint(where, 'dim')}" if cells(where) > 8 else "")


def night_verdict(views: Sequence[View]) -> tuple[str, str]:
    """How a night goes, naming the stage that matters; and the colour of that."""
    now = [view for view in views if view.successor is None]
    names = {state: [v.launch.stage or v.launch.verb for v in now if v.state == state]
             for state in STATES}  # fmt: skip
    troubled = [v.launch.stage or v.launch.verb for v in now if v.troubled]
    if troubled:
        return f"failed: {', '.join(troubled)}", "red"
    for state in ("running", "queued again", "pending", "cancelled"):
        if names[state]:
            return f"{state}: {', '.join(names[state])}", words.STYLES[state]
    return "done", "green"


def _fit(views: Sequence[View], width: int) -> tuple[dict[str, dict[str, str]], dict[str, int]]:
    """Rows by launch, and the columns' widths: as much detail as there is room for."""
    for detail in (
        words.Detail(),
        words.Detail(all_counts=False),
        words.Detail(bars=False, all_counts=False),
    ):
        rows = {view.launch.name: words.row(view, detail) for view in views}
        widths = {
            name: max(cells(name), *(cells(row[name]) for row in rows.values()))
            for name in next(iter(rows.values()))
            if any(row[name] for row in rows.values())
        }
        _shrink(widths, width, _LEAST)
        if _total(widths) <= width:
            return rows, widths
    for name in _LEAVE_OUT:
        _shrink(widths, width, _TINY)
        if _total(widths) <= width:
            break
        widths.pop(name, None)
    return rows, widths


def _shrink(widths: dict[str, int], width: int, least: dict[str, int]) -> None:
    for name, floor in least.items():
        over = _total(widths) - width
        if over > 0 and name in widths:
            widths[name] = max(min(floor, widths[name]), widths[name] - over)


def _total(widths: dict[str, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _line(
    row: dict[str, str],
    widths: dict[str, int],
    styles: dict[str, str] | None = None,
    screen: Screen | None = None,
) -> str:
    texts = []
    for name, width in widths.items():
        text = padded(fitted(row[name], width, middle=name == "WHAT"), width, right=name in _RIGHT)
        style = (styles or {}).get(name, "")
        texts.append(screen.paint(text, style) if screen is not None else text)
    return (" " * _GAP).join(texts).rstrip()


def _foot(seen: Overview, screen: Screen) -> Iterator[str]:
    lines = [*seen.complaints[:3]]
    if len(seen.complaints) > 3:
        lines.append(f"{len(seen.complaints) - 3} more launch folders are not readable")
    if seen.hidden:
        lines.append(f"{seen.hidden:,} older, all ended: --all shows them")
    if bad := next((v for v in seen.troubled if v.launch.jobs), None):
        task = next((t.id for t in bad.tasks if t.state == "failed"), bad.launch.jobs[0][0])
        lines.append(f"the log of what failed: {words.program()} --log {task}")
    if lines:
        yield ""
    for line in lines:
        yield screen.paint(fitted(printable(line), screen.width), "dim")


def as_json(seen: Overview) -> str:
    """All facts, for programs; times are seconds since 1970."""
    facts = {
        "time": time.time(),
        "slurm_asked": not seen.silence,
        "slurm_silence": seen.silence,
        "unreadable": list(seen.complaints),
        "hidden": seen.hidden,
        "launches": [_facts(view) for view in seen.views],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False)


def _facts(view: View) -> dict[str, Any]:
    launch, pace = view.launch, view.pace
    by_speed = pace.seconds_left is not None
    running = view.state == "running"
    return {
        "launch": launch.name,
        "folder": str(launch.folder.root),
        "verb": launch.verb,
        "out": str(launch.out),
        "night": str(launch.night) if launch.night else None,
        "stage": launch.stage,
        "kind": launch.kind,
        "launched": launch.time,
        "jobs": [job for job, _ in launch.jobs],
        "state": view.state,
        "counts": view.counts,
        "reason": view.reason,
        "nodes": view.nodes,
        "unit": pace.unit,
        "done": pace.done,
        "total": pace.total,
        "images_per_s": pace.images_per_s,
        "seconds_left": pace.seconds_left if by_speed else view.limit_s if running else None,
        "seconds_left_by": "speed" if by_speed else "time limit" if view.limit_s else None,
        "requeues": view.requeues,
        "error": view.error,
        "stalled_s": view.stalled_s,
        "quiet": list(view.quiet),
        "ended": view.ended,
        "launched_again": view.successor.name if view.successor else None,
        "tasks": [_task_facts(task) for task in view.tasks],
    }


def _task_facts(task: TaskView) -> dict[str, Any]:
    return {
        "id": task.id,
        "state": task.state,
        "nodes": list(task.nodes),
        "reason": task.reason,
        "requeues": task.requeues,
        "error": task.error,
    }
