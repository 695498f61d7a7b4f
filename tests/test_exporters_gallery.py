"""The gallery: packs become a site that any web server hosts, whole or not at all."""

import html.parser
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from core.errors import UserError
from exporters.gallery import site as site_module
from exporters.gallery.site import build_gallery
from exporters.pack import verify_pack, write_sums
from jobs import gallery
from tests.test_curation_app_packs import exported

__all__ = ["exported"]


@pytest.fixture
def closed(exported, tmp_path):
    """The same pack under a name that is no good HTML, of data that nobody may pass on."""
    folder = tmp_path / "closed pack"
    shutil.copytree(exported, folder)
    facts = json.loads((folder / "pack.json").read_text())
    facts |= {"name": '<script>alert("1")</script>', "licence": "x", "redistributable": False}
    facts["stickers"][0]["tags"] = ["extra ear"]
    (folder / "pack.json").write_text(json.dumps(facts))
    write_sums(folder)
    return folder


class _Page(html.parser.HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.inline, self.items = [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.links += [values[key] for key in ("href", "src") if key in values]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in values) else []
        self.inline += [key for key in values if key == "style" or key.startswith("on")]
        if tag == "li" and "data-text" in values:
            self.items.append(values["data-text"])


def test_every_link_of_the_site_leads_to_a_file_of_it(exported, closed, tmp_path, capsys):
    out = tmp_path / "site"
    assert gallery.main([str(exported), str(closed), "--out", str(out), "--title", "Zoo <3"]) == 0
    said = capsys.readouterr().out
    assert "2 packs, 6 stickers" in said
    assert said.count("DO NOT REDISTRIBUTE") == 1
    assert sorted(path.name for path in out.glob("*.html")) == [
        *("animals.html", "closed-pack.html", "index.html")
    ]
    for path in out.glob("*.html"):
        page = _Page(path)
        assert page.inline == []  # a strict content security policy lets all of it through
        for link in page.links:
            if not link.startswith(("data:", "#")):
                assert (out / unquote(link)).exists(), link
    for name in ("animals", "closed-pack"):
        assert verify_pack(out / "packs" / name) == []
        assert verify_pack(out / "packs" / f"{name}.zip") == []
    index = _Page(out / "index.html")
    assert len(index.items) == 6
    assert sum("extra ear" in text for text in index.items) == 1
    for name in ("index", "closed-pack"):
        assert "Do not redistribute" in (out / f"{name}.html").read_text()
    assert "Do not redistribute" not in (out / "animals.html").read_text()


def test_zips_and_folders_give_the_same_site_and_again_is_nothing_to_do(exported, tmp_path):
    one = build_gallery([exported], tmp_path / "one", title="Zoo")
    two = build_gallery([exported.with_suffix(".zip")], tmp_path / "two", title="Zoo")
    assert one.made
    names = sorted(p.relative_to(one.folder) for p in one.folder.rglob("*") if p.is_file())
    for name in names:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
    assert not build_gallery([exported], tmp_path / "one", title="Zoo").made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_new_gallery_takes_the_old_ones_place_or_leaves_it(
    exported, closed, tmp_path, monkeypatch
):
    out = tmp_path / "site"
    build_gallery([exported, closed], out, title="Zoo")
    before = (out / "index.html").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(site_module, "_write_pages", full)
        with pytest.raises(OSError, match="No space"):
            build_gallery([exported], out, title="Zoo")
    assert (out / "index.html").read_bytes() == before
    assert build_gallery([exported], out, title="Zoo").packs == 1
    assert not (out / "closed-pack.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["closed pack", "site"]


def test_what_is_in_the_way_or_broken_is_one_line(exported, closed, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep me")
    with pytest.raises(UserError, match="is no gallery"):
        build_gallery([exported], tmp_path / "mine", title="Zoo")
    (closed / "LICENSE").unlink()
    with pytest.raises(UserError, match=r"no whole pack.*LICENSE is missing"):
        build_gallery([closed], tmp_path / "site", title="Zoo")
    assert gallery.main(["--out", str(tmp_path / "site")]) == 2
    assert re.search("no pack is named", capsys.readouterr().err)
    assert not (tmp_path / "site").exists()
