"""What keeps an SVG from being a plain drawing: scripts, links, anything that is fetched.

Browsers show a pack's SVG as a picture, where scripts never run; but people also copy its text into
pages and tools of their own, so that only drawings without any such thing are handed out.
"""

import xml.parsers.expat
from collections.abc import Mapping

_SVG = "http://www.w3.org/2000/svg"
_SHAPES = ("path", "rect", "circle", "ellipse", "line", "polyline", "polygon")
_PAINTS = ("defs", "linearGradient", "radialGradient", "stop", "clipPath", "mask")
_ELEMENTS = {"svg", "g", "title", "desc", "metadata", *_SHAPES, *_PAINTS}
_MAX_DEPTH = 64


class _Refused(Exception):  # noqa: N818 - it is what happened
    pass


def not_plain(data: bytes) -> str | None:
    """Why an SVG is not a plain drawing, or None when it is."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except _Refused as error:
        return str(error)
    except xml.parsers.expat.ExpatError as error:
        return f"is not XML: {error}"
    return None


class _Reader:
    """Refuses at the first thing that no plain drawing holds."""

    def __init__(self) -> None:
        # The bytes are UTF-8, and so the server says: an encoding of their own must not hide any.
        parser = self.parser = xml.parsers.expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.StartDoctypeDeclHandler = lambda *_: _refuse("holds a document type")
        parser.ProcessingInstructionHandler = lambda *_: _refuse("holds an instruction (<?…?>)")
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        self._depth = 0

    def _begin(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            _refuse("nests too deeply")
        space, _, tag = name.rpartition(" ")
        if space != _SVG or tag not in _ELEMENTS:
            _refuse(f"holds <{tag[:40]}>")
        if self._depth == 1 and tag != "svg":
            _refuse(f"begins with <{tag}>, not <svg>")
        for attribute, value in attributes.items():
            _check_attribute(attribute.rpartition(" ")[2].lower(), value)

    def _end(self, name: str) -> None:
        self._depth -= 1


def _check_attribute(name: str, value: str) -> None:
    if name in ("d", "points"):  # long, and nothing but numbers to a browser
        return
    if name.startswith("on"):
        _refuse(f"holds the event {name[:40]}")
    if name == "href" and not value.startswith("#"):
        _refuse("links to something else")
    if name == "style" or ("url(" in value.lower() and not value.startswith("url(#")):
        _refuse(f"holds a {name[:40]} that may fetch something")


def _refuse(reason: str) -> None:
    raise _Refused(reason)
