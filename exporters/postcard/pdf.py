"""Sides of cards as a PDF that printers take: vector pages with a bleed and a trim box.

PDF 1.4 (Adobe's PDF Reference, third edition): paths and letters as curves, opacity by graphics
states, pictures of pixels as images with a soft mask. No dates: the same sides, the same bytes.
"""

import dataclasses
import io
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage

from exporters.postcard.geometry import Path
from exporters.postcard.scene import BLEED_MM, TRIM_MM, Image, Item, Line, Scene

_POINT_MM = 25.4 / 72


def pdf_bytes(scenes: Sequence[Scene], title: str) -> bytes:
    """A PDF with a page for each side, of its size with bleed, the trim box inside."""
    file = _File()
    pages, info = file.reserve(), file.reserve()
    kids = [_page(file, scene, pages) for scene in scenes]
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    file.put(pages, f"<< /Type /Pages /Count {len(kids)} /Kids [{listed}] >>".encode())
    name = (b"\xfe\xff" + title.encode("utf-16-be")).hex().upper()
    file.put(info, f"<< /Title <{name}> /Producer (Menagerie) >>".encode())
    return file.bytes(_catalogue(file, pages), info)


def _catalogue(file: "_File", pages: int) -> int:
    shown = "/ViewerPreferences << /DisplayDocTitle true >>"
    return file.add(f"<< /Type /Catalog /Pages {pages} 0 R /Lang (en) {shown} >>".encode())


def _page(file: "_File", scene: Scene, pages: int) -> int:
    page = _Page(file)
    content = file.stream("", page.draw(scene.items))
    wide, high = ((side + 2 * BLEED_MM) / _POINT_MM for side in TRIM_MM)
    edge = BLEED_MM / _POINT_MM
    whole = f"[0 0 {wide:.3f} {high:.3f}]"
    trim = f"[{edge:.3f} {edge:.3f} {wide - edge:.3f} {high - edge:.3f}]"
    states = " ".join(
        f"/G{place} << /ca {opacity:.3f} /CA {opacity:.3f} >>"
        for opacity, place in page.opacities.items()
    )
    images = " ".join(f"/I{place} {number} 0 R" for place, number in enumerate(page.images))
    resources = f"<< /ExtGState << {states} >> /XObject << {images} >> >>"
    return file.add(
        f"<< /Type /Page /Parent {pages} 0 R /MediaBox {whole} /BleedBox {whole} "
        f"/TrimBox {trim} /Resources {resources} /Contents {content} 0 R >>".encode()
    )


class _Page:
    """What one page is painted with."""

    def __init__(self, file: "_File") -> None:
        self._file = file
        self.opacities: dict[float, int] = {}
        self.images: list[int] = []

    def draw(self, items: Sequence[Item]) -> bytes:
        """The page's content; first of all millimetres downwards become points upwards."""
        scale = 1 / _POINT_MM
        top = (TRIM_MM[1] + BLEED_MM) * scale
        head = f"{scale:.6f} 0 0 {-scale:.6f} {BLEED_MM * scale:.4f} {top:.4f} cm 1 J 1 j"
        return "\n".join([head, *map(self._item, items)]).encode()

    def _item(self, item: Item) -> str:
        if isinstance(item, Image):
            x, y, width, height = item.box
            self.images.append(_image(self._file, item.png))
            matrix = f"{width:.3f} 0 0 {-height:.3f} {x:.3f} {y + height:.3f}"
            return f"q /G{self._state(1.0)} gs {matrix} cm /I{len(self.images) - 1} Do Q"
        state = f"/G{self._state(item.opacity)} gs {_rgb(item.colour)}"
        if isinstance(item, Line):
            return f"{state} RG {item.width:.3f} w {_operators(item.path)} S"
        return f"{state} rg {_operators(item.path)} {'f*' if item.even_odd else 'f'}"

    def _state(self, opacity: float) -> int:
        return self.opacities.setdefault(opacity, len(self.opacities))


def _operators(path: Path) -> str:
    names = {"M": "m", "L": "l", "C": "c", "Z": "h"}
    return " ".join(
        " ".join([*(f"{x:.3f} {y:.3f}" for x, y in points), names[name]]) for name, points in path
    )


def _rgb(colour: str) -> str:
    return " ".join(f"{int(colour[place : place + 2], 16) / 255:.4f}" for place in (1, 3, 5))


def _image(file: "_File", png: bytes) -> int:
    with PillowImage.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGBA"))
    size = f"/Width {pixels.shape[1]} /Height {pixels.shape[0]} /BitsPerComponent 8"
    head = f"/Type /XObject /Subtype /Image {size}"
    mask = file.stream(f"{head} /ColorSpace /DeviceGray", pixels[..., 3].tobytes())
    return file.stream(
        f"{head} /ColorSpace /DeviceRGB /SMask {mask} 0 R", pixels[..., :3].tobytes()
    )


@dataclasses.dataclass
class _File:
    """Numbered objects, and where they begin."""

    objects: list[bytes] = dataclasses.field(default_factory=list)

    def reserve(self) -> int:
        """A number for an object that is put later."""
        self.objects.append(b"null")
        return len(self.objects)

    def put(self, number: int, body: bytes) -> None:
        """Fill a reserved number."""
        self.objects[number - 1] = body

    def add(self, body: bytes) -> int:
        """Append an object; its number."""
        self.objects.append(body)
        return len(self.objects)

    def stream(self, entries: str, data: bytes) -> int:
        """Append compressed data; its number."""
        packed = zlib.compress(data, 9)
        head = f"<< {entries} /Filter /FlateDecode /Length {len(packed)} >>\nstream\n"
        return self.add(head.encode() + packed + b"\nendstream")

    def bytes(self, root: int, info: int) -> bytes:
        """The whole file, with the table of its objects."""
        out = io.BytesIO()
        out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
        places = []
        for number, body in enumerate(self.objects, 1):
            places.append(out.tell())
            out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
        table, count = out.tell(), len(self.objects) + 1
        rows = "".join(f"{place:010d} 00000 n \n" for place in places)
        out.write(f"xref\n0 {count}\n0000000000 65535 f \n{rows}".encode())
        out.write(f"trailer\n<< /Size {count} /Root {root} 0 R /Info {info} 0 R >>\n".encode())
        out.write(f"startxref\n{table}\n%%EOF\n".encode())
        return out.getvalue()
