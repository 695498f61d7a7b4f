"""WebP files: lossless where that fits, else the best quality that does; their origin as XMP."""

import io
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import quoteattr

from PIL import Image

from core.images import Picture

QUALITIES = (95, 90, 85, 80, 70, 60, 50, 40, 30, 20, 10, 0)
"""Tried in turn, the first that fits is taken."""
_METHOD = 4
"""libwebp's effort; 6 takes three times as long for one byte in a hundred."""
_LOSSLESS_METHOD, _LOSSLESS_EFFORT = 2, 60
"""The same for lossless files, the effort of 100: method 4 takes half as long again and saves
nothing on flat colours."""


def webp_candidates(
    image_hwc: Picture, facts: Mapping[str, object] | None = None
) -> Iterator[tuple[bytes, str]]:
    """A straight-alpha picture as WebP, ever worse, and how: `lossless`, then `quality 95`.

    The same picture gives the same bytes.
    """
    xmp = xmp_packet(facts) if facts else b""
    yield _encode(image_hwc, xmp, lossless=True, quality=_LOSSLESS_EFFORT), "lossless"
    for quality in QUALITIES:
        yield _encode(image_hwc, xmp, lossless=False, quality=quality), f"quality {quality}"


def xmp_packet(facts: Mapping[str, object]) -> bytes:
    """An XMP packet that says a picture was made by a trained model, and from what.

    `digital_source_type` is the IPTC property that stores and platforms look for.
    """
    source = str(facts.get("digital_source_type", ""))
    known = "".join(
        f" menagerie:{key}={quoteattr(str(value))}"
        for key, value in sorted(facts.items())
        if key != "digital_source_type"
    )
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:menagerie="urn:menagerie:origin:"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(source)}{known}/>"
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def _encode(image_hwc: Picture, xmp: bytes, *, lossless: bool, quality: int) -> bytes:
    buffer = io.BytesIO()
    method = _LOSSLESS_METHOD if lossless else _METHOD
    Image.fromarray(image_hwc).save(
        buffer, "WEBP", lossless=lossless, quality=quality, method=method, xmp=xmp
    )
    return buffer.getvalue()
