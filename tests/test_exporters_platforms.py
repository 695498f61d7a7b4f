"""Messenger packs keep every limit, as Pillow and a second look at the numbers see them."""

import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.images import png_bytes, premultiply
from core.render import render_smaller, render_svg
from exporters.config import ExportConfig
from exporters.drawing.sticker import Sticker
from exporters.dress import dress
from exporters.packoptions import PLATFORMS
from exporters.platforms.check import check_platform, picture_size
from exporters.platforms.emoji import emoji_for
from exporters.platforms.encode import Artist, frame_drawing
from exporters.platforms.limits import LIMITS
from exporters.platforms.sets import Member, Set, deal, lists_of
from exporters.platforms.write import write_platform

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 64 64">{}</svg>'
DROP = SVG.format(
    '<path fill="#e84" d="M20 10h30v20h-30z"/><path fill="#224" d="M24 30h8v16h-8z"/>'
)
SIDES = {  # FIELD: side in pixels, bytes, format
    "whatsapp": (512, 100 * 1024, "WEBP"),
    "telegram": (512, 512_000, "WEBP"),
    "telegram-emoji": (100, 512_000, "WEBP"),
    "signal": (512, 300_000, "WEBP"),
    "discord": (320, 512_000, "PNG"),
    "discord-emoji": (128, 256_000, "PNG"),
    "imessage": (408, 500_000, "PNG"),
    "line": (320, 1_000_000, "PNG"),
}


def confetti(count):
    """A drawing that no encoder likes: thousands of specks, each of its own colour."""
    random = np.random.default_rng(1)
    specks = [
        f'<path fill="#{random.integers(0, 2**24):06x}" d="M{x} {y}h.9v.9h-.9z"/>'
        for x, y in random.uniform(0, 63, (count, 2)).round(1)
    ]
    return SVG.format("".join(specks))


def sticker(svg, label="cat", seed=1):
    blank = png_bytes(np.zeros((64, 64, 4), np.uint8), {"menagerie:label": label})
    return Sticker(
        label=label,
        seed=seed,
        svg=svg,
        png_large=blank,
        png_small=blank,
        alt=f"An orange {label}",
        paths=2,
        colours=2,
        fidelity=None,
        sample_psnr_db=30.0,
    )


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_sticker_is_within_the_limits_and_fills_its_frame(platform):
    drawn = Artist(DROP, render_svg(DROP, 512), {"menagerie:label": "cat"}).draw(LIMITS[platform])
    side, most_bytes, kind = SIDES[platform]
    with Image.open(io.BytesIO(drawn.data)) as image:
        assert (image.size, image.format) == ((side, side), kind)
        assert picture_size(drawn.data) == image.size
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert len(drawn.data) <= most_bytes
    rows, columns = np.flatnonzero(alpha.max(axis=1)), np.flatnonzero(alpha.max(axis=0))
    margin = 16 if platform in ("whatsapp", "telegram", "signal") else LIMITS[platform].margin_px
    for line in (rows, columns):
        assert line[0] >= margin
        assert line[-1] < side - margin
    filled = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    assert filled >= 0.97 * (side - 2 * margin)


def averaged(svg, side_px):
    """The true coverage of each pixel, premultiplied: a rendering of sixteen times its pixels."""
    fine = premultiply(render_svg(svg, 4 * side_px)).astype(np.float64)
    return fine.reshape(side_px, 4, side_px, 4, 4).mean(axis=(1, 3))


def far_from(wanted, picture_hwc):
    return np.square(premultiply(picture_hwc) - wanted).mean()


BALL = SVG.format('<path fill="#e84" d="M9 32a23 23 0 1 0 46 0a23 23 0 1 0 -46 0z"/>')


def test_small_pictures_are_averaged_from_the_large_one_which_is_truer():
    large = render_svg(BALL, 512)
    for side in (256, 128, 100):
        wanted = averaged(BALL, side)
        small = render_smaller(BALL, side, large)
        assert far_from(wanted, small) < 0.5 * far_from(wanted, render_svg(BALL, side))
    for side in (300, 512, 600):  # too near to it, or larger
        assert (render_smaller(BALL, side, large) == render_svg(BALL, side)).all()


@pytest.mark.parametrize("platform", ["telegram-emoji", "discord-emoji"])
def test_an_emoji_is_truer_than_its_rendering_and_the_same_whoever_else_is_served(platform):
    large, limits = render_svg(BALL, 512), LIMITS[platform]
    alone = Artist(BALL, large, {}).draw(limits).data
    artist = Artist(BALL, large, {})
    for other in PLATFORMS:
        artist.draw(LIMITS[other])
    assert artist.draw(limits).data == alone
    with Image.open(io.BytesIO(alone)) as image:
        emoji = np.asarray(image.convert("RGBA"))
    framed = frame_drawing(BALL, (9, 9, 55, 55), 0)
    wanted = averaged(framed, limits.side_px)
    assert far_from(wanted, emoji) < far_from(wanted, render_svg(framed, limits.side_px))


def test_what_is_too_large_is_squeezed_until_it_fits():
    svg = confetti(1500)
    artist = Artist(svg, render_svg(svg, 512), {})
    tight = dataclasses.replace(LIMITS["whatsapp"], max_bytes=43_000)
    squeezed = artist.draw(tight)
    assert squeezed.how.startswith("quality")
    assert len(squeezed.data) <= 43_000 < len(artist.draw(LIMITS["signal"]).data)
    few = artist.draw(dataclasses.replace(LIMITS["discord-emoji"], max_bytes=15_000))
    assert few.how.endswith("colours, 128 px")
    assert len(few.data) <= 15_000
    smaller = dataclasses.replace(tight, max_bytes=4_000, smaller_px=(96,))
    assert artist.draw(smaller).how.endswith("96 px")
    with pytest.raises(UserError, match="no encoding fits into WhatsApp's 100 bytes"):
        artist.draw(dataclasses.replace(tight, max_bytes=100))


@pytest.mark.parametrize(
    ("count", "sizes"), [(3, [3]), (30, [30]), (31, [16, 15]), (61, [21, 20, 20])]
)
def test_many_stickers_are_dealt_out_evenly(count, sizes):
    dealt = deal(range(count), LIMITS["whatsapp"])
    assert [len(one) for one in dealt] == sizes
    assert [item for one in dealt for item in one] == list(range(count))


@pytest.fixture
def make(tmp_path):
    """Write a platform's packs of so many stickers; what was told, and its folder."""
    piece = dress(sticker(DROP), ExportConfig(samples=tmp_path, small_px=64, platforms="all"))

    def bring(name, ending, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(piece.files[ending])

    def write(platform, count, name="My zoo"):
        entries = [
            {"name": f"{label}_{n:06d}", "label": label, "alt": f"A {label}"}
            for n, label in zip(range(count), ["cat", "dog"] * count, strict=False)
        ]
        told = write_platform(
            tmp_path, platform, entries, pack_name=name, publisher="Me", stem="my-zoo", bring=bring
        )
        return told, tmp_path / "stickers" / platform

    return write


@pytest.mark.parametrize("platform", PLATFORMS)
def test_packs_are_written_and_checked(make, platform):
    told, folder = make(platform, 70)
    assert sum(pack["stickers"] for pack in told["packs"]) == 70
    most = {"whatsapp": 30, "line": 40, "discord": 60}.get(platform, 120)
    assert max(pack["stickers"] for pack in told["packs"]) <= most
    assert check_platform(folder, platform) == []
    side, most_bytes, kind = SIDES[platform]
    pictures = [p for p in folder.rglob(f"*.{kind.lower()}") if "_" in p.name]
    assert len(pictures) == 70
    for path in pictures:
        with Image.open(path) as image:
            assert (image.size, image.format) == ((side, side), kind)
        assert path.stat().st_size <= most_bytes
    assert all(json.loads(path.read_text()) for path in folder.rglob("*.json"))


def test_whatsapp_gets_its_contents_tray_and_a_name_of_128_characters(make):
    told, folder = make("whatsapp", 31, name="z" * 200)
    assert [pack["stickers"] for pack in told["packs"]] == [16, 15]
    for number in (1, 2):
        contents = json.loads((folder / str(number) / "contents.json").read_text())
        (pack,) = contents["sticker_packs"]
        assert len(pack["name"]) == 128
        assert pack["name"].endswith(f" {number}")
        assert {emoji for one in pack["stickers"] for emoji in one["emojis"]} == {"🐱", "🐶"}
        with Image.open(folder / str(number) / pack["tray_image_file"]) as tray:
            assert tray.size == (96, 96)
        assert (folder / str(number) / "tray.png").stat().st_size <= 50 * 1024


def test_a_pack_below_whatsapps_three_is_left_out_and_says_so(make):
    told, folder = make("whatsapp", 2)
    assert told["packs"] == []
    assert told["notes"] == ["WhatsApp takes packs of 3 to 30 stickers, here are 2: none was made"]
    assert not folder.exists()


@pytest.mark.parametrize(("count", "notes"), [(16, 0), (7, 1)])
def test_lines_shop_counts_are_told(make, count, notes):
    assert len(make("line", count)[0]["notes"]) == notes


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda pack: (pack / "cat_000000.webp").write_bytes(b"x"), "neither PNG nor WebP"),
        (lambda pack: (pack / "cat_000000.webp").unlink(), "lists other files"),
        (lambda pack: (pack / "tray.png").unlink(), "tray.png is missing"),
        (
            lambda pack: Image.new("RGBA", (500, 512)).save(pack / "cat_000000.webp"),
            "cat_000000.webp is 500×512",
        ),
        (
            lambda pack: Image.effect_noise((512, 512), 200).save(
                pack / "cat_000000.webp", lossless=True
            ),
            "allowed are 102,400",
        ),
    ],
)
def test_the_check_finds_what_whatsapp_would_refuse(make, damage, problem):
    _, folder = make("whatsapp", 4)
    damage(folder / "1")
    assert any(problem in line for line in check_platform(folder, "whatsapp"))


@pytest.mark.parametrize(
    ("label", "emoji"),
    [("cat", "🐱"), ("Cats", "🐱"), ("house cat", "🐱"), ("n02123045-cat", "🐱"), ("猫", "🐾")],
)
def test_classes_have_emoji(label, emoji):
    assert emoji_for(label) == emoji


def test_long_names_keep_the_seed_that_tells_them_apart():
    names = [f"golden_retriever_puppy_sitting_on_grass_{seed:06d}" for seed in (1, 2)]
    members = tuple(
        Member(name=name, file=f"{name}.png", label="dog", alt="a dog") for name in names
    )
    one = Set(title="Dogs", publisher="me", identifier="dogs", members=members)
    for platform, longest in (("discord", 30), ("discord-emoji", 32)):
        (text,) = lists_of(platform, one).values()
        told = re.findall(r'"name": ?"([^"]+)"', text)
        assert [name[-7:] for name in told] == ["_000001", "_000002"]
        assert all(len(name) == longest for name in told)
