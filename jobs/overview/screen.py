"""The terminal, or the file or pipe in its place: how wide, whether in colour, and redrawing it."""

import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import unicodedata
from collections.abc import Iterator
from types import FrameType

_STYLES = {"red": "1;31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
_ASCII = str.maketrans({"━": "#", "─": ".", "…": "~", "└": "`", "≤": "<", "×": "x", "·": "-"})
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The terminal's second page, without a cursor; and back to what was there before."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Screen:
    """What a table is made for."""

    width: int
    height: int
    live: bool
    """Whether it is a terminal."""
    colour: bool
    unicode: bool
    """Whether it can show more than ASCII."""

    @classmethod
    def of_stdout(cls) -> "Screen":
        """Standard output as it is now; in a file lines may be 160 wide (or $COLUMNS)."""
        live = sys.stdout.isatty()
        size = shutil.get_terminal_size((160, 50))
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
        return cls(
            width=max(40, size.columns),
            height=max(5, size.lines),
            live=live,
            colour=live and not plain,
            unicode=encoding.startswith("utf"),
        )

    def paint(self, text: str, style: str) -> str:
        """Text in a style's colour, where there are colours."""
        if not self.colour or style not in _STYLES or not text:
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    def written(self, text: str) -> str:
        """Text with the signs that can be shown here."""
        return text if self.unicode else text.translate(_ASCII).encode("ascii", "replace").decode()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Draw again and again inside this; the terminal is then as it was before."""
        last = signal.signal(signal.SIGTERM, _leave)
        if self.live:
            _write(_ENTER)
        try:
            yield
        finally:
            if self.live:
                _write(_LEAVE)
            signal.signal(signal.SIGTERM, last)

    def draw(self, text: str) -> None:
        """Show a page in place of the last one; without a terminal, after it."""
        if not self.live:
            _write(text + "\n\n")
            return
        lines = text.split("\n")
        if len(lines) > self.height:
            hidden = len(lines) - self.height + 1
            lines = [*lines[: self.height - 1], self.written(f"… {hidden} more lines")]
        # Line by line over what is there, then the rest away: nothing is ever blank or blinks.
        _write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def printable(text: str) -> str:
    """Text on one line that steers no terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def cells(text: str) -> int:
    """Columns that a text takes on a terminal."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def fitted(text: str, width: int, *, middle: bool = False) -> str:
    """Text cut to a width: its end, or with `middle` what follows its first word, becomes a `…`."""
    if cells(text) <= width:
        return text
    head = max(0, width - 1)
    if middle:
        word = cells(text[: len(text) - len(text.lstrip())] + text.split(" ")[0]) + 1
        head = word if word <= width // 2 else head // 3
    tail = max(0, width - 1 - head)
    return _first(text, head) + "…" + _first(text[::-1], tail)[::-1]


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Text filled up to a width."""
    space = " " * (width - cells(text))
    return space + text if right else text + space


def _first(text: str, width: int) -> str:
    taken, used = "", 0
    for c in text:
        used += cells(c)
        if used > width:
            break
        taken += c
    return taken
