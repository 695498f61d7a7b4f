"""Packs of pictures of one's own: a folder or a zip in place of a sample set."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from core.data.starter import draw_animal
from core.errors import UserError
from core.files import read_json
from core.images import over
from exporters.config import ExportConfig
from exporters.pack import verify_pack
from exporters.pictures import open_pictures
from jobs import export

GREEN = (90, 200, 120)


def save(path, label, seed, *, size_px=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(over(draw_animal(label, seed, size_px), GREEN)).save(path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes of RGB pictures on green, one that is no picture, one with nothing to cut."""
    folder = tmp_path_factory.mktemp("mine") / "my zoo"
    save(folder / "cat" / "tom.png", "cat", 1)
    save(folder / "fish" / "a blue one.png", "fish", 2)
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    Image.new("RGB", (40, 40), GREEN).save(folder / "fish" / "empty.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def run(source, out, *flags):
    where = ["--pictures", str(source), "--out", str(out), "--cluster", "inline"]
    return export.main([*where, "--workers", "1", "--size-px", "256", "--small-px", "64", *flags])


@pytest.fixture(scope="module")
def pack(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("packs") / "zoo"
    assert run(pictures, out, "--licence", "CC0-1.0") == 0
    return out


def test_a_folder_of_pictures_becomes_a_pack_of_cut_out_stickers(pack):
    facts = read_json(pack / "pack.json")
    assert [item["picture"] for item in facts["stickers"]] == ["cat/tom.png", "fish/a blue one.png"]
    assert facts["name"] == "my zoo"
    for item in facts["stickers"]:
        assert item["cut_out"]["method"] == "plain"
        assert 0.9 < item["cut_out"]["confidence"] <= 1
        with Image.open(pack / item["png"]) as image:
            pixels = np.asarray(image.convert("RGBA"))
        assert (pixels[:8, :8, 3] == 0).all()
    assert verify_pack(pack) == []


def test_what_cannot_be_read_or_cut_is_named_with_its_file_and_the_rest_is_made(pack):
    refused = {item["label"]: item["reason"] for item in read_json(pack / "pack.json")["refused"]}
    assert refused["cat"].startswith("cat/broken.png: damaged")
    assert refused["fish"].startswith("fish/empty.png: only 0.00% of the picture stands out")


def test_the_licence_goes_along_and_no_model_is_made_up(pack):
    facts = read_json(pack / "pack.json")
    assert facts["licence"] == "CC0-1.0"
    assert facts["redistributable"] is True
    assert set(facts["parents"]) == {"pictures", "licence"}
    assert facts["digital_source_type"].endswith("algorithmicallyEnhanced")
    assert "that these were traced from" in (pack / "LICENSE").read_text()
    assert "diffusion" not in (pack / "AI-DISCLOSURE.md").read_text()


def test_metadata_states_classes_licences_and_sources(tmp_path, capsys):
    folder = tmp_path / "set"
    save(folder / "1.png", "cat", 1)
    save(folder / "2.png", "dog", 2)
    rows = [
        {"file_name": "1.png", "label": "cat", "licence": "CC-BY-4.0", "source": "Ada"},
        {"file_name": "2.png", "label": "dog", "licence": "CC-BY-NC-ND-4.0"},
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(folder, tmp_path / "pack") == 0
    facts = read_json(tmp_path / "pack" / "pack.json")
    first, second = facts["stickers"]
    assert (first["label"], first["licence"], first["source"]) == ("cat", "CC-BY-4.0", "Ada")
    assert second["licence"] == "CC-BY-NC-ND-4.0"
    assert facts["licence"] == "CC-BY-4.0 AND CC-BY-NC-ND-4.0"
    assert "DO NOT REDISTRIBUTE" in capsys.readouterr().out


def test_a_zip_of_the_same_pictures_gives_the_same_digest(pictures, tmp_path):
    with zipfile.ZipFile(tmp_path / "zoo.zip", "w") as archive:
        for path in sorted(pictures.rglob("*.png")):
            archive.write(path, path.relative_to(pictures))
    zipped, folder = open_pictures(tmp_path / "zoo.zip"), open_pictures(pictures)
    assert zipped.digest == folder.digest
    assert zipped.labels == ("cat", "fish")
    assert [sample.label for sample in zipped.read(0)] == ["cat", "cat", "fish", "fish"]


def test_a_folder_without_classes_is_one_class(tmp_path):
    save(tmp_path / "flat" / "x.png", "cat", 1)
    assert open_pictures(tmp_path / "flat").labels == ("picture",)


def test_changed_pictures_are_other_inputs(pictures, pack, tmp_path, capsys):
    copy = tmp_path / "my zoo"
    shutil.copytree(pictures, copy)
    assert run(copy, pack, "--licence", "CC0-1.0") == 0  # the same bytes elsewhere: nothing to do
    assert "finished already" in capsys.readouterr().out
    save(copy / "cat" / "tom.png", "cat", 5)
    assert run(copy, pack, "--licence", "CC0-1.0") == 2
    assert "name another --out" in capsys.readouterr().err


def test_a_picture_that_changes_while_it_is_exported_is_refused(pictures, tmp_path):
    copy = tmp_path / "zoo"
    shutil.copytree(pictures, copy)
    opened = open_pictures(copy)
    save(copy / "cat" / "tom.png", "cat", 5)
    by_name = {sample.facts["picture"]: sample for sample in opened.read(0)}
    assert "do not match" in by_name["cat/tom.png"].trouble


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"samples": None, "pictures": None}, "either --samples FOLDER"),
        ({"pictures": "x", "samples": "y"}, "either --samples FOLDER"),
        ({"pictures": "x", "approved": True}, "leave out --pictures"),
        ({"samples": "x", "licence": "MIT"}, "goes with --pictures"),
    ],
)
def test_flags_that_do_not_go_together_are_one_error(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        ExportConfig(**changes)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("gone", "is not there"), ("file.txt", "neither a folder nor"), ("bare", "no picture")],
)
def test_what_holds_no_pictures_is_one_error(tmp_path, name, complaint, capsys):
    (tmp_path / "file.txt").write_text("hello")
    (tmp_path / "bare").mkdir()
    assert run(tmp_path / name, tmp_path / "pack") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("export: error: ")
    assert complaint in line
    assert not (tmp_path / "pack").exists()


def test_what_no_xml_can_hold_is_replaced_in_a_class(tmp_path):
    folder = tmp_path / "set"
    save(folder / "1.png", "cat", 1)
    row = json.dumps({"file_name": "1.png", "label": "c\x01a\uffff\ud800t"})
    (folder / "metadata.jsonl").write_text(row + "\n")
    assert run(folder, tmp_path / "pack", "--licence", "MIT") == 0
    (sticker,) = read_json(tmp_path / "pack" / "pack.json")["stickers"]
    assert sticker["label"] == "c\ufffda\ufffd\ufffdt"


def test_a_pack_of_ones_own_pictures_is_not_called_a_models(pack):
    page = (pack / "index.html").read_text(encoding="utf-8")
    assert "Cut out and traced: see" in page
    assert "generative" not in page
