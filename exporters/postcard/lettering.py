"""Text as outlines, in the fonts that matplotlib ships: the same on every machine."""

import functools
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, Literal

from exporters.postcard.geometry import Command, Path, Point, moved

Face = Literal["title", "speech", "plain", "bold"]
_FILES: dict[str, str] = {
    "title": "STIXGeneralBol.ttf",
    "speech": "STIXGeneralItalic.ttf",
    "plain": "DejaVuSans.ttf",
    "bold": "DejaVuSans-Bold.ttf",
}
_FALLBACK = "DejaVuSans.ttf"
_EM = 1000.0
"""Size at which outlines are made."""
_STAND_IN = "·"
"""For signs that no font here has."""


def lettering(text: str, face: Face, size: float, x: float, y: float, *, track: float = 0) -> Path:
    """A line of text whose base line begins at (x, y); `size` is the em, `track` extra space."""
    commands: list[Command] = []
    for letter, font, along in _set(text, face, track * _EM / size):
        commands += moved(_glyph(letter, font)[0], size / _EM, x + along * size / _EM, y)
    return tuple(commands)


def width_of(text: str, face: Face, size: float, *, track: float = 0.0) -> float:
    """How wide a line of text is."""
    letters = list(_set(text, face, track * _EM / size))
    if not letters:
        return 0.0
    letter, font, along = letters[-1]
    return (along + _glyph(letter, font)[1]) * size / _EM


def fitting_size(text: str, face: Face, size: float, room: float) -> float:
    """`size`, or a smaller one at which the line fits into `room`."""
    width = width_of(text, face, size)
    return size if width <= room else size * room / width


def wrapped(text: str, face: Face, size: float, room: float) -> list[str]:
    """Lines that fit into `room`, broken at spaces and after hyphens.

    Words that are longer by themselves are cut.
    """
    lines: list[str] = []
    for word in text.split():
        glue = " "
        for piece in re.findall(r"[^-]*-+|[^-]+", word):
            joined = f"{lines[-1]}{glue}{piece}" if lines else piece
            if lines and width_of(joined, face, size) <= room:
                lines[-1] = joined
            else:
                lines += _cut(piece, face, size, room)
            glue = ""
    return lines


def balanced(text: str, face: Face, size: float, room: float) -> list[str]:
    """As few lines as `wrapped` needs, of lengths as even as may be."""
    lines = wrapped(text, face, size, room)
    for step in range(1, 20):
        narrower = wrapped(text, face, size, room * (1 - 0.03 * step))
        if len(narrower) > len(lines):
            break
        lines = narrower
    return lines


def _cut(word: str, face: Face, size: float, room: float) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and width_of(pieces[-1] + letter, face, size) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _set(text: str, face: Face, track: float = 0.0) -> Iterator[tuple[str, str, float]]:
    """Each letter, the font that has it, and where it stands, at an em of 1000."""
    at, before = 0.0, ("", "")
    for letter in _printable(text):
        font = next((name for name in (_FILES[face], _FALLBACK) if _has(name, letter)), "")
        shown, font = (letter, font) if font else (_STAND_IN, _FALLBACK)
        if before[1] == font:
            at += _kerning(before[0], shown, font)
        yield shown, font, at
        at += _glyph(shown, font)[1] + track
        before = shown, font


def _printable(text: str) -> str:
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(letter for letter in composed if unicodedata.category(letter)[0] != "C")


@functools.cache
def _has(font: str, letter: str) -> bool:
    return bool(_font(font).get_char_index(ord(letter)))


@functools.cache
def _font(name: str) -> Any:
    import matplotlib as mpl  # takes a quarter of a second
    from matplotlib.ft2font import FT2Font

    font = FT2Font(str(FilePath(mpl.get_data_path()) / "fonts" / "ttf" / name))
    font.set_size(_EM, 72)
    return font


@functools.lru_cache(maxsize=4096)
def _glyph(letter: str, font: str) -> tuple[Path, float]:
    """Outlines at an em of 1000 with y downwards, and the advance."""
    from matplotlib.ft2font import LoadFlags

    loaded = _font(font).load_char(ord(letter), flags=LoadFlags.NO_HINTING)
    vertices, codes = _font(font).get_path()
    return _path(vertices, codes), float(loaded.linearHoriAdvance) / 65536


@functools.lru_cache(maxsize=4096)
def _kerning(left: str, right: str, font: str) -> float:
    """What two neighbours are moved apart or together."""
    from matplotlib.ft2font import Kerning

    face = _font(font)
    pair = face.get_char_index(ord(left)), face.get_char_index(ord(right))
    return float(face.get_kerning(*pair, Kerning.UNFITTED)) / 64


def _path(vertices: Any, codes: Any) -> Path:
    """matplotlib's codes (1 move, 2 line, 3 quadratic, 4 cubic, 79 close) as commands."""
    points: list[Point] = [(float(x), -float(y)) for x, y in vertices]
    commands: list[Command] = []
    place, here = 0, (0.0, 0.0)
    while place < len(points):
        code = int(codes[place])
        used = {3: 2, 4: 3}.get(code, 1)
        given = points[place : place + used]
        place += used
        if code == 79:
            commands.append(("Z", ()))
            continue
        commands.append(_command(code, here, given))
        here = given[-1]
    return tuple(commands)


def _command(code: int, here: Point, given: list[Point]) -> Command:
    if code == 3:  # a quadratic curve is a cubic one with handles two thirds of the way
        (cx, cy), (x, y) = given
        one = (here[0] + (cx - here[0]) * 2 / 3, here[1] + (cy - here[1]) * 2 / 3)
        two = (x + (cx - x) * 2 / 3, y + (cy - y) * 2 / 3)
        return ("C", (one, two, (x, y)))
    return ({1: "M", 2: "L", 4: "C"}[code], tuple(given))
