import dataclasses
import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.data.pinned import open_pinned
from core.data.prepare import PrepareConfig, prepare
from core.errors import UserError


def picture(seed: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """A smooth, colourful picture, unlike any other seed's."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for number in range(40):
        path = root / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number)))
    return root


def config(root: Path, **settings: Any) -> PrepareConfig:
    return PrepareConfig(**{"source": str(root), "size_px": 16, **settings})


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rejected(folder: Path) -> dict[str, str]:
    lines = (folder / "rejected.jsonl").read_text("utf-8").splitlines()
    return {row["file_name"]: row["reason"] for row in map(json.loads, lines)}


def test_pictures_become_a_dataset_that_explains_itself(pictures: Path, tmp_path: Path) -> None:
    result = prepare(config(pictures, licence="CC0-1.0"), tmp_path / "out")
    data = open_pinned(tmp_path / "out", verify=True)
    assert (result.reused, result.rejected) == (False, 0)
    assert data.images_nhwc.shape == (40, 16, 16, 3)
    assert data.label_names == ("cat", "dog")
    assert [len(rows) for rows in data.split.values()] == [32, 4, 4]
    assert data.facts["counts"]["cat"] == {"train": 16, "validation": 2, "test": 2}
    assert (data.licence, data.redistributable) == ("CC0-1.0", True)
    for row, item in enumerate(data.items()):
        seed = int(item.file_name.split("/")[1].removesuffix(".png"))
        expected = picture(seed).crop((4, 0, 36, 32)).resize((16, 16), Image.Resampling.BOX)
        assert np.abs(data.images_nhwc[row].astype(int) - np.asarray(expected)).mean() < 6
    assert not any("scan" in name or "tmp" in name for name in os.listdir(tmp_path / "out"))


def test_the_same_pictures_give_the_same_bytes_wherever_they_lie(
    pictures: Path, tmp_path: Path
) -> None:
    prepare(config(pictures), tmp_path / "one")
    moved = pictures.rename(tmp_path / "moved")
    prepare(config(moved), tmp_path / "two")
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert one.pop("config.json") != two.pop("config.json")
    assert one == two


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    # More than two chunks of pictures, so that both workers have some.
    made = [
        prepare(PrepareConfig(per_class=20, size_px=32), tmp_path / str(workers), workers=workers)
        for workers in (1, 2)
    ]
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")
    assert made[0].dataset.digest == made[1].dataset.digest


def test_running_again_finds_it_and_other_settings_or_pictures_are_refused(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare(config(pictures), out)
    before = (out / "dataset.json").stat().st_mtime_ns
    assert prepare(config(pictures), out).reused
    assert (out / "dataset.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="size_px 16, now 32"):
        prepare(config(pictures, size_px=32), out)
    (pictures / "cat" / "0.png").write_bytes(encoded(picture(99)))
    with pytest.raises(UserError, match="other pictures"):
        prepare(config(pictures), out)
    (pictures / "cat" / "0.png").unlink()
    with pytest.raises(UserError, match="other pictures"):
        prepare(config(pictures), out)


def test_a_folder_with_something_else_in_it_is_left_alone(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="already exists"):
        prepare(config(pictures), tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["thesis.txt"]


def test_copies_share_a_split_and_one_under_two_labels_is_named(
    pictures: Path, tmp_path: Path
) -> None:
    for number in range(0, 40, 4):
        image = picture(number)
        (pictures / "cat" / f"copy{number}.jpg").write_bytes(encoded(image, "JPEG"))
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        (pictures / "cat" / f"mirrored{number}.png").write_bytes(encoded(mirrored))
    (pictures / "dog" / "cat4.bmp").write_bytes(encoded(picture(4), "BMP"))
    (pictures / "dog" / "again1.png").write_bytes((pictures / "dog" / "1.png").read_bytes())
    data = prepare(config(pictures), tmp_path / "out").dataset
    splits: dict[int, set[str]] = {}
    for item in data.items():
        splits.setdefault(item.group, set()).add(item.split)
    assert all(len(parts) == 1 for parts in splits.values())
    lines = (tmp_path / "out" / "duplicates.jsonl").read_text().splitlines()
    groups = [json.loads(line) for line in lines]
    assert len(groups) == 11
    (exact,) = [group for group in groups if group["kind"] == "exact"]
    assert exact["file_names"] == ["dog/1.png", "dog/again1.png"]
    (mixed,) = [group for group in groups if len(group["labels"]) > 1]
    assert {"cat/4.png", "dog/cat4.bmp"} < set(mixed["file_names"])


def test_a_stated_split_is_kept_when_asked(pictures: Path, tmp_path: Path) -> None:
    names = [f"{('cat', 'dog')[n % 2]}/{n}.png" for n in range(40)]
    rows = [{"file_name": name, "split": "test" if k < 15 else "train"} for k, name in
            enumerate(names)]  # fmt: skip
    (pictures / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = prepare(config(pictures, keep_split=True), tmp_path / "out").dataset
    assert {item.file_name for item in data.items() if item.split == "test"} == set(names[:15])
    (pictures / "metadata.jsonl").unlink()
    with pytest.raises(UserError, match="states no split"):
        prepare(config(pictures, keep_split=True), tmp_path / "other")


def test_labels_can_be_renamed_and_chosen(pictures: Path, tmp_path: Path) -> None:
    chosen = config(pictures, relabel=("dog=hound",), classes=("hound",))
    data = prepare(chosen, tmp_path / "out").dataset
    assert (data.label_names, len(data.labels)) == (("hound",), 20)
    for settings in ({"classes": ("cow",)}, {"relabel": ("cow=cat",)}):
        with pytest.raises(UserError, match=r"\['cow'\].*\['cat', 'dog'\]"):
            prepare(config(pictures, **settings), tmp_path / "other")


def test_real_transparency_makes_four_channels_premultiplied(
    pictures: Path, tmp_path: Path
) -> None:
    cut_out = picture(50).convert("RGBA")
    cut_out.putalpha(Image.linear_gradient("L").resize(cut_out.size))
    (pictures / "cat" / "cut.png").write_bytes(encoded(cut_out))
    data = prepare(config(pictures), tmp_path / "four").dataset
    assert data.channels == 4
    assert (data.images_nhwc[..., :3] <= data.images_nhwc[..., 3:]).all()
    assert data.facts["transform"]["alpha"] == "premultiplied"
    three = prepare(config(pictures, channels="3"), tmp_path / "three").dataset
    assert three.images_nhwc.shape[-1] == 3
    assert three.facts["transform"]["alpha"] == "none"


def test_bars_take_the_background_when_nothing_is_transparent(
    pictures: Path, tmp_path: Path
) -> None:
    settings = config(pictures, policy="pad", background=(1, 2, 3))
    data = prepare(settings, tmp_path / "out").dataset
    assert data.channels == 3
    assert (data.images_nhwc[:, 0] == (1, 2, 3)).all()


def test_a_stated_digest_that_does_not_match_is_rejected(pictures: Path, tmp_path: Path) -> None:
    rows = [{"file_name": f"cat/{n}.png"} for n in range(0, 20, 2)]
    rows[3]["sha256"] = "0" * 64
    (pictures / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prepare(config(pictures), tmp_path / "out")
    assert "sha256" in rejected(tmp_path / "out")["cat/6.png"]


def test_curators_scores_come_along(pictures: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"file_name": f"cat/{n}.png"} for n in range(0, 20, 2)]
    for number in (3, 4):
        rows[number]["score"] = number / 2
    (pictures / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prepare(config(pictures), tmp_path / "out")
    data = open_pinned(tmp_path / "out", verify=True)
    assert data.scores is not None
    scored = {item.file_name: score for item, score in zip(data.items(), data.scores, strict=True)}
    assert (scored.pop("cat/6.png"), scored.pop("cat/8.png")) == (1.5, 2.0)
    assert len(scored) == 8
    assert np.isnan([*scored.values()]).all()
    rows[3]["score"] = 9
    (pictures / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match="other pictures"):
        prepare(config(pictures), tmp_path / "out")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def broken_files() -> dict[str, bytes]:
    good, jpeg = encoded(picture(100)), encoded(picture(100), "JPEG")
    flipped = bytearray(good)
    flipped[80] ^= 4
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    bomb += png_chunk(b"IDAT", zlib.compress(bytes(10**6))) + png_chunk(b"IEND", b"")
    deep = Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64))
    return {
        "empty.png": b"",
        "text.jpg": b"I am a text, whatever my name says.",
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.png": good[: len(good) // 2],
        "checksum.png": bytes(flipped),
        "bomb.png": bomb,
        "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "zero.gif": b"GIF89a" + bytes(4) + b"\x80\0\0" + bytes(6) + b";",
        "dot.png": encoded(picture(0, (1, 1))),
        "thread.png": encoded(picture(0, (1, 5000))),
        "ribbon.png": encoded(picture(0, (9, 900))),
        "cut16.tif": encoded(deep, "TIFF")[:-4000],
        "noise.webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(40),
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n\x04",
        "odd \n'name\" 🐛.png": b"\x89PNG\r\n\x1a\n",
        "document.pdf.jpg": b"%PDF-1.7\n\xe2\xe3",
        "archive.png": b"PK\x03\x04" + bytes(100),
        "zeros.bmp": bytes(4096),
        "no-ending": b"\x7fELF\x02\x01",
    }


def test_twenty_kinds_of_broken_files_are_named_and_the_rest_goes_on(
    pictures: Path, tmp_path: Path
) -> None:
    broken = broken_files()
    cat = pictures / "cat"
    for name, data in broken.items():
        (cat / name).write_bytes(data)
    (tmp_path / "secret.png").write_bytes(encoded(picture(0)))
    (cat / "out.png").symlink_to(tmp_path / "secret.png")
    (cat / "dangling.png").symlink_to("nowhere.png")
    (cat / "folder.jpg").mkdir()
    os.mkfifo(cat / "pipe.png")
    with open(os.fsencode(cat) + b"/caf\xe9.png", "wb") as file:
        file.write(b"")
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    (cat / "good-with-much-exif.jpg").write_bytes(encoded(picture(77), "JPEG", exif=exif))
    result = prepare(config(pictures), tmp_path / "out")
    reasons = rejected(tmp_path / "out")
    others = {"out.png", "dangling.png", "folder.jpg", "pipe.png", "caf\\xe9.png"}
    assert set(reasons) == {f"cat/{name}" for name in {*broken, *others}}
    assert result.rejected == len(reasons) == 25
    assert len(result.dataset.labels) == 41
    assert all(reasons.values())
    assert not any(str(tmp_path) in reason or "0x" in reason for reason in reasons.values())


@pytest.mark.parametrize("colour_space", ["linear", "srgb"])
def test_the_least_side_is_that_of_the_picture_itself(colour_space: str, tmp_path: Path) -> None:
    cat = tmp_path / "pictures" / "cat"
    cat.mkdir(parents=True)
    for side in (96, 128, 160):  # which could be decoded at a half or less
        (cat / f"{side}.jpg").write_bytes(encoded(picture(side, (side, side)), "JPEG"))
    settings = {"min_side_px": 100, "colour_space": colour_space, "duplicates": "exact"}
    prepare(config(tmp_path / "pictures", **settings), tmp_path / "out")
    assert rejected(tmp_path / "out") == {
        "cat/96.jpg": "its shorter side is 96 px, below the least of 100"
    }


def test_when_nothing_is_left_the_error_shows_an_example(tmp_path: Path) -> None:
    (tmp_path / "in" / "cat").mkdir(parents=True)
    (tmp_path / "in" / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"all 1 were rejected, such as cat/1\.png: the file is em"):
        prepare(config(tmp_path / "in"), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_zip_gives_the_same_pictures_as_its_folder(pictures: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in sorted(pictures.rglob("*.png")):
            archive.write(path, path.relative_to(pictures))
    from_folder = prepare(config(pictures), tmp_path / "a").dataset
    from_zip = prepare(config(tmp_path / "pictures.zip"), tmp_path / "b").dataset
    assert list(from_folder.items()) == list(from_zip.items())
    assert (from_folder.images_nhwc == from_zip.images_nhwc).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"size_px": 4},
        {"split": (0.5, 0.5, 0.5)},
        {"background": (0, 0, 256)},
        {"per_class": 0},
        {"seed": -1},
        {"max_megapixels": 0.0},
        {"licence": " "},
        {"relabel": ("cat",)},
    ],
)
def test_a_config_checks_itself(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        PrepareConfig(**settings)


def test_every_config_field_is_explained() -> None:
    text = Path(prepare.__code__.co_filename).read_text("utf-8")
    for field in dataclasses.fields(PrepareConfig):
        declared = text.index(f"    {field.name}: ")
        assert text[declared:].split("\n")[1].strip().startswith('"""'), field.name


@pytest.mark.realdata
@pytest.mark.slow
def test_all_real_photographs_go_in_and_twice_give_one_digest(
    real_data: Path, tmp_path: Path
) -> None:
    animals = config(real_data / "animals8", size_px=64)
    made = [
        prepare(animals, tmp_path / str(workers), workers=workers).dataset for workers in (1, 2)
    ]
    assert made[0].digest == made[1].digest
    assert len(made[0].labels) == 6387
    assert [len(rows) for rows in made[0].split.values()] == [5109, 639, 639]
    for counts in made[0].facts["counts"].values():
        assert abs(counts["validation"] - 80) <= 2
    lines = (tmp_path / "1" / "duplicates.jsonl").read_text().splitlines()
    groups = [json.loads(line) for line in lines]
    assert 20 <= len(groups) <= 40
    assert max(len(group["file_names"]) for group in groups) <= 4


@pytest.mark.realdata
def test_messy_pictures_all_go_in(real_data: Path, tmp_path: Path) -> None:
    result = prepare(config(real_data / "messy"), tmp_path / "out")
    assert (len(result.dataset.labels), result.rejected) == (420, 0)
