"""Packs in the app: real ones browsed and taken, broken ones named, strangers' ones harmless."""

import hashlib
import io
import json
import shutil
import zipfile

import pytest
from PIL import Image

from core.data.starter import draw_animal
from core.sampleset import Sample, finish_sample_set, shard_name, write_shard
from curation_app.packs.drawings import not_plain
from exporters.build import build_pack
from exporters.config import ExportConfig
from exporters.pack import write_sums, zip_folder
from tests.curating import JSON, make_collection, open_app

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" viewBox="0 0 9 9">{}</svg>'
PATH = '<path fill="#123" d="M0 0h9v9z"/>'


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A pack of three animals and its zip, made by the exporter."""
    root = tmp_path_factory.mktemp("exported")
    pictures = [("cat", 1), ("fish", 2), ("cat", 3)]
    samples = [Sample(image_hwc=draw_animal(n, s, 32), label=n, seed=s) for n, s in pictures]
    write_shard(root / "set" / shard_name(0), samples)
    finish_sample_set(
        root / "set",
        count=len(samples),
        labels=["cat", "fish"],
        settings={"guidance": 1.5},
        parents={"model": "a" * 64, "dataset": "b" * 64, "licence": "CC0-1.0"},
        shards=[shard_name(0)],
    )
    config = ExportConfig(
        samples=root / "set", name="Little animals", size_px=128, small_px=64, min_psnr_db=15
    )
    return build_pack(config, root / "packs" / "animals").folder


@pytest.fixture(scope="module")
def packs(exported, tmp_path_factory):
    """An app that shows the pack."""
    root = tmp_path_factory.mktemp("app")
    _, client = open_app(make_collection(root / "pictures"), packs=(exported.parent,))
    return client


@pytest.fixture
def copy(exported, tmp_path):
    """A pack to damage, and the app that shows it."""
    shutil.copytree(exported, tmp_path / "packs" / "mine")
    _, client = open_app(make_collection(tmp_path / "pictures"), packs=(tmp_path / "packs",))
    return tmp_path / "packs" / "mine", client


def as_json(client, url="/packs/"):
    response = client.get(url, headers=JSON)
    assert response.status_code == 200, response.text
    return response.json


def only_pack(client):
    (pack,) = as_json(client)["packs"]
    return pack


def why_broken(client):
    (broken,) = as_json(client)["broken"]
    return broken["reason"]


def test_a_game_developer_finds_a_cat_and_takes_it(packs, exported):
    found = as_json(packs, "/packs/?text=orange+CAT")
    (cat,) = found["stickers"]
    assert (found["found"], cat["label"], cat["seed"]) == (1, "cat", 1)
    drawing = packs.get(cat["svg"]["url"] + "?download=1")
    assert drawing.data == (exported / "svg" / "cat_000001.svg").read_bytes()
    assert drawing.headers["Content-Disposition"] == "attachment; filename=cat_000001.svg"
    assert hashlib.sha256(drawing.data).hexdigest() == cat["svg"]["sha256"]
    assert [file["side_px"] for file in cat["pngs"]] == [256, 64]
    for file in cat["pngs"]:
        with Image.open(io.BytesIO(packs.get(file["url"]).data)) as image:
            assert image.size == (file["side_px"], file["side_px"])


def test_the_page_of_a_pack_tells_its_terms_and_what_made_it(packs, exported):
    pack = only_pack(packs)
    assert (pack["count"], pack["labels"]) == (3, {"cat": 2, "fish": 1})
    page = packs.get(pack["url"]).text
    for told in ("Little animals", "CC0-1.0", "may be passed on", "a" * 64, "b" * 64, "vtracer"):
        assert told in page
    assert "made with generative AI" in page
    assert page.count('class="sticker"') == 3
    assert 'value="dark"' in page
    facts = as_json(packs, pack["url"])
    assert facts["facts"]["inputs"]["settings"]["size_px"] == 128
    for what, name in (("licence", "LICENSE"), ("disclosure", "AI-DISCLOSURE.md")):
        assert packs.get(pack["url"] + what).data == (exported / name).read_bytes()
    assert packs.get(pack["url"] + "checksums").data == (exported / "SHA256SUMS").read_bytes()


def test_the_whole_pack_comes_as_the_zip_that_was_exported(packs, exported):
    pack = only_pack(packs)
    with packs.get(pack["zip"]["url"]) as response:
        data = response.data
    assert data == exported.with_name("animals.zip").read_bytes()
    assert hashlib.sha256(data).hexdigest() == pack["zip"]["sha256"]
    with packs.get(pack["zip"]["url"], headers={"Range": "bytes=0-3"}) as part:
        assert (part.status_code, part.data) == (206, b"PK\x03\x04")


def test_a_zip_alone_is_shown_like_its_folder(exported, tmp_path):
    shutil.copy(exported.with_name("animals.zip"), tmp_path / "some.zip")
    _, client = open_app(make_collection(tmp_path / "pictures"), packs=(tmp_path / "some.zip",))
    (cat, *_) = as_json(client, only_pack(client)["url"])["stickers"]
    assert client.get(cat["svg"]["url"]).data == (exported / "svg/cat_000001.svg").read_bytes()


def test_stickers_are_narrowed_by_class_and_shown_on_the_ground_that_was_chosen(packs):
    url = only_pack(packs)["url"]
    page = packs.get(f"{url}?label=fish&ground=dark").text
    assert "1 of 3 stickers" in page
    assert page.count('class="sticker"') == 1
    assert 'value="dark" checked' in page
    refused = packs.get(f"{url}?ground=pink", headers=JSON)
    assert refused.status_code == 400
    assert "chequered, light, dark" in refused.json["error"]


def test_one_sticker_is_seen_on_every_ground_with_its_files(packs):
    (_, fish, _) = as_json(packs, only_pack(packs)["url"])["stickers"]
    page = packs.get(fish["url"]).text
    for ground in ("chequered", "light", "dark"):
        assert f'class="stage {ground}"' in page
    for file in (fish["svg"], *fish["pngs"]):
        assert file["sha256"] in page
    assert packs.get(fish["url"] + "/png/77").status_code == 404
    assert packs.get(fish["url"].rpartition("/")[0] + "/99").status_code == 404


def test_a_drawing_opened_alone_may_run_nothing_and_its_text_is_text(packs):
    (cat, *_) = as_json(packs, only_pack(packs)["url"])["stickers"]
    drawing = packs.get(cat["svg"]["url"])
    assert drawing.mimetype == "image/svg+xml"
    assert drawing.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert drawing.headers["X-Content-Type-Options"] == "nosniff"
    assert packs.get(cat["svg"]["url"] + "?text=1").mimetype == "text/plain"
    again = packs.get(cat["svg"]["url"], headers={"If-None-Match": drawing.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def change_facts(folder, **values):
    path = folder / "pack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    write_sums(folder)


def sums_with(line):
    def damage(folder):
        with (folder / "SHA256SUMS").open("a") as file:
            file.write(line + "\n")

    return damage


def linked(folder):
    (folder / "svg").rename(folder.parent / ".elsewhere")
    (folder / "svg").symlink_to(folder.parent / ".elsewhere")


def linked_file(folder):
    (folder / "LICENSE").rename(folder.parent / "LICENSE")
    (folder / "LICENSE").symlink_to(folder.parent / "LICENSE")


def redrawn(svg):
    def damage(folder):
        (folder / "svg" / "cat_000001.svg").write_text(svg)
        write_sums(folder)

    return damage


STICKER = {"label": "cat", "alt": "A cat", "png": "preview.png", "png_small": "preview.png"}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda root: (root / "svg/cat_000001.svg").write_text("<svg/>"), "was altered"),
        (lambda root: (root / "png/@1x/cat_000003.png").unlink(), "is missing"),
        (lambda root: (root / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
        (lambda root: (root / "SHA256SUMS").write_text("hello\n"), "no checksum"),
        (sums_with("0" * 64 + "  ../../secret"), "leads out of the folder"),
        (sums_with("0" * 64 + "  /etc/passwd"), "absolute"),
        (sums_with("0" * 64 + "  a\tb"), "control character"),
        (linked, "behind a link"),
        (linked_file, "no plain file"),
        (redrawn(SVG.format(f"<script>1</script>{PATH}")), "holds <script>"),
        (redrawn(SVG.format('<path onload="x()"/>')), "the event onload"),
        (lambda root: change_facts(root, format="other"), "'menagerie-pack-1' is known"),
        (lambda root: change_facts(root, stickers={}), "lists no stickers"),
        (lambda root: change_facts(root, stickers=[{"label": 3}]), "has no file"),
        (lambda root: change_facts(root, parents=[1]), "parents in pack.json"),
        (
            lambda root: change_facts(root, stickers=[STICKER | {"file": "../pictures/x.svg"}]),
            "no .svg of SHA256SUMS",
        ),
        (
            lambda root: change_facts(root, stickers=[STICKER | {"file": "LICENSE"}]),
            "no .svg of SHA256SUMS",
        ),
    ],
)
def test_what_is_wrong_with_a_broken_pack_is_told(copy, damage, reason):
    folder, client = copy
    damage(folder)
    assert reason in why_broken(client)
    page = client.get("/packs/").text
    assert "Cannot be shown" in page
    assert str(folder.parent) not in page


def test_a_file_that_changes_after_it_was_checked_is_not_handed_out(copy):
    folder, client = copy
    (cat, *_) = as_json(client, only_pack(client)["url"])["stickers"]
    (folder / "svg" / "cat_000001.svg").write_text(SVG.format("<script>1</script>"))
    response = client.get(cat["svg"]["url"], headers=JSON)
    assert response.status_code == 422
    assert "has changed" in response.json["error"]
    assert "was altered" in why_broken(client)


def zip_of(tmp_path, members, mode=0o100644):
    path = tmp_path / "strange.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, text)
    return path


@pytest.mark.parametrize(
    ("members", "mode", "reason"),
    [
        ([("pack.json", "{}")], 0o100644, "SHA256SUMS is missing"),
        ([("SHA256SUMS", ""), ("pack.json", "x")], 0o100644, "is not in SHA256SUMS"),
        ([("SHA256SUMS", "0" * 64 + "  ../x"), ("../x", "x")], 0o100644, "leads out"),
        ([("SHA256SUMS", "/etc/passwd")], 0o120777, "is a link"),
    ],
)
def test_a_strangers_zip_is_refused(tmp_path, members, mode, reason):
    path = zip_of(tmp_path, members, mode)
    _, client = open_app(make_collection(tmp_path / "pictures"), packs=(path,))
    assert reason in why_broken(client)


def test_no_zip_and_nothing_at_all_are_told_from_packs(tmp_path):
    (tmp_path / "text.zip").write_text("not a zip")
    places = (tmp_path / "text.zip", tmp_path / "nowhere")
    _, client = open_app(make_collection(tmp_path / "pictures"), packs=places)
    broken = {one["name"]: one["reason"] for one in as_json(client)["broken"]}
    assert "no readable zip" in broken["text.zip"]
    assert "no such folder" in broken["nowhere"]
    _, client = open_app(tmp_path / "pictures")
    assert "--packs FOLDER" in client.get("/packs/").text


def test_a_folder_without_its_zip_offers_its_files(copy):
    _, client = copy
    pack = only_pack(client)
    assert pack["zip"] is None
    assert "zip is not there" in client.get(pack["url"]).text
    assert client.get(pack["url"] + "zip").status_code == 404


def test_a_packs_own_words_are_shown_as_text(exported, tmp_path):
    folder = tmp_path / "packs" / "mine"
    shutil.copytree(exported, folder)
    nasty = '"><script>alert(1)</script>'
    facts = json.loads((folder / "pack.json").read_text())
    for entry in facts["stickers"]:
        entry |= {"label": nasty, "alt": nasty, "tags": [nasty]}
    change_facts(folder, name=nasty, licence=nasty, stickers=facts["stickers"])
    zip_folder(folder, folder.with_name("mine.zip"))
    _, client = open_app(make_collection(tmp_path / "pictures"), packs=(folder,))
    pack = only_pack(client)
    for url in ("/packs/", "/packs/?text=alert", pack["url"], pack["url"] + "0"):
        page = client.get(url).text
        assert "alert(1)" in page
        assert nasty not in page
        assert "<script>" not in page


@pytest.mark.parametrize(
    "svg",
    [
        "<svg",
        "<svg/>",
        "<!DOCTYPE svg [<!ENTITY a 'b'>]>" + SVG.format(PATH),
        "<?xml-stylesheet href='//evil'?>" + SVG.format(PATH),
        SVG.format('<image href="//evil"/>'),
        SVG.format('<a href="javascript:1"><path/></a>'),
        SVG.format('<g xmlns:x="http://www.w3.org/1999/xhtml"><x:script/></g>'),
        SVG.format('<path fill="url(//evil)"/>'),
        SVG.format('<path style="fill:url(//evil)"/>'),
        SVG.format("<style>*{background:url(//evil)}</style>"),
        SVG.format("<foreignObject/>"),
        SVG.format("<g>" * 100 + "</g>" * 100),
        SVG.format(PATH).encode("utf-16"),
    ],
)
def test_a_drawing_with_anything_but_shapes_is_refused(svg):
    assert not_plain(svg if isinstance(svg, bytes) else svg.encode())
    assert not_plain(SVG.format(PATH).encode()) is None
