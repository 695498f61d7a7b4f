"""Pictures and archives that mean harm, told as a curator would bring them in unaware."""

import io
import os
import struct
import threading
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from core.errors import UserError
from core.files import digest_bytes
from curation_app.intake.candidates import Limits
from curation_app.intake.decoding import in_turn, pixels_stated
from curation_app.intake.originals import Originals
from curation_app.intake.places import open_place
from curation_app.intake.staging import stage
from tests.test_curation_app_intake_staging import (
    files_below,
    make_zip,
    png,
    refusals,
    staged,
    write,
)


@pytest.fixture
def originals(tmp_path: Path) -> Originals:
    return Originals(tmp_path / "app" / "originals")


def bomb_png(side: int) -> bytes:
    """A PNG of so many pixels that is small as a file: its rows are all the same."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packed = zlib.compressobj(9)
    rows = packed.compress(bytes(side // 8 + 1) * 1000) + packed.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_bomb_of_a_picture_is_refused_before_memory_is_taken(
    tmp_path: Path, originals: Originals
) -> None:
    big = Image.new("1", (9000, 9000))
    buffer = io.BytesIO()
    big.save(buffer, "GIF")
    bombs = {"cat/bomb.png": bomb_png(50_000), "cat/big.gif": buffer.getvalue()}
    pets = write(tmp_path / "pets", bombs)
    tracemalloc.start()
    try:
        found = staged(open_place(pets), originals)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusals(found) == {
        "cat/bomb.png": "more than 40 megapixels",
        "cat/big.gif": "9000×9000 is more than 40 megapixels",
    }
    assert peak < 20 * 2**20
    assert files_below(originals.folder) == []


def test_large_pictures_are_decoded_one_after_another_and_small_ones_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("curation_app.intake.decoding.LARGE_PIXELS", 100)
    jpeg, gif = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (9, 9)).save(jpeg, "JPEG")
    Image.new("L", (6, 5)).save(gif, "GIF")
    stated = [pixels_stated(data) for data in (png(0, 7), jpeg.getvalue(), gif.getvalue(), b"?")]
    assert stated == [49, 81, 30, None]
    second, done = threading.Event(), threading.Event()

    def while_a_large_one_is_decoded() -> None:
        later = threading.Thread(target=in_turn, args=(b"?", second.set), daemon=True)
        later.start()
        assert in_turn(png(0, 7), lambda: "small")
        assert not second.wait(0.1)
        done.set()

    in_turn(png(0, 16), while_a_large_one_is_decoded)
    assert done.is_set()
    assert second.wait(5)


DRAWINGS = {
    "plain": '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "declared": '<?xml version="1.0"?>\n<!DOCTYPE svg [<!ENTITY x "y">]><svg onload="alert(1)"/>',
    "spaced": '\ufeff \n\t<SVG xmlns="http://www.w3.org/2000/svg"></SVG>',
}


@pytest.mark.parametrize("suffix", [".svg", ".png", ".jpg", ""])
@pytest.mark.parametrize("drawing", DRAWINGS)
def test_an_svg_with_a_script_is_refused_whatever_it_is_called(
    tmp_path: Path, originals: Originals, drawing: str, suffix: str
) -> None:
    data = DRAWINGS[drawing].encode()
    pets = write(tmp_path / "pets", {f"cat/x{suffix}": data, "cat/ok.png": png()})
    found = staged(open_place(pets), originals)
    assert refusals(found) == {
        f"cat/x{suffix}": "an SVG drawing, not pixels: render it to PNG first"
    }
    assert len(files_below(originals.folder)) == 1


def test_pages_and_texts_behind_comments_are_no_pictures(
    tmp_path: Path, originals: Originals
) -> None:
    import gzip

    tricks = {
        "comment.svg": b"<!-- x --><svg onload='alert(1)'/>",
        "utf16.svg": DRAWINGS["plain"].encode("utf-16"),
        "packed.svgz": gzip.compress(DRAWINGS["plain"].encode()),
        "page.png": b"<!DOCTYPE html><script>alert(1)</script>",
        "script.jpg": b"alert(1)",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "empty.png": b"",
    }
    pets = write(tmp_path / "pets", {f"cat/{name}": data for name, data in tricks.items()})
    found = staged(open_place(pets), originals)
    packed = found.pop("cat/packed.svgz", None)
    assert packed is None  # its ending promises no picture: it is among the ignored
    assert len(refusals(found)) == len(found) == len(tricks) - 1
    assert not originals.folder.exists()


def test_names_and_classes_with_markup_pass_as_data_and_control_characters_do_not(
    tmp_path: Path, originals: Originals
) -> None:
    label, name = "<script>alert('1')</script>", "'\" onerror=alert(1) .png"
    files = [
        (f"{label.replace('/', '∕')}/{name}", png(1)),
        ("cat\x1b[31m\u202e/evil\n\u202egnp.exe.png", png(2)),
        ("cafe\u0301/1.png", png(3)),
        (f"cat/{'long' * 100}.png", png(4)),
        (f"{'long' * 50}/1.png", png(5)),
        ("\u200b\x07/1.png", png(6)),
        ("./../x/cat/1.png", png(7)),
    ]
    found = staged(open_place(make_zip(tmp_path / "x.zip", files)), originals)
    by_digest = {one.sha256: one for one in found.values()}
    first, second, third, fourth = (by_digest[digest_bytes(data)] for _, data in files[:4])
    assert (first.label, first.name.split("/")[1]) == (label.replace("/", "∕"), name)
    assert first.file_name == f"script-alert-1-script/{first.sha256[:16]}.png"
    assert (second.label, second.name) == ("cat [31m", "cat [31m/evil gnp.exe.png")
    assert third.label == "caf\u00e9"
    assert len(fourth.name) == 200
    assert fourth.name.endswith("long.png")
    assert [one.reason for one in found.values() if one.reason] == [
        "the name leads out of the folder",
        "its label is longer than 100 characters",
    ]
    assert all(one.name.isprintable() or "\u200b" in one.name for one in found.values())


def test_a_hostile_zip_writes_nothing_but_originals(tmp_path: Path, originals: Originals) -> None:
    path = make_zip(
        tmp_path / "evil.zip",
        [
            ("cat/good.png", png(1)),
            ("../../slip.png", png(2)),
            ("/abs.png", png(3)),
            ("C:\\win.png", png(4)),
            ("cat/bomb.png", bytes(60 * 2**20)),
            ("cat/inner.zip", b"PK\x05\x06" + bytes(18)),
            ("__MACOSX/cat/._good.png", b"x"),
            ("cat/.DS_Store", b"x"),
        ],
    )
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("cat/good.png", png(5))
    *refused, good = stage(open_place(path), originals)
    assert (good.reason, good.sha256) == (None, digest_bytes(png(1)))
    assert {one.name: str(one.reason).split(":")[0] for one in refused} == {
        "../../slip.png": "the name leads out of the folder",
        "/abs.png": "the name is absolute or a Windows path",
        "C:\\win.png": "the name is absolute or a Windows path",
        "cat/bomb.png": "a compression bomb",
        "cat/inner.zip": "an archive inside the archive, which is not opened",
        "cat/link.png": "a symbolic link, which is not followed",
        "cat/good.png": "named twice",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app", "evil.zip"]
    assert files_below(originals.folder) == [good.place]


def test_members_say_which_archive_and_folder_they_were_in(
    tmp_path: Path, originals: Originals
) -> None:
    files = [("pets/cat/1.png", png(1)), ("pets/dog/2.png", png(2))]
    found = staged(open_place(make_zip(tmp_path / "my pets.zip", files)), originals)
    assert found["cat/1.png"].provenance["member"] == "pets/cat/1.png"
    assert found["cat/1.png"].source == "zip my pets.zip: pets/cat/1.png"


def test_zip_names_in_other_alphabets_are_data_or_one_line(
    tmp_path: Path, originals: Originals
) -> None:
    path = make_zip(tmp_path / "x.zip", [("cat/caf_.png", png(1)), ("猫/1.png", png(2))])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"caf_", b"caf\xe9"))  # says nothing of its alphabet
    found = staged(open_place(path), originals)
    assert {one.label for one in found.values()} == {"cat", "猫"}
    assert refusals(found) == {}
    path.write_bytes(data.replace("猫".encode(), b"\xff\xfe\xfd"))  # says UTF-8, and is not
    with pytest.raises(UserError, match=r"x\.zip cannot be opened as a zip: 'utf-8'"):
        open_place(path)


def test_a_zip_of_too_much_is_refused_as_a_whole(tmp_path: Path) -> None:
    many = make_zip(tmp_path / "many.zip", [(f"cat/{n}.png", b"") for n in range(2000)])
    with pytest.raises(UserError, match=r"many\.zip holds more than 1,000 files: split it"):
        open_place(many, limits=Limits(max_pictures=1000))
    wide = make_zip(tmp_path / "wide.zip", [(f"cat/{n}.png", os.urandom(999)) for n in range(9)])
    with pytest.raises(UserError, match="would unpack to more than"):
        open_place(wide, limits=Limits(max_total_bytes=5000))
    # Members that share their bytes: 40 of them, of 50 MB each, in one small file.
    shared = tmp_path / "shared.zip"
    name_count = 40
    with zipfile.ZipFile(shared, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/0.png", bytes(2**19))
        first = archive.infolist()[0]
        for number in range(1, name_count):
            copy = zipfile.ZipInfo(f"cat/{number}.png")
            for key in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(copy, key, getattr(first, key))
            copy.file_size = 50 * 2**20
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    with pytest.raises(UserError, match="compression bomb"):
        open_place(shared)


def test_a_metadata_file_that_swells_is_never_read_into_objects(tmp_path: Path) -> None:
    rows = make_zip(tmp_path / "rows.zip", [("metadata.jsonl", b"{}\n" * 300_000)])
    with pytest.raises(UserError, match=r"metadata\.jsonl in rows\.zip has more than 200,000 rows"):
        open_place(rows)
    files = [(f"{n}/metadata.jsonl", b" " * 2**24) for n in range(3)]
    with pytest.raises(UserError, match=r"metadata\.jsonl in long\.zip is larger than 32 MiB"):
        open_place(make_zip(tmp_path / "long.zip", files))


def test_a_table_of_contents_that_swells_is_never_read_into_objects(tmp_path: Path) -> None:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *[20, 0, 20, 0], *[0] * 14)
    table = (entry[:28] + struct.pack("<H", 1) + entry[30:46] + b"x") * 300_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(table), 0, 0)
    (tmp_path / "swells.zip").write_bytes(table + end)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="holds more than 200,000 files"):
            open_place(tmp_path / "swells.zip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(table)
