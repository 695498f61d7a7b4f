"""Atlases: every frame is on some sheet, whole, apart from the others, and found by each format."""

import json
import re

import numpy as np
import pytest

from core.errors import UserError
from core.images import png_bytes
from exporters.atlas.formats import WRITERS
from exporters.atlas.frames import find_frame, read_picture
from exporters.atlas.layout import Room, lay_out
from exporters.atlas.write import write_atlases
from exporters.packoptions import PackOptions

ROOM = Room(max_px=96, padding_px=2, extrude_px=1, power_of_two=False)


@pytest.fixture
def frames(tmp_path):
    """Nine noisy pictures of 48 px, each seen in a rectangle of its own; the last one is clear."""
    random = np.random.default_rng(5)
    made = []
    for number in range(9):
        picture = np.zeros((48, 48, 4), dtype=np.uint8)
        left, top, right, below = *random.integers(0, 12, 2), *random.integers(30, 48, 2)
        shape = (below - top, right - left)
        picture[top:below, left:right, :3] = random.integers(0, 256, (*shape, 3))
        picture[top:below, left:right, 3] = random.integers(1, 256, shape)
        if number == 8:
            picture[:] = 0
        path = tmp_path / f"{number}.png"
        path.write_bytes(png_bytes(picture))
        made.append(find_frame(f"cat_{number}", "cat" if number % 2 else "dog", path))
    return made


def write(folder, frames, room=ROOM, formats=tuple(WRITERS)):
    return write_atlases(folder, "zoo", frames, room=room, formats=formats, text={"a": "b"})


def restored(folder, entry, image):
    """The untrimmed picture that an entry of TexturePacker's JSON describes."""
    at, into, size = entry["frame"], entry["spriteSourceSize"], entry["sourceSize"]
    whole = np.zeros((size["h"], size["w"], 4), dtype=np.uint8)
    piece = read_picture(folder / image)[at["y"] : at["y"] + at["h"], at["x"] : at["x"] + at["w"]]
    whole[into["y"] : into["y"] + into["h"], into["x"] : into["x"] + into["w"]] = piece
    return whole


def test_each_frame_can_be_put_together_again_from_the_sheets(frames, tmp_path):
    told = write(tmp_path / "atlas", frames)
    assert len(told["sheets"]) > 1
    found = {}
    for name in told["formats"]["pixi"]:
        sheet = json.loads((tmp_path / "atlas" / name).read_text())
        assert set(sheet["meta"]["related_multi_packs"]) == set(told["formats"]["pixi"]) - {name}
        for key, entry in sheet["frames"].items():
            found[key] = restored(tmp_path / "atlas", entry, sheet["meta"]["image"])
    assert sorted(found) == [frame.name for frame in frames]
    for frame in frames:
        assert np.array_equal(found[frame.name], read_picture(frame.path)), frame.name


def test_all_formats_tell_the_same_places(frames, tmp_path):
    told = write(tmp_path / "atlas", frames)
    read = {
        key: [(tmp_path / "atlas" / n) for n in told["formats"][key]] for key in told["formats"]
    }
    hashes = [json.loads(path.read_text()) for path in read["pixi"]]
    wanted = {
        name: (sheet["meta"]["image"], *(entry["frame"][key] for key in "xywh"))
        for sheet in hashes
        for name, entry in sheet["frames"].items()
    }
    arrays = [json.loads(path.read_text()) for path in read["array"]]
    (phaser,) = [json.loads(path.read_text()) for path in read["phaser"]]
    for sheets in (
        [(sheet["meta"]["image"], sheet["frames"]) for sheet in arrays],
        [(sheet["image"], sheet["frames"]) for sheet in phaser["textures"]],
    ):
        assert wanted == {
            one["filename"]: (image, *(one["frame"][key] for key in "xywh"))
            for image, entries in sheets
            for one in entries
        }
    for folder in ("godot3", "godot4"):
        for name, (image, *numbers) in wanted.items():
            text = (tmp_path / "atlas" / folder / f"{name}.tres").read_text()
            assert f'path="../{image}"' in text
            assert f"region = Rect2( {', '.join(map(str, numbers))} )" in text
    for path in read["unity"]:
        text = path.read_text()
        image, (_, height) = re.search(r":texture=(.+)", text)[1], size_of(text)
        for line in (line for line in text.splitlines() if line[0] not in "#:"):
            name, x, y, w, h, *_ = line.replace(" ", "").split(";")
            assert wanted[name] == (image, int(x), height - int(y) - int(h), int(w), int(h))
    css = read["css"][0].read_text()
    for name, (image, x, y, w, h) in wanted.items():
        (rule,) = re.findall(rf"\.zoo-{name} {{([^}}]+)}}", css)
        assert f"url({image})" in rule
        assert f"background-position: -{x}px -{y}px" in rule
        assert f"width: {w}px; height: {h}px" in rule


def size_of(tpsheet):
    return [int(number) for number in re.search(r":size=(\d+)x(\d+)", tpsheet).groups()]


def test_edges_are_repeated_outwards_and_frames_keep_their_distance():
    room = Room(max_px=256, padding_px=3, extrude_px=2, power_of_two=False)
    sizes = [(40, 30)] * 20
    for sheet in lay_out(sizes, room):
        cells = np.zeros((sheet.height_px, sheet.width_px), dtype=int)
        for x, y in sheet.places.values():
            assert x >= 2
            assert y >= 2
            cells[y - 2 : y + 32, x - 2 : x + 42] += 1
            # no other frame's edge within the padding
            assert cells[y - 4 : y + 34, max(0, x - 4) : x + 44].max() == 1
        assert cells.sum() == len(sheet.places) * 34 * 44


def test_a_frames_border_on_the_sheet_is_its_own_edge(frames, tmp_path):
    write(tmp_path / "atlas", frames, formats=("pixi",))
    sheet = json.loads((tmp_path / "atlas" / "zoo-0.json").read_text())
    picture = read_picture(tmp_path / "atlas" / "zoo-0.png")
    for entry in sheet["frames"].values():
        x, y, w, h = (entry["frame"][key] for key in "xywh")
        assert np.array_equal(picture[y - 1, x : x + w], picture[y, x : x + w])
        assert np.array_equal(picture[y : y + h, x + w], picture[y : y + h, x + w - 1])


def test_sheets_may_be_powers_of_two_and_none_is_too_large(frames, tmp_path):
    room = Room(max_px=128, padding_px=2, extrude_px=1, power_of_two=True)
    told = write(tmp_path / "atlas", frames, room)
    for sheet in told["sheets"]:
        for side in sheet["size"]:
            assert side <= 128
            assert side & (side - 1) == 0
        assert list(read_picture(tmp_path / "atlas" / sheet["file"]).shape[1::-1]) == sheet["size"]


def test_the_same_frames_give_the_same_bytes(frames, tmp_path):
    write(tmp_path / "one", frames)
    write(tmp_path / "two", frames)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"atlas": "pixi,unreal"}, "atlas is 'pixi,unreal': by comma pixi, array"),
        ({"atlas": ""}, "or all, or none"),
        ({"platforms": "icq"}, "by comma whatsapp"),
        ({"atlas_max_px": 128}, "a frame of 256 px with its edges needs 262"),
        ({"atlas_max_px": 500, "atlas_power_of_two": True}, "as a power of two 256: a frame of"),
        ({"atlas_density": 3}, "one of the densities 1 2 4"),
        ({"densities": (2, 4)}, "densities are 2 4: 1 and others"),
        ({"densities": (1, 64)}, "no PNG above 4096"),
        ({"publisher": ""}, "1 to 64 characters"),
    ],
)
def test_options_that_cannot_be_are_one_line(options, complaint):
    with pytest.raises(UserError, match=complaint):
        PackOptions(**options).check_pack(128)


def test_options_by_comma_keep_a_fixed_order():
    options = PackOptions(atlas="unity, pixi", platforms="ALL")
    assert options.atlas_formats == ("pixi", "unity")
    assert len(options.chosen_platforms) == 8


def test_the_largest_sheet_is_a_power_of_two_where_engines_want_that():
    assert PackOptions(atlas_max_px=3000).sheet_px == 3000
    assert PackOptions(atlas_max_px=3000, atlas_power_of_two=True).sheet_px == 2048
    assert PackOptions(atlas_max_px=4096, atlas_power_of_two=True).sheet_px == 4096


@pytest.mark.parametrize("stem", ["zoo", "32px-cats", "2026-11-21"])
def test_css_classes_begin_with_a_letter_or_an_underscore(frames, tmp_path, stem):
    told = write_atlases(tmp_path, stem, frames, room=ROOM, formats=("css",), text={})
    rules = (tmp_path / told["formats"]["css"][0]).read_text()
    names = re.findall(r"^\.(\S+) {", rules, re.MULTILINE)
    assert len(names) == len(frames) + 1
    assert all(re.fullmatch(r"[A-Za-z_][\w-]*", name) for name in names)
