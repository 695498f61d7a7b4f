"""Packs: the same bytes every time, nothing half-written, and an origin that can be traced."""

import html.parser
import subprocess
import zipfile

import pytest

from core.errors import UserError
from exporters.notices import licence_text, may_redistribute
from exporters.pack import unique_name, verify_pack, write_sums, zip_folder
from exporters.page import render_page


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pack"
    (root / "svg").mkdir(parents=True)
    (root / "svg" / "cat_000001.svg").write_text("<svg/>" * 100)
    (root / "svg" / "Ünï cöde & 'quotes'.svg").write_text("<svg/>")
    (root / "preview.png").write_bytes(bytes(range(256)))
    write_sums(root)
    return root


def test_zipping_again_after_unpacking_gives_the_same_bytes(folder, tmp_path):
    zip_folder(folder, tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        archive.extractall(tmp_path / "again")
    (tmp_path / "again" / "svg" / "cat_000001.svg").chmod(0o600)
    zip_folder(tmp_path / "again", tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert verify_pack(tmp_path / "one.zip") == []
    assert verify_pack(folder) == []


def test_the_sums_are_those_that_sha256sum_reads(folder):
    read = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    assert read.returncode == 0, read.stdout
    assert read.stdout.splitlines() == [
        *("preview.png: OK", "svg/cat_000001.svg: OK", "svg/Ünï cöde & 'quotes'.svg: OK")
    ]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda root: (root / "preview.png").write_bytes(b"x"), "preview.png was altered"),
        (lambda root: (root / "preview.png").unlink(), "preview.png is missing"),
        (lambda root: (root / "extra").write_text("x"), "extra is not in SHA256SUMS"),
        (lambda root: (root / "SHA256SUMS").unlink(), "has no SHA256SUMS"),
        (lambda root: (root / "SHA256SUMS").write_text("hello\n"), "no checksum"),
    ],
)
def test_damage_is_named(folder, tmp_path, damage, complaint):
    damage(folder)
    assert complaint in verify_pack(folder)[0]
    zip_folder(folder, tmp_path / "p.zip")
    assert complaint in verify_pack(tmp_path / "p.zip")[0]


def test_a_broken_zip_and_unsafe_names_are_reported(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"not a zip")
    assert "no readable zip" in verify_pack(tmp_path / "a.zip")[0]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("../evil", "x")
    assert "unsafe" in verify_pack(tmp_path / "b.zip")[0]
    assert "does not exist" in verify_pack(tmp_path / "c.zip")[0]


def test_any_damage_to_a_zip_is_one_line(folder, tmp_path):
    zip_folder(folder, tmp_path / "p.zip")
    whole = (tmp_path / "p.zip").read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "p.zip").write_bytes(damaged)
        for line in verify_pack(tmp_path / "p.zip"):
            assert "\n" not in line.removeprefix("holds the unsafe or repeated name")


def test_links_are_not_packed(folder, tmp_path):
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is a link"):
        zip_folder(folder, tmp_path / "p.zip")


def test_file_names_are_safe_and_never_collide():
    taken = set()
    names = [
        unique_name(name, taken) for name in ("cat_1", "Cat_1", "../../etc", "a b", "a/b", "猫")
    ]
    assert names == ["cat_1", "Cat_1-2", "etc", "a-b", "a-b-2", "sticker"]


@pytest.mark.parametrize(
    ("licence", "allowed", "says"),
    [
        ("CC0-1.0", True, "may be passed on"),
        ("CC0-1.0 AND MIT", True, "may be passed on"),
        ("CC0-1.0 AND unknown", None, "LICENCE UNKNOWN: DO NOT REDISTRIBUTE"),
        (None, None, "LICENCE UNKNOWN"),
        ("CC-BY-ND-4.0", False, "DO NOT REDISTRIBUTE"),
        ("CC-BY-NC-4.0 AND MIT", True, "NOT FOR SALE"),
    ],
)
def test_the_licence_of_the_data_is_carried_or_its_absence_is_loud(licence, allowed, says):
    parents = {"licence": licence, "dataset": "d" * 64}
    assert may_redistribute(parents) is allowed
    assert says in licence_text("A pack", parents)


def test_the_page_escapes_what_others_wrote_and_needs_no_network():
    nasty = '<script>alert("1")</script>'
    facts = {
        "name": nasty,
        "inputs": {"samples": "5" * 64},
        "parents": {"dataset": nasty, "model": "m"},
        "licence": nasty,
        "redistributable": None,
        "tools": {"menagerie": "0"},
        "stickers": [
            {
                "name": "a b",
                "file": "svg/a b.svg",
                "png": "png/@4x/a.png",
                "png_small": "png/@1x/a.png",
                "pngs": {"@1x": "png/@1x/a.png", "@4x": "png/@4x/a.png"},
                "webp": "webp/a.webp",
                "tags": [nasty],
                "label": nasty,
                "seed": 1,
                "alt": f'A cat" {nasty}',
                "bytes": 2048,
                "psnr_white_db": 30.0,
                "psnr_black_db": 31.0,
            }
        ],
        "refused": [{"label": nasty, "seed": 2, "reason": nasty}],
    }
    page = render_page(facts)
    parser = _Page()
    parser.feed(page)
    assert parser.scripts == 1
    assert parser.images == [("svg/a%20b.svg", f'A cat" {nasty}')]
    assert not [link for link in parser.links if link.startswith(("http", "//"))]
    assert "Do not redistribute" in page
    assert "$" not in page.split("<body>")[1].split("<script>")[0]


class _Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.scripts, self.images, self.links = 0, [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.scripts += tag == "script"
        if tag == "img":
            self.images.append((values["src"], values["alt"]))
        self.links += [values[key] for key in ("href", "src") if key in values]
