import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from core.data.decode import UnreadableError, decode
from core.data.jpeg import everyday_header, jpeg_pixels


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def solid(mode: str, colour: object, size: tuple[int, int] = (16, 12)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb_png() -> bytes:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10**6))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


RED = (255, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        encode(solid("RGB", RED)),
        encode(solid("RGBA", (*RED, 255))),
        encode(solid("RGB", RED).quantize(4)),
        encode(solid("RGB", RED), "BMP"),
        encode(solid("RGB", RED), "WEBP", lossless=True),
        encode(solid("RGB", RED), "TIFF"),
        encode(solid("RGB", RED), "GIF"),
        encode(solid("CMYK", (0, 255, 255, 0)), "TIFF"),
        encode(solid("RGB", RED), "WEBP", save_all=True, append_images=[solid("RGB", "blue")]),
        encode(solid("RGB", RED), "GIF", save_all=True, append_images=[solid("RGB", "blue")]),
        encode(solid("RGB", RED), icc_profile=b"not a profile"),
    ],
)
def test_red_is_red_in_every_mode_and_format(data: bytes) -> None:
    pixels = decode(data)
    assert pixels.shape == (12, 16, 3)
    assert np.abs(pixels.astype(int) - RED).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_comes_out_in_the_right_colours(kind: str) -> None:
    pixels = decode(encode(solid("CMYK", (0, 255, 255, 0)), kind))
    assert pixels[0, 0, 0] > 200
    assert pixels[0, 0, 1:].max() < 60


def test_deep_grey_keeps_its_brightness() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        pixels = decode(encode(Image.fromarray(ramp), kind))
        assert np.abs(pixels[..., 1].ravel().astype(int) - np.arange(256)).max() <= 1


def test_only_real_transparency_gives_a_fourth_channel() -> None:
    clear = solid("RGBA", (*RED, 255))
    assert decode(encode(clear)).shape[-1] == 3
    clear.putpixel((3, 4), (0, 255, 0, 128))
    pixels = decode(encode(clear))
    assert pixels.shape[-1] == 4
    assert pixels[4, 3].tolist() == [0, 255, 0, 128]


def test_transparency_of_palettes_greys_and_keyed_colours_is_seen() -> None:
    palette = solid("P", 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 1)
    keyed_rgb = solid("RGB", RED)
    keyed_rgb.putpixel((0, 0), (1, 2, 3))
    for data in (
        encode(palette, transparency=1),
        encode(palette, transparency=b"\xff\x00"),
        encode(keyed_rgb, transparency=(1, 2, 3)),
    ):
        pixels = decode(data)
        assert pixels[0, 0, 3] == 0
        assert pixels[5, 5].tolist() == [255, 0, 0, 255]
    grey = solid("LA", (200, 100))
    assert decode(encode(grey))[0, 0].tolist() == [200, 200, 200, 100]


def test_a_turned_photograph_stands_upright() -> None:
    upright = np.zeros((12, 16, 3), np.uint8)
    upright[:4, :4] = 255
    lying = Image.fromarray(np.rot90(upright).copy())  # counter-clockwise: orientation 6 mends it
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        pixels = decode(encode(lying, kind, exif=exif.tobytes()))
        assert pixels.shape[:2] == (12, 16), kind
        assert pixels[1, 1, 0] > 200, kind


def test_a_colour_profile_is_applied() -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = encode(solid("RGB", (10, 200, 30)))
    assert (decode(encode(solid("RGB", (10, 200, 30)), icc_profile=srgb)) == decode(plain)).all()
    wrong_kind = ImageCms.ImageCmsProfile(lab).tobytes()
    assert decode(encode(solid("RGB", RED), icc_profile=wrong_kind)).shape == (12, 16, 3)


def test_a_large_jpeg_is_decoded_small_but_never_below_what_is_needed() -> None:
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8), (480, 1))
    data = encode(Image.fromarray(ramp).convert("RGB"), "JPEG", quality=95)
    small = decode(data, enough_px=100)
    assert small.shape == (120, 160, 3)
    whole = decode(data).reshape(120, 4, 160, 4, 3).mean((1, 3))
    assert np.abs(small - whole).max() < 3
    assert decode(data, enough_px=300).shape[0] == 480


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_short_way_gives_pillows_pixels_at_every_scale(
    mode: str, progressive: bool, subsampling: int
) -> None:
    rng = np.random.default_rng(subsampling)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    image = coarse.resize((131, 97), Image.Resampling.BICUBIC).convert(mode)
    data = encode(image, "JPEG", subsampling=subsampling, progressive=progressive, quality=92)
    header = everyday_header(data)
    assert header is not None
    assert header.size_wh == (131, 97)
    for scale in (1, 2, 4, 8):
        with Image.open(io.BytesIO(data)) as opened:
            opened.draft(mode, (131 // scale, 97 // scale))
            expected = np.asarray(opened.convert("RGB"))
        pixels = jpeg_pixels(data, header, scale)
        assert pixels is not None
        assert np.array_equal(pixels, expected)


def test_unusual_or_cut_off_jpegs_go_the_long_way() -> None:
    red = solid("RGB", RED, (32, 32))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert everyday_header(encode(red, "JPEG", icc_profile=srgb)) is None
    assert everyday_header(encode(red.convert("CMYK"), "JPEG")) is None
    assert everyday_header(encode(red)) is None
    for end in (3, 100, 200, len(JPEG) - 3):
        header = everyday_header(JPEG[:end])
        assert header is None or jpeg_pixels(JPEG[:end], header, 1) is None


def test_a_jpeg_that_may_become_exactly_the_size_is_decoded_so() -> None:
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(60, 200, (16, 20, 3), dtype=np.uint8))
    data = encode(coarse.resize((160, 128), Image.Resampling.BICUBIC), "JPEG", quality=95)
    small = decode(data, enough_px=128, exact_px=64)
    assert small.shape == (64, 80, 3)
    mean = decode(data).reshape(64, 2, 80, 2, 3).mean((1, 3))
    error = np.square(small - mean).mean()
    assert 10 * np.log10(255**2 / error) > 40
    assert decode(data, enough_px=128, exact_px=63).shape == (128, 160, 3)


JPEG = encode(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG")
PNG = encode(Image.effect_noise((64, 64), 90).convert("RGB"))
FLIPPED = bytearray(PNG)
FLIPPED[200] ^= 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am no picture", "text"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\xef\xbb\xbf<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"%PDF-1.4 \xe2\xe3", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n\x04", "not a picture"),
        (JPEG[:-200], "damaged"),
        (JPEG[:100], "damaged"),
        (PNG[:-200], "cut off"),
        (PNG[:-3], "cut off"),
        (bytes(FLIPPED), "wrong checksum"),
        (bomb_png(), "megapixels"),
        (b"GIF89a" + bytes(4) + b"\x80\0\0" + bytes(6) + b";", "."),
        (encode(Image.fromarray(np.ones((64, 64), np.uint16)), "TIFF")[:-3000], "damaged"),
        (bytes(range(256)) * 20, "not a picture"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason) as caught:
        decode(data)
    assert "0x" not in str(caught.value)


def test_any_damage_is_a_reason_and_never_a_crash() -> None:
    rng = np.random.default_rng(0)
    small = Image.effect_noise((24, 24), 90).convert("RGBA")
    kinds = ("PNG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "TGA", "PPM", "JPEG2000")
    for data in [encode(small.convert("RGB"), "JPEG"), *(encode(small, kind) for kind in kinds)]:
        for _ in range(30):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                broken[place] = rng.integers(256)
            with contextlib.suppress(UnreadableError):
                assert decode(bytes(broken)).dtype == np.uint8


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


XMP = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="6"/>'


@pytest.mark.parametrize(
    ("blocks", "size_wh"),
    [
        ([exif_of(6)], (48, 64)),
        ([exif_of(6), exif_of(1)], (48, 64)),  # joined, the first one's directory counts
        ([exif_of(1), exif_of(6)], (64, 48)),
        ([XMP], (48, 64)),
        ([exif_of(1), XMP], (64, 48)),
    ],
)
def test_of_several_orientations_the_one_that_pillow_takes_counts(
    blocks: list[bytes], size_wh: tuple[int, int]
) -> None:
    plain = encode(solid("RGB", RED, (64, 48)), "JPEG")
    data = plain[:2] + b"".join(jpeg_segment(0xE1, block) for block in blocks) + plain[2:]
    assert decode(data).shape == (size_wh[1], size_wh[0], 3)


def test_a_jpeg_segment_shorter_than_its_own_length_goes_the_long_way() -> None:
    assert everyday_header(JPEG[:2] + b"\xff\xe1\0\0" + JPEG[2:]) is None


def test_a_jpeg_that_claims_to_be_huge_is_refused_undecoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.data.decode.jpeg_pixels", lambda *_: pytest.fail("was decoded"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    size = struct.pack(">HH", 48, 64)
    for most, words in ((100.0, "more than 100 megapixels"), (1000.0, "more than 178.957 mega")):
        for options in ({}, {"icc_profile": srgb}):
            data = encode(solid("RGB", RED, (64, 48)), "JPEG", progressive=True, **options)
            assert data.count(size) == 1
            data = data.replace(size, struct.pack(">HH", 20000, 20000))
            with pytest.raises(UnreadableError, match=words):
                decode(data, enough_px=64, max_megapixels=most)


@pytest.mark.realdata
def test_every_real_photograph_decodes(real_data: Path) -> None:
    for path in sorted((real_data / "hires").glob("*.jpg")):
        assert decode(path.read_bytes(), enough_px=128).shape[-1] == 3
