"""Bytes from a stranger to pixels: any mode, colour profile and rotation, or a reason why not."""

import functools
import io
import math
import re
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from core.data.jpeg import everyday_header, jpeg_pixels, jpeg_scale
from core.images import Picture

# Named one by one: Pillow also opens PostScript (which runs Ghostscript), PDF, FITS, …
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF"),
    *("JPEG2000", "PPM", "TGA", "ICO", "PCX", "SGI"),
)
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp"),
        *(".dib", ".tif", ".tiff", ".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
        *(".ico", ".pcx", ".sgi", ".svg", ".heic", ".heif", ".psd", ".eps", ".jxl", ".dng"),
    )
)
"""File name endings that promise a picture (also of kinds that are then rejected by name)."""

MAX_BYTES = 256 * 2**20
"""Encoded pictures beyond this size are rejected unread."""

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableError(Exception):
    """A picture that cannot be used; the message is the reason, without paths or addresses."""


def decode(
    data: bytes,
    *,
    enough_px: int | None = None,
    exact_px: int | None = None,
    max_megapixels: float = 100.0,
) -> Picture:
    """Decode a picture: H×W×4 with straight alpha where it has real transparency, else H×W×3.

    The first frame of an animation; upright; in sRGB. With `enough_px`, a JPEG may be decoded at
    1/2, 1/4 or 1/8 scale (inside the DCT) as long as its shorter side keeps that many pixels; with
    `exact_px`, also at the scale that makes it exactly so long, which equals the mean of the coded
    values within 43 dB and more (median 52 of small photographs, 47 of large ones). Raises
    UnreadableError with the reason.
    """
    pixels = _everyday_jpeg(data, enough_px, exact_px, max_megapixels)
    if pixels is not None:
        return pixels
    _refuse_what_is_no_picture(data)
    try:
        with warnings.catch_warnings():
            # Broken EXIF and large sizes warn; the first does no harm, the second is checked below.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_formats()) as image:
                if image.format in ("JPEG", "MPO") and min(image.size) > 0:
                    scale = jpeg_scale(image.size, enough_px, exact_px)
                    image.draft(image.mode, (image.width // scale, image.height // scale))
                _check_size(image.size, max_megapixels)
                image.load()
                return _pixels(_upright(image))
    except UnreadableError:
        raise
    except UnidentifiedImageError:
        raise UnreadableError("not a picture in a format that can be read") from None
    except Image.DecompressionBombError:
        raise _bomb(max_megapixels) from None
    except Exception as error:
        # Malformed bytes make Pillow's readers raise almost anything, struct.error to IndexError.
        raise UnreadableError(f"damaged: {_plain_reason(error)}") from None


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _refuse_what_is_no_picture(data: bytes) -> None:
    if not data:
        raise UnreadableError("the file is empty")
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"the file is larger than {MAX_BYTES // 2**20} MiB")
    head = data[:1024].lstrip(b"\xef\xbb\xbf\0 \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml")) and b"<svg" in data[:8192].lower():
        raise UnreadableError("an SVG drawing, not pixels: render it to PNG first")
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        raise UnreadableError("a web page, not a picture")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_png(data)
    elif not any(byte < 9 or byte > 126 for byte in data[:512]) and not data.startswith(b"P"):
        raise UnreadableError("text, not a picture")


def _check_png(data: bytes) -> None:
    """Pillow skips the checksums of pixel chunks: a flipped bit would pass unseen."""
    position = 8
    while position < len(data):
        if position + 12 > len(data):
            raise UnreadableError("damaged: the PNG is cut off")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            raise UnreadableError("damaged: the PNG is cut off")
        critical = not kind[0] & 0x20
        expected = struct.unpack_from(">I", data, end - 4)[0]
        if critical and zlib.crc32(memoryview(data)[position + 4 : end - 4]) != expected:
            name = kind.decode("ascii", "replace")
            raise UnreadableError(f"damaged: the PNG's {name} chunk has a wrong checksum")
        if kind == b"IEND":
            return
        position = end
    raise UnreadableError("damaged: the PNG is cut off")


def _everyday_jpeg(
    data: bytes, enough_px: int | None, exact_px: int | None, max_megapixels: float
) -> Picture | None:
    """The pixels of a JPEG without peculiarities or damage, upright; None for all else."""
    header = everyday_header(data) if len(data) <= MAX_BYTES else None
    if header is None:
        return None
    scale = jpeg_scale(header.size_wh, enough_px, exact_px)
    width, height = header.size_wh
    # As Pillow does: a progressive JPEG's coefficients all lie in memory, whatever the scale.
    if Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise _bomb(max_megapixels)
    _check_size((-(-width // scale), -(-height // scale)), max_megapixels)
    pixels = jpeg_pixels(data, header, scale)
    turn = _TRANSPOSE.get(header.orientation)
    if pixels is None or turn is None:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(turn))


def _bomb(max_megapixels: float) -> UnreadableError:
    most = min(max_megapixels, 2e-6 * (Image.MAX_IMAGE_PIXELS or math.inf))
    return UnreadableError(f"more than {most:g} megapixels")


def _check_size(size_wh: tuple[int, int], max_megapixels: float) -> None:
    width, height = size_wh
    if width < 1 or height < 1:
        raise UnreadableError("it has no pixels")
    if width * height > max_megapixels * 1e6:
        raise UnreadableError(f"{width}×{height} is more than {max_megapixels:g} megapixels")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TRANSPOSE.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block says nothing; the picture is as good without it
        turn = None
    return image if turn is None else image.transpose(turn)


def _pixels(image: Image.Image) -> Picture:
    """The picture as 8-bit sRGB; a fully opaque alpha channel is dropped."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return np.repeat(_deep_grey(image)[..., None], 3, axis=-1)
    profile = image.info.get("icc_profile")
    has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not has_alpha:
        return np.asarray(_to_srgb(image, profile))
    straight = image.convert("RGBA")
    alpha = np.asarray(straight)[..., 3:]
    grey = image.mode in ("LA", "La", "L", "1")
    colour = np.asarray(_to_srgb(straight.convert("L" if grey else "RGB"), profile))
    if alpha.min() == 255:
        return colour
    return np.concatenate([colour, alpha], axis=-1)


def _deep_grey(image: Image.Image) -> Picture:
    """16-bit and floating-point grey as 8 bits."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise UnreadableError("its floating-point pixels are not all finite")
    top = 65535.0
    if image.mode == "F":
        top = 1.0 if values.max() <= 1.0 else 255.0
    if values.min() < 0 or values.max() > top:
        raise UnreadableError(f"its {image.mode!r} pixels lie outside 0…{top:g}")
    return np.rint(values * (255.0 / top)).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert by the embedded colour profile; without one, or with a broken one, by Pillow."""
    if image.mode in ("P", "1"):
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "L", "CMYK"):
        transform = _profile_transform(profile, image.mode)
        if transform is not None:
            return ImageCms.applyTransform(image, transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(maxsize=16)
def _profile_transform(profile: bytes, mode: str) -> Any:
    """None where the profile is sRGB itself, broken, or made for another kind of picture."""
    cms: Any = ImageCms  # typed by half
    try:
        source = cms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and cms.getProfileDescription(source).strip().startswith("sRGB"):
            return None
        return cms.buildTransform(source, cms.createProfile("sRGB"), mode, "RGB")
    except (cms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _plain_reason(error: Exception) -> str:
    """Pillow's message without what differs from run to run."""
    text = re.sub(r"<[^>]*object at 0x[0-9a-f]+>", "it", str(error))
    return " ".join(text.split())[:200] or type(error).__name__
