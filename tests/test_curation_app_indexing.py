import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from core.data.decode import UnreadableError
from core.data.starter import LABELS, draw_animal
from core.images import Picture, png_bytes
from curation_app import thumbnails
from curation_app.indexing.facts import Facts, flags_of, look, look_many
from curation_app.indexing.pool import ordered_map
from curation_app.indexing.quality import quality_of


def photograph(seed: int, size_wh: tuple[int, int] = (160, 120)) -> Image.Image:
    """Coarse colours with fine grain on them, unlike any other seed's."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 216, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size_wh, Image.Resampling.BICUBIC)).astype(int)
    grain = rng.integers(-30, 31, smooth.shape[:2])
    return Image.fromarray(np.clip(smooth + grain[..., None], 0, 255).astype(np.uint8))


def encoded(image: Image.Image | Picture, kind: str = "JPEG", **settings: object) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def shown(facts: Facts) -> Image.Image:
    return Image.open(io.BytesIO(facts.preview))


def test_one_look_tells_what_a_picture_is() -> None:
    facts = look(encoded(photograph(1, (600, 400)), quality=90))
    assert (facts.format, facts.width_px, facts.height_px, facts.alpha) == ("JPEG", 600, 400, False)
    assert len(facts.thumbnail) == 32 * 32 * 4
    assert -(2**63) <= facts.dhash < 2**63
    assert (shown(facts).format, shown(facts).size) == ("JPEG", (256, 171))
    assert quality_of(facts.measures()) == facts.quality


def test_size_is_that_of_the_upright_original_however_it_was_decoded() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    lying = look(encoded(photograph(1, (1200, 800)), exif=exif))
    assert (lying.width_px, lying.height_px) == (800, 1200)
    cmyk = look(encoded(photograph(1, (1200, 800)).convert("CMYK")))
    assert (cmyk.width_px, cmyk.height_px) == (1200, 800)


def test_a_cut_out_keeps_its_transparency_in_the_preview() -> None:
    for size, kind in ((128, "PNG"), (300, "WEBP")):
        facts = look(png_bytes(draw_animal("cat", 1, size), {"comment": "made by hand"}))
        assert facts.alpha
        assert shown(facts).format == kind
        preview = np.asarray(shown(facts).convert("RGBA"))
        assert preview[0, 0, 3] == 0
        assert preview[..., 3].max() == 255
        assert b"made by hand" not in facts.preview


def test_the_same_pixels_have_one_digest_in_every_lossless_format() -> None:
    image = photograph(2)
    looks = [look(encoded(image, kind)) for kind in ("PNG", "BMP", "TIFF")]
    looks.append(look(encoded(image, "WEBP", lossless=True)))
    assert len({facts.sha256 for facts in looks}) == 4
    assert len({facts.pixels_sha256 for facts in looks}) == 1
    assert look(encoded(image, "JPEG")).pixels_sha256 != looks[0].pixels_sha256


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "SVG"),
        (encoded(photograph(3))[:900], "damaged"),
        (b"just text", "text"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        look(data)


def test_a_picture_beyond_the_limit_is_refused() -> None:
    with pytest.raises(UnreadableError, match=r"more than 0\.01 megapixels"):
        look(encoded(photograph(1), "PNG"), max_megapixels=0.01)


def test_flags_name_what_a_curator_should_look_at() -> None:
    good = photograph(4)
    assert flags_of(look(encoded(good))) == ()
    spoilt = {
        "blurred": good.filter(ImageFilter.GaussianBlur(3)),
        "dark": good.point(lambda value: value * 0.25),
        "bright": good.point(lambda value: 225 + value * 0.12),
        "low-contrast": good.point(lambda value: 100 + value * 0.1),
        "small": good.resize((48, 40)),
        "extreme-aspect": good.crop((0, 30, 160, 90)),
    }
    for flag, image in spoilt.items():
        assert flag in flags_of(look(encoded(image, quality=95))), flag


def test_an_animal_on_white_has_a_plain_background_but_is_not_overexposed() -> None:
    white = Image.new("RGB", (160, 120), "white")
    white.paste(photograph(5, (40, 30)), (60, 45))
    assert flags_of(look(encoded(white))) == ("plain-background",)
    cut_out = np.zeros((120, 160, 4), np.uint8)
    cut_out[20:100, 20:140, :3] = np.asarray(photograph(5, (120, 80)))
    cut_out[20:100, 20:140, 3] = 255
    assert flags_of(look(png_bytes(cut_out))) == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (3, 17), (31, 33)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_pictures_of_any_shape_can_be_looked_at(size: tuple[int, int], mode: str) -> None:
    facts = look(encoded(photograph(6, size).convert(mode), "PNG"))
    assert (facts.width_px, facts.height_px) == size
    assert max(shown(facts).size) <= 256
    clear = look(png_bytes(np.zeros((*size[::-1], 4), np.uint8)))
    assert clear.quality.is_cut_out


def test_many_are_looked_at_in_order_and_a_broken_one_does_not_end_it(tmp_path: Path) -> None:
    paths = []
    for number in range(80):
        paths.append(tmp_path / f"{number}.png")
        animal = draw_animal(LABELS[number % len(LABELS)], number, 40)
        paths[-1].write_bytes(png_bytes(animal))
    paths[7].write_bytes(b"not a picture at all")
    paths[50].unlink()
    previews = tmp_path / "previews"
    found = list(look_many(paths, previews, workers=2))
    assert [str(one) for one in found if isinstance(one, UnreadableError)] == [
        "text, not a picture",
        "no such file or directory",
    ]
    for path, one in zip(paths, found, strict=True):
        if isinstance(one, Facts):
            whole = look(path.read_bytes())
            assert (one.sha256, one.quality, one.preview) == (whole.sha256, whole.quality, b"")
            kept = thumbnails.kept_thumbnail(thumbnails.thumbnail_path(previews, one.sha256))
            assert kept == whole.preview
    alone = list(look_many(paths, previews, workers=1))
    assert [str(one) for one in found] == [str(one) for one in alone]


def fall_over(number: int) -> int:
    if number == 11:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory ends
    return number * number


@pytest.mark.slow
def test_an_item_that_kills_its_process_costs_only_itself() -> None:
    found = list(ordered_map(fall_over, range(24), workers=2, chunk=8, dead="dead"))
    expected = ["dead" if number == 11 else number * number for number in range(24)]
    assert found == expected


def test_no_more_is_read_ahead_than_a_few_chunks() -> None:
    taken = []

    def endless() -> object:
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    results = ordered_map(abs, endless(), workers=2, chunk=8, dead=None)  # type: ignore[arg-type]
    assert [next(results) for _ in range(10)] == list(range(10))
    results.close()  # type: ignore[attr-defined]
    assert len(taken) <= 8 * 12


CTRL_C = """
import os, signal, sys, threading, time
from curation_app.indexing.pool import ordered_map

def slow(number):
    time.sleep(0.02)
    return os.getpid()

if __name__ == "__main__":
    try:
        found = ordered_map(slow, range(10**6), workers=2, chunk=8, dead=0)
        for place, process in enumerate(found):
            if place == 20:
                print(process, flush=True)
            if place == 21:
                os.killpg(0, signal.SIGINT if sys.argv[1] == "int" else signal.SIGKILL)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["int", "kill"])
def test_ctrl_c_and_kill_leave_no_process_behind(tmp_path: Path, how: str) -> None:
    script = tmp_path / "work.py"
    killed_alone = CTRL_C.replace("os.killpg(0,", "os.kill(os.getpid(),")
    script.write_text(CTRL_C if how == "int" else killed_alone)
    run = subprocess.run(
        [sys.executable, str(script), how],
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
    )
    process = int(run.stdout.split()[0])
    if how == "int":
        assert run.stdout.split()[1:] == ["interrupted"]
        assert run.stderr == ""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_preview_that_was_cut_off_is_not_served(tmp_path: Path) -> None:
    for data in (encoded(photograph(7)), png_bytes(draw_animal("dog", 1, 300))):
        facts = look(data)
        path = thumbnails.thumbnail_path(tmp_path, facts.sha256)
        thumbnails.keep_thumbnail(path, facts.preview)
        assert thumbnails.kept_thumbnail(path) == facts.preview
        assert thumbnails.media_type(facts.preview) in ("image/jpeg", "image/webp")
        path.write_bytes(facts.preview[:-10])
        assert thumbnails.kept_thumbnail(path) is None
        assert not list(tmp_path.rglob(".*"))


@pytest.mark.realdata
def test_few_real_photographs_are_flagged_and_blurred_ones_are(real_data: Path) -> None:
    paths = sorted((real_data / "animals8" / "cat").iterdir())[:60]
    flagged = [flags_of(look(path.read_bytes())) for path in paths]
    assert sum("blurred" in some for some in flagged) <= 1
    blurred = [
        Image.open(path).convert("RGB").filter(ImageFilter.GaussianBlur(2)) for path in paths
    ]
    assert sum("blurred" in flags_of(look(encoded(image, quality=90))) for image in blurred) >= 58
